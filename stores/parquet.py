"""The store of Parquet files: vectors, hashes or records, one row each, found by a key column.

Only files that hold a key are rewritten. What stays is what was there: values, order, row groups, schema,
metadata, codec and encodings of every column. What goes is gone from the pages, the dictionaries, the
statistics and the metadata of the new file; the blocks of the old one are the file system's to reuse, which
no program on top of it can hasten for certain.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import ConflictError
from schemas.files import TEMPORARY_PREFIX, replacing
from stores.contract import Description, Inspect, Match, Receipt, Status, StoreFile, now
from stores.keys import KeySet
from stores.ledger import Ledger
from stores.parquet_inventory import list_files
from stores.parquet_locate import READ_ERRORS, identify, locate, problem_of
from stores.parquet_rewrite import RewriteError, copy_attributes, write_survivors

_BATCH_BYTES = 16 << 20


class ParquetStore:
    """The Parquet files that `path`, a folder, file or glob, stands for; `key` is the column, dotted if nested."""

    def __init__(self, path: str, key: str) -> None:
        self.path = path
        self.key = key

    def describe(self) -> Description:
        """How many files there are, and how many bytes."""
        files = list_files(self.path).files
        return Description("parquet", self.path, len(files), sum(file.stat().st_size for file in files))

    def units(self) -> list[str]:
        """The real paths of the files, sorted."""
        return [str(file) for file in list_files(self.path).files]

    def locate(self, unit: str, keys: KeySet) -> Match:
        """The positions of the keys in one file."""
        return locate(Path(unit), self.key, keys)

    def purge(self, match: Match, keys: KeySet, ledger: Path, inspect: Inspect | None = None) -> Receipt:
        """Rewrite one file without the matched rows; whatever happens to it, it ends in a receipt in `ledger`."""
        records = Ledger(ledger, keys.digest)
        receipt = Receipt.of(match, keys)
        if receipt.status is not Status.UNREADABLE:
            try:
                return purge_file(match, self.key, keys, records, inspect)
            except ConflictError as error:
                receipt = receipt.failed(Status.CONFLICT, str(error))
            except (*READ_ERRORS, RewriteError) as error:
                receipt = receipt.failed(Status.FAILED, problem_of(error))
        records.record(receipt)
        return receipt

    def compact(self, receipt: Receipt, keys: KeySet, ledger: Path) -> Receipt:
        """The new file never held the rows, so there is nothing left to do."""
        return receipt

    def janitor(self, ledger: Path) -> list[Path]:
        """Remove what a crash left unfinished, which may hold personal data, in the store and in `ledger`."""
        folders = (*list_files(self.path).folders, ledger)
        leftovers = sorted(left for folder in folders for left in folder.glob(f"{TEMPORARY_PREFIX}*"))
        for leftover in leftovers:
            leftover.unlink(missing_ok=True)
        return leftovers


def purge_file(match: Match, key: str, keys: KeySet, records: Ledger, inspect: Inspect | None = None) -> Receipt:
    """Rewrite one readable file, or finish what a killed attempt began; the receipt is durable on return.

    Raises ConflictError when the file is neither as it was located nor as an earlier attempt left it,
    RewriteError or what pyarrow raises when it cannot be rewritten. The file is not touched then.
    """
    path = Path(match.file.path)
    found = _identify_again(path)
    done = records.finished(found)
    if done is not None:
        return done
    if found != match.file:
        raise ConflictError("the file changed since it was located: locate it again")
    receipt = Receipt.of(match, keys)
    if not match.rows:
        records.record(receipt)
        return receipt

    names = path.stat().st_nlink
    with replacing(path) as aside:
        lost = write_survivors(match, key, keys, aside)
        if inspect is not None and (problem := inspect(_rows(aside))) is not None:
            raise RewriteError(problem)
        copy_attributes(path, aside)
        with aside.open("rb") as written:
            os.fsync(written.fileno())
        receipt = replace(
            receipt,
            status=Status.REMOVED,
            after=replace(identify(aside), path=match.file.path),
            rows_removed=match.rows,
            removed_at=now(),
            compacted_at=now(),
            dropped=tuple(lost),
            detail=f"the old file has {names - 1} more names (hard links), which keep it" if names > 1 else None,
        )
        records.prepare(receipt)
        if _identify_again(path) != found:
            raise ConflictError("the file changed while it was rewritten: locate it again")
    records.conclude(receipt)
    return receipt


def _rows(path: Path) -> Iterator[pa.RecordBatch]:
    """The rows of a new file as anybody reads them."""
    with pq.ParquetFile(path, memory_map=True, pre_buffer=False) as file:
        widest = max((file.metadata.row_group(i).total_byte_size for i in range(file.num_row_groups)), default=0)
        most = max((file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)), default=1)
        yield from file.iter_batches(max(1, min(65_536, _BATCH_BYTES * most // max(widest, 1))), use_threads=False)


def _identify_again(path: Path) -> StoreFile:
    try:
        return identify(path)
    except READ_ERRORS as error:
        raise ConflictError(
            f"the file was readable when it was located and is not any more: {problem_of(error)}"
        ) from error
