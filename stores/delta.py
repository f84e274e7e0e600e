"""The store of one Delta table on a file system.

    find     the key column of every live file
    delete   files with listed rows get successors; one commit swaps them, and names nobody
    clean    an empty commit, a checkpoint of it, and away with every older version, tombstone, statistic and orphan

The rows are not deleted by the table's own DELETE: it would write its predicate, the very ids, into the log, and
decode and encode every vector anew.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pfs
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from schemas.errors import ConflictError, InputError
from stores.contract import Inspect, Match, Positions, StoreFile
from stores.delta_files import Live, live_files, swap_actions
from stores.delta_log import LOG, Action, commit, forget_past, has_past
from stores.keys import KeySet
from stores.table_files import (
    Rewritten,
    count_rows,
    files_below,
    find_rows,
    local_path,
    remove_files,
    rewrite_file,
    without_sidecars,
)
from stores.tables import StoreError, TableStore, reject

_FEATURES = {"appendOnly", "invariants", "checkConstraints", "generatedColumns", "changeDataFeed", "timestampNtz"}
_BATCH_ROWS = 4096


class DeltaStore(TableStore):
    """`path` is the folder of the table, `key` its column of ids."""

    kind = "delta"

    def __init__(self, path: str, key: str) -> None:
        self.root = local_path(path)
        self.path = str(self.root)
        self.key = key

    def units(self) -> list[str]:
        """The one table. InputError when there is none, or one that must not be changed."""
        with _readable():
            table = self._open()
        for folder in self.root.rglob(LOG):
            if folder.parent != self.root:
                raise InputError(
                    f"store {self.path}: there is another table inside ({folder.parent.relative_to(self.root)}); "
                    "move it out, or its files would be taken for leftovers"
                )
        return [self.path] if table else []

    def size(self) -> int:
        """The bytes of everything below the folder."""
        return sum(file.lstat().st_size for file in files_below(self.root))

    def identify(self, unit: str) -> StoreFile:
        """The current version of the table."""
        with _readable():
            return _identify(unit, self._open(), self.root)

    def find(self, unit: str, keys: KeySet) -> Positions:
        """Where the keys are, by file and row group."""
        del unit
        with _readable():
            live = live_files(self._open(), self.root)
        return tuple(rows for one in live for rows in find_rows(one.file, self.key, keys))

    def delete(self, match: Match, keys: KeySet, inspect: Inspect | None) -> None:
        """Write successors of the files with listed rows, look at all rows that stay, then swap them in one commit."""
        with _readable():
            table = self._open()
            if _identify(match.file.path, table, self.root) != match.file:
                raise ConflictError("the table changed since it was located: locate it again")
            swaps: list[tuple[Live, Rewritten]] = []
            try:
                live = live_files(table, self.root)
                for one in live:
                    if (rewritten := rewrite_file(one.file, self.key, keys)) is not None:
                        swaps.append((one, rewritten))
                if sum(rewritten.rows_removed for _, rewritten in swaps) != match.rows:
                    raise ConflictError("the listed rows are not those that were located: locate the table again")
                reject(inspect, _rows(table, live, {one.file: new.new for one, new in swaps}))
                actions = [action for swap in swaps for action in swap_actions(*swap)]
                commit(self.root, table.version() + 1, "DELETE", actions)
            except (StoreError, ConflictError):  # nothing was committed; after anything else it may have been
                remove_files(self.root, [rewritten.new for _, rewritten in swaps if rewritten.new])
                raise

    def clean(self, unit: str) -> None:
        """Leave one version and its files.

        A file that somebody is about to commit looks like a leftover. The commit states the metadata anew, which by the
        protocol ends every transaction begun before; what is listed before it belongs to none begun after.
        """
        del unit
        with _readable():
            found = files_below(self.root)
            table = self._open()
            version = table.version() + 1
            commit(self.root, version, "VACUUM", [_metadata(table)])
            forget_past(self.root, version)
            remove_files(self.root, self._leftovers(found))

    def pending(self, unit: str) -> bool:
        """Whether others removed rows, or left files that no version needs."""
        del unit
        with _readable():
            return has_past(self.root) or bool(self._leftovers(files_below(self.root)))

    def _leftovers(self, files: list[Path]) -> list[Path]:
        keep = {one.file for one in live_files(self._open(), self.root)}
        return [file for file in without_sidecars(files, keep) if not file.is_relative_to(self.root / LOG)]

    def _open(self) -> DeltaTable:
        try:
            table = DeltaTable(self.path)
        except TableNotFoundError as error:
            raise InputError(f"store {self.path}: there is no Delta table; give the folder that holds {LOG}") from error
        _refuse(table, self.path, self.key)
        return table


@contextmanager
def _readable() -> Iterator[None]:
    """What the table's own software raises, as a StoreError that says no more than its type."""
    try:
        yield
    except (DeltaError, OSError, pa.ArrowException) as error:
        raise StoreError(f"the Delta table cannot be read or written ({type(error).__name__})") from error


