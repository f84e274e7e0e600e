"""The store of one Iceberg table on a file system, reached through its catalog.

    find     the key column of every data file of the current snapshot
    delete   files with listed rows get successors; one snapshot swaps them
    clean    one snapshot alone, without delete files or entries of removed files; then away with whatever it does not
             reach: old metadata, manifest lists, manifests, statistics, data files, orphans

Each step is a commit of the catalog first; files go only once nothing names them.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError
from pyiceberg.table import FileScanTask, Table
from pyiceberg.table.snapshots import Operation

from schemas.errors import ConflictError, InputError, LetheError
from stores.contract import Inspect, Match, Positions, StoreFile
from stores.iceberg_commit import Swap, commit, swap_file
from stores.iceberg_table import (
    check_files,
    has_past,
    key_in_file,
    leftovers,
    manifests,
    reachable,
    refuse,
    rows_of,
    tasks,
)
from stores.keys import KeySet
from stores.table_files import files_below, find_rows, local_path, remove_files
from stores.tables import StoreError, TableStore, reject


class IcebergStore(TableStore):
    """The table `namespace.name` of a catalog whose properties are `options`; `path` holds its files.

    Catalogs have names, and one database may keep several: `name` among the options, `default` without it.
    """

    kind = "iceberg"

    def __init__(self, path: str, key: str, table: str, options: Mapping[str, str]) -> None:
        if "." not in table:
            raise InputError(f'store {path}: an Iceberg store needs table = "namespace.name", found {table!r}')
        if not options:
            raise InputError(
                f"store {path}: an Iceberg store needs the properties of its catalog, such as "
                'options = {name = "default", type = "sql", uri = "sqlite:///...", warehouse = "file:///..."}'
            )
        self.root = local_path(path)
        self.path = str(self.root)
        self.key, self.table, self.options = key, table, dict(options)

    def units(self) -> list[str]:
        """The one table. InputError when there is none, or one that must not be changed."""
        with _readable():
            catalog = self._catalog()
            table = self._load(catalog)
            location = local_path(table.location())
            refuse(table, catalog, location, self.root, self.key)
            database = self.options.get("uri", "").removeprefix("sqlite:///")
            if database != self.options.get("uri", "") and Path(database).resolve().is_relative_to(location):
                raise InputError(f"store {self.path}: the catalog's own database lies in the table's folder; move it")
        return [self.table]

    def size(self) -> int:
        """The bytes of everything below the table's location."""
        with _readable():
            location = local_path(self._load(self._catalog()).location())
            return sum(file.lstat().st_size for file in files_below(location))

    def identify(self, unit: str) -> StoreFile:
        """The current metadata of the table."""
        with _readable():
            return self._identify(unit, self._open())

    def find(self, unit: str, keys: KeySet) -> Positions:
        """Where the keys are, by data file and row group; rows that delete files hide are no rows any more."""
        del unit
        with _readable():
            table = self._open()
            return tuple(rows for task in tasks(table) for rows in self._find(table, task, keys))

    def _find(self, table: Table, task: FileScanTask, keys: KeySet) -> Positions:
        if task.delete_files:
            column = rows_of(table, [task], (self.key,)).read_all()[self.key]
            return (np.flatnonzero(keys.contains(column)),)
        file = local_path(task.file.file_path)
        name = key_in_file(table, file, self.key)
        return () if name is None else find_rows(file, name, keys)

    def delete(self, match: Match, keys: KeySet, inspect: Inspect | None) -> None:
        """Write successors of the files with listed rows, look at all rows that stay, then swap them in one commit."""
        with _readable():
            table = self._open()
            if self._identify(match.file.path, table) != match.file:
                raise ConflictError("the table changed since it was located: locate it again")
            files = tasks(table)
            swaps: dict[str, Swap] = {}
            try:
                for task in files:
                    if (swap := swap_file(table, task, self.key, keys)) is not None:
                        swaps[task.file.file_path] = swap
                if sum(swap.rows_removed for swap in swaps.values()) != match.rows:
                    raise ConflictError("the listed rows are not those that were located: locate the table again")
                reject(inspect, rows_of(table, list(_after(files, swaps))))
                commit(table, Operation.OVERWRITE, swaps.values(), forget=False)
            except (StoreError, ConflictError):  # nothing was committed; after anything else it may have been
                new = [local_path(file.file_path) for swap in swaps.values() for file in swap.new]
                remove_files(local_path(table.location()), new)
                raise

    def clean(self, unit: str) -> None:
        """Leave one snapshot and its files.

        Nobody may be writing: a file not yet committed looks like a leftover, and Iceberg has no way to end a
        transaction under way. One that was hurt all the same is told.
        """
        del unit
        with _readable():
            self.units()
            table = self._open()
            location = local_path(table.location())
            files = files_below(location)
            if table.current_snapshot() is not None:
                found = [swap_file(table, task, self.key, None) for task in tasks(table)]
                commit(table, Operation.REPLACE, [swap for swap in found if swap is not None], forget=True)
            table = self._open()
            if len(table.snapshots()) > 1 or any(manifest.is_dirty for manifest in manifests(table)):
                raise ConflictError("somebody else wrote to the table while it was cleaned: run it again")
            remove_files(location, leftovers(files, reachable(table, history=False)))
            self._check_whole()

    def _check_whole(self) -> None:
        """Raise StoreError if the table names data files that are not there."""
        named = {local_path(task.file.file_path) for task in tasks(self._open())}
        if missing := sum(not file.exists() for file in named):
            raise StoreError(
                f"somebody committed {missing} files while the table was cleaned that had been taken for leftovers; "
                "remove them from the table and write them again, and let nobody write during a purge"
            )

    def pending(self, unit: str) -> bool:
        """Whether others removed rows, or left files that no snapshot needs."""
        del unit
        with _readable():
            table = self._open()
            return has_past(table) or bool(
                leftovers(files_below(local_path(table.location())), reachable(table, history=True))
            )

    def _catalog(self) -> Catalog:
        return load_catalog(**{"name": "default", **self.options})

    def _load(self, catalog: Catalog) -> Table:
        try:
            return catalog.load_table(self.table)
        except (NoSuchTableError, NoSuchNamespaceError) as error:
            raise InputError(
                f"store {self.path}: the catalog {catalog.name} has no table {self.table}; "
                'write table = "namespace.name", and the name of the catalog as options = {name = "...", ...}'
            ) from error

    def _open(self) -> Table:
        table = self._load(self._catalog())
        check_files(table, local_path(table.location()))
        return table

    def _identify(self, unit: str, table: Table) -> StoreFile:
        files = tasks(table)
        rows = sum(
            rows_of(table, [task], (self.key,)).read_all().num_rows if task.delete_files else task.file.record_count
            for task in files
        )
        size = sum(task.file.file_size_in_bytes for task in files)
        return StoreFile(unit, size, 0, local_path(table.metadata_location).name, rows)


def _after(files: list[FileScanTask], swaps: Mapping[str, Swap]) -> Iterator[FileScanTask]:
    """The files of the snapshot to come."""
    for task in files:
        swap = swaps.get(task.file.file_path)
        yield from [task] if swap is None else [FileScanTask(file) for file in swap.new]


@contextmanager
def _readable() -> Iterator[None]:
    """What catalog, pyiceberg and file system raise, as a StoreError that says no more than its type.

    Each catalog raises what its own client raises, so that no shorter list would do.
    """
    try:
        yield
    except LetheError:
        raise
    except Exception as error:
        raise StoreError(f"the Iceberg table cannot be read or written ({type(error).__name__})") from error
