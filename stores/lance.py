"""The store of Lance tables: the folders that LanceDB and Lance keep, on a file system.

A delete in Lance hides rows; it destroys nothing. So: the rows are hidden in one transaction that names no id, the
files that hold them are written again without them, every index is made anew, since centroids, codebooks and graphs
come from all faces, and all older versions go. Whoever writes to the table meanwhile must be stopped: files that belong
to no version yet are removed as well, as they may be what a crash left of the purged.
"""

import datetime
from collections.abc import Iterator
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa

from schemas.errors import ConflictError, InputError
from schemas.job import StoreSection
from stores.contract import Inspect, Match, Positions, StoreFile
from stores.file_store import problem_of
from stores.keys import KeySet, is_key_type
from stores.lance_index import rebuild_indices
from stores.tables import StoreError, TableStore, reject

_ERRORS = (OSError, ValueError, RuntimeError, KeyError, pa.ArrowException)
_ROW = np.uint64(0xFFFF_FFFF)
_AT_ONCE = 50_000


class LanceStore(TableStore):
    """The table at `store.path`, one table of the database there, or all of them."""

    kind = "lance"

    def __init__(self, store: StoreSection) -> None:
        self.path, self.table, self.key = store.path, store.table, store.key
        self.drop_tags = store.options.get("tags") == "delete"
        for name, value in store.options.items():
            if (name, value) != ("tags", "delete"):
                raise InputError(
                    f'store {self.path}: unknown option {name} = "{value}"; a Lance store knows tags = "delete",'
                    " which gives up tags that keep old versions"
                )

    def units(self) -> list[str]:
        """The folders of the tables, sorted."""
        root = Path(self.path)
        if self.table:
            found = [root / f"{self.table.removesuffix('.lance')}.lance"]
        else:
            found = [root] if _is_table(root) else sorted(root.glob("*.lance"))
        tables = [str(folder.resolve()) for folder in found if _is_table(folder)]
        if not tables:
            there = ", ".join(sorted(folder.stem for folder in root.glob("*.lance"))) or "none"
            raise InputError(
                f"store {self.path}: no Lance table {self.table or 'there'}; give the folder of a table, or that of a"
                f" database (its tables: {there}), in which table = picks one"
            )
        return tables

    def size(self) -> int:
        """Of all files, those of old versions too."""
        return sum(file.stat().st_size for unit in self.units() for file in Path(unit).rglob("*") if file.is_file())

    def identify(self, unit: str) -> StoreFile:
        """By number of the version and when it was written; the size is that of its data files."""
        table = _open(unit)
        try:
            files = [file for fragment in table.get_fragments() for file in fragment.metadata.files]
            size = sum(file.file_size_bytes or 0 for file in files)
            written = _manifest(unit, table).stat().st_mtime_ns
            return StoreFile(unit, size, written, str(table.version), table.count_rows())
        except _ERRORS as error:
            raise _failed("cannot be read", error) from error

    def find(self, unit: str, keys: KeySet) -> Positions:
        """For each fragment, in the order of the table, the places of the rows in it."""
        table = _open(unit)
        if self.key not in table.schema.names or not is_key_type(table.schema.field(self.key).type):
            raise InputError(
                f"{unit}: the key column {self.key} is not there or holds no ids; found"
                f" {', '.join(f'{field.name} ({field.type})' for field in table.schema)}."
                " Write the right one as key = in the job file"
            )
        try:
            found = [np.zeros(0, np.uint64)]
            for batch in table.scanner(columns=[self.key], with_row_address=True).to_batches():
                found.append(batch["_rowaddr"].to_numpy()[keys.contains(batch[self.key])])
            addresses = np.sort(np.concatenate(found))
        except _ERRORS as error:
            raise _failed("cannot be read to its end", error) from error
        fragments = np.array([fragment.fragment_id for fragment in table.get_fragments()], np.uint64)
        starts = np.searchsorted(addresses, fragments << np.uint64(32))
        ends = np.searchsorted(addresses, (fragments + np.uint64(1)) << np.uint64(32))
        places = (addresses & _ROW).astype(np.int64)
        return tuple(places[start:end] for start, end in zip(starts, ends, strict=True))

    def delete(self, match: Match, keys: KeySet, inspect: Inspect | None) -> None:
        """Hide the rows by their places, so that no log names an id.

        The version to be is first written apart from the line of versions, where nobody reads it, and looked at there.
        """
        del keys
        unit = match.file.path
        table = _open(unit)
        if self.identify(unit) != match.file:
            raise ConflictError("the table changed since it was located: locate it again")
        self._free(table)
        try:
            operation = _hide(table, match.positions)
            trial = lance.LanceDataset.commit(unit, operation, read_version=table.version, detached=True)
            try:
                reject(inspect, trial.to_batches())
            except StoreError:
                _remove_deletions(Path(unit), operation)
                raise
            finally:
                (Path(unit) / "_versions" / f"d{trial.version}.manifest").unlink(missing_ok=True)
            lance.LanceDataset.commit(unit, operation, read_version=table.version, max_retries=0)
        except StoreError:
            raise
        except _ERRORS as error:
            if _open(unit).version != table.version:
                raise ConflictError("somebody else wrote to the table meanwhile: locate it again") from error
            raise _failed("its rows cannot be removed", error) from error

    def clean(self, unit: str) -> tuple[str, ...]:
        """Write the data files again, make the indexes anew, and remove everything that is no part of the result."""
        table = _open(unit)
        self._free(table)
        try:
            table.optimize.compact_files(
                materialize_deletions=True, materialize_deletions_threshold=0.0, defer_index_remap=False
            )
            dropped = rebuild_indices(_open(unit))
            for detached in Path(unit).glob("_versions/d*.manifest"):
                detached.unlink()
            table = _open(unit)
            for tag in list(table.tags.list()):
                table.tags.delete(tag)
            table.cleanup_old_versions(datetime.timedelta(0), delete_unverified=True)
        except _ERRORS as error:
            raise _failed("cannot be cleaned", error) from error
        if self.pending(unit) or len(table.versions()) > 1:
            raise StoreError("the table still has removed rows or older versions: stop its writers and run again")
        return dropped

    def pending(self, unit: str) -> bool:
        """Whether rows are hidden, or data or index files are there that the table does not use any more."""
        table = _open(unit)
        try:
            if any(fragment.num_deletions for fragment in table.get_fragments()):
                return True
            used = {str(row["path"]) for row in _list(table.tracked_files()) if row["version"] == table.version}
            there = {str(row["path"]) for row in _list(table.all_files())}
            return any(path.startswith(("data/", "_indices/")) for path in there - used)
        except _ERRORS as error:
            raise _failed("cannot be listed", error) from error

    def _free(self, table: lance.LanceDataset) -> None:
        """Raise a StoreError for what keeps old versions, or files elsewhere, from being removed."""
        if (tags := len(table.tags.list())) and not self.drop_tags:
            raise StoreError(
                f"{tags} tag(s) keep old versions of the table, and everybody in them: delete them, or write"
                ' options = { tags = "delete" }'
            )
        if table.branches.list():
            raise StoreError("the table has branches, which keep everybody who was in it: delete them first")
        if table.base_paths() or (Path(table.uri) / "_mem_wal").exists():
            raise StoreError("some files of the table lie elsewhere (a shallow clone, or a log in memory): copy it")