def _refuse(table: DeltaTable, path: str, key: str) -> None:
    """Raise InputError for what would leave somebody behind or break a promise of the table."""
    protocol, metadata = table.protocol(), table.metadata()
    features = {*(protocol.reader_features or ()), *(protocol.writer_features or ())}
    properties = metadata.configuration
    columns = [field.name for field in table.schema().fields]
    problem = None
    if "deletionVectors" in features:
        problem = "it uses deletion vectors, which hide rows and keep them; run REORG TABLE ... APPLY (PURGE), then "
        problem += "drop the feature"
    elif protocol.min_reader_version == 2 or "columnMapping" in features:
        problem = "its columns have other names in the files (delta.columnMapping); rewrite it without, then purge it"
    elif features - _FEATURES or protocol.min_reader_version > 3 or protocol.min_writer_version > 7:
        problem = f"it needs {', '.join(sorted(features - _FEATURES)) or 'a newer protocol'}, which lethe does not know"
    elif properties.get("delta.appendOnly", "false").lower() == "true":
        problem = "delta.appendOnly = true forbids to remove rows; set it to false first"
    elif properties.get("delta.enableChangeDataFeed", "false").lower() == "true":
        problem = "delta.enableChangeDataFeed = true keeps every removed row in a feed; set it to false first"
    elif key not in columns:
        problem = f"it has no column {key!r}, it has {', '.join(columns)}; write the right one as key = in the job file"
    elif key in metadata.partition_columns:
        problem = f"it is partitioned by {key!r}, so folders are named after people; partition it by something else"
    if problem:
        raise InputError(f"store {path}: this Delta table cannot be purged: {problem}")


def _identify(unit: str, table: DeltaTable, root: Path) -> StoreFile:
    live = live_files(table, root)
    rows = sum(count_rows(one.file) for one in live)
    return StoreFile(unit, sum(one.size for one in live), 0, f"{table.metadata().id} {table.version()}", rows)


def _metadata(table: DeltaTable) -> Action:
    """The metadata of the table, as it is."""
    told = table.metadata()
    return {
        "metaData": {
            "id": told.id,
            "name": told.name,
            "description": told.description,
            "format": {"provider": "parquet", "options": {}},
            "schemaString": table.schema().to_json(),
            "partitionColumns": told.partition_columns,
            "configuration": told.configuration,
            "createdTime": told.created_time,
        }
    }


def _rows(table: DeltaTable, live: list[Live], successors: dict[Path, Path | None]) -> Iterator[pa.RecordBatch]:
    """All rows of the version to come, as a reader of the table would get them."""
    form, disk = ds.ParquetFileFormat(), pfs.LocalFileSystem()
    fragments = [
        form.make_fragment(str(file), disk, _in_partition(one.partition))
        for one in live
        if (file := successors.get(one.file, one.file)) is not None
    ]
    dataset = ds.FileSystemDataset(fragments, table.to_pyarrow_dataset().schema, form, disk)
    yield from dataset.to_batches(batch_size=_BATCH_ROWS, use_threads=False)


def _in_partition(partition: dict[str, Any]) -> ds.Expression | None:
    told = [ds.field(name).is_null() if value is None else ds.field(name) == value for name, value in partition.items()]
    return reduce(lambda one, other: one & other, told) if told else None
