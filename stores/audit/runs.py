"""Rows sorted by hash on disk, in runs, so that memory does not grow with them.

    tables ─ sort a run at a time ─ one Arrow file of runs, mapped ─ the rows of one interval of hashes, of all runs

Hashes spread rows evenly, so equal intervals hold about equally many. The verifier has its own, as it has its own hash.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

RUN_ROWS = 1 << 19
"""So many rows are sorted in memory at a time, some 150 MB with the copies that takes."""


class SortedRuns:
    """Tables with a uint64 column `hash`, their rows sorted by it; the file is the caller's to remove."""

    def __init__(self, file: Path) -> None:
        reader = pa.ipc.open_file(pa.memory_map(str(file)))
        self._schema: pa.Schema = reader.schema
        self._runs = [reader.get_batch(i) for i in range(reader.num_record_batches)]
        self._hashes = [run.column("hash").to_numpy() for run in self._runs]

    @classmethod
    def write(
        cls, file: Path, schema: pa.Schema, tables: Iterable[pa.Table], *, distinct: bool = False
    ) -> "SortedRuns":
        """Sort `tables` of `schema`, without nulls, in `file`; of equal rows in a run one is kept if `distinct`."""
        with pa.ipc.new_file(str(file), schema) as writer:
            for run in _gather(tables):
                writer.write_batch(_sort(_distinct(run) if distinct else run))
        return cls(file)

    @property
    def rows(self) -> int:
        """How many rows there are in all runs."""
        return sum(len(run) for run in self._runs)

    def count(self, part: int, of: int) -> int:
        """How many rows have a hash in interval number `part` of `of` equal ones."""
        return sum(len(piece) for piece in self._cut(part, of))

    def merged(self, part: int = 0, of: int = 1, *, distinct: bool = False) -> Iterator[pa.RecordBatch]:
        """The rows of one interval of hashes, ascending over all batches; each batch is about as large as a run."""
        steps = -(-self.count(part, of) // RUN_ROWS)
        for step in range(steps):
            table = pa.Table.from_batches(self._cut(part * steps + step, of * steps), self._schema)
            yield _sort(_distinct(table) if distinct else table)

    def _cut(self, part: int, of: int) -> list[pa.RecordBatch]:
        low, high = (np.uint64(min(edge * 2**64 // of, 2**64 - 1)) for edge in (part, part + 1))
        cuts = [
            (np.searchsorted(hashes, low), np.searchsorted(hashes, high) if part + 1 < of else len(hashes))
            for hashes in self._hashes
        ]
        return [run.slice(start, stop - start) for run, (start, stop) in zip(self._runs, cuts, strict=True)]


def _gather(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows, about `RUN_ROWS` in each table."""
    held, rows = [], 0
    for table in tables:
        for start in range(0, len(table), RUN_ROWS):
            held.append(table.slice(start, RUN_ROWS))
            rows += len(held[-1])
            if rows >= RUN_ROWS:
                yield pa.concat_tables(held)
                held, rows = [], 0
    if held:
        yield pa.concat_tables(held)


def _distinct(table: pa.Table) -> pa.Table:
    return table.group_by(table.column_names, use_threads=False).aggregate([])


def _sort(table: pa.Table) -> pa.RecordBatch:
    """The rows of a table that has some, as one batch, ascending by hash."""
    order = np.argsort(table.column("hash").to_numpy(), kind="stable")
    (batch,) = table.take(pa.array(order)).combine_chunks().to_batches()
    return batch