def _is_table(folder: Path) -> bool:
    return (folder / "_versions").is_dir()


def _open(unit: str) -> lance.LanceDataset:
    try:
        return lance.dataset(unit)
    except _ERRORS as error:
        raise _failed("cannot be opened", error) from error


def _failed(what: str, error: BaseException) -> StoreError:
    return StoreError(f"the table {what}: {problem_of(error)}")


def _hide(table: lance.LanceDataset, positions: Positions) -> lance.LanceOperation.Delete:
    """The operation that hides the rows at `positions`; what it writes down of them is a word."""
    changed, emptied = [], []
    for fragment, places in zip(table.get_fragments(), positions, strict=True):
        if not len(places):
            continue
        if len(places) == fragment.count_rows():
            emptied.append(fragment.fragment_id)
            continue
        first = fragment.fragment_id << 32
        parts = [places[at : at + _AT_ONCE] for at in range(0, len(places), _AT_ONCE)]
        rows = " OR ".join(f"_rowaddr IN ({', '.join(str(first + place) for place in part)})" for part in parts)
        changed += [left for left in [fragment.delete(rows)] if left is not None]
    return lance.LanceOperation.Delete(changed, emptied, "lethe")


def _manifest(unit: str, table: lance.LanceDataset) -> Path:
    """The file of the version, under the name it has had since the second naming scheme, or before."""
    folder = Path(unit) / "_versions"
    newer = folder / f"{2**64 - 1 - table.version:020d}.manifest"
    return newer if newer.exists() else folder / f"{table.version}.manifest"


def _remove_deletions(folder: Path, operation: lance.LanceOperation.Delete) -> None:
    for fragment in operation.updated_fragments:
        if fragment.deletion_file is not None:
            (folder / fragment.deletion_file.path(fragment.id, "")).unlink(missing_ok=True)


def _list(reader: pa.RecordBatchReader) -> Iterator[dict[str, object]]:
    for batch in reader:
        yield from batch.to_pylist()
