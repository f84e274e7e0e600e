"""A shuffle of Arrow data through files: each unit writes one file, and only pointers into it pass through Beam.

On every engine a grouped value is then some hundred bytes, whatever the data; on some engines the values of one key
have to fit the heap. A spill holds ids of people: it lies in the work folder and goes when the stage is done.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.files import replacing


class Pointer(NamedTuple):
    """Where some record batches of one shard lie: a spill file and the positions of the batches in it."""

    path: str
    batches: tuple[int, ...]


class SpillWriter(AbstractContextManager["SpillWriter"]):
    """Writes one spill file; `pointers()` says where each shard lies in it once it is closed.

    It holds up to `held_rows` rows, and one batch more, until it writes a batch for each shard.
    """

    def __init__(self, path: Path, schema: pa.Schema, held_rows: int = 131_072) -> None:
        self._path, self._schema, self._held_rows = path, schema, held_rows
        self._stack = ExitStack()
        self._batches: dict[int, list[int]] = {}
        self._count = 0
        self._held: list[tuple[pa.Table, npt.NDArray[np.int64]]] = []

    def __enter__(self) -> Self:
        aside = self._stack.enter_context(replacing(self._path))
        options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
        self._writer = self._stack.enter_context(pa.ipc.new_file(str(aside), self._schema, options=options))
        self._stack.push(lambda kind, error, trace: None if error else self._flush())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def write(self, table: pa.Table, shards: npt.NDArray[np.int64]) -> None:
        """Append the rows of `table`, each to its shard in `shards`, shape `(rows,)`."""
        self._held.append((table, shards))
        if sum(len(held) for held, _ in self._held) >= self._held_rows:
            self._flush()

    def _flush(self) -> None:
        table = pa.concat_tables([self._schema.empty_table(), *(held for held, _ in self._held)])
        shards = np.concatenate([np.zeros(0, np.int64), *(held for _, held in self._held)])
        self._held.clear()
        if not len(table):
            return
        # numpy sorts integers of 16 bits in a tenth of the time, and there are seldom more shards than they can count.
        order = np.argsort(shards.astype(np.min_scalar_type(shards.max())), kind="stable")
        ordered = table.combine_chunks().take(pa.array(order)).combine_chunks()
        present, starts = np.unique(shards[order], return_index=True)
        for shard, start, stop in zip(present, starts, [*starts[1:], len(shards)], strict=True):
            for batch in ordered.slice(start, stop - start).to_batches():
                self._writer.write_batch(batch)
                self._batches.setdefault(int(shard), []).append(self._count)
                self._count += 1

    def pointers(self) -> dict[int, Pointer]:
        """The pointer of every shard in this file."""
        return {shard: Pointer(str(self._path), tuple(batches)) for shard, batches in self._batches.items()}


def read_spill(pointers: Iterable[Pointer], schema: pa.Schema) -> pa.Table:
    """The rows that the pointers point to, files in the order of their names: the same whatever order they came in."""
    return pa.Table.from_batches(list(_read(pointers)), schema=schema)


def _read(pointers: Iterable[Pointer]) -> Iterator[pa.RecordBatch]:
    for path, batches in sorted(pointers):
        with pa.memory_map(path) as source:
            reader = pa.ipc.open_file(source)
            for batch in batches:
                yield reader.get_batch(batch)


def shard_of(hashes: npt.NDArray[np.uint64], shards: int) -> npt.NDArray[np.int64]:
    """The shard of each hash, by its high bits, evenly; shape `(n,)`."""
    return ((hashes >> np.uint64(32)) * np.uint64(shards) >> np.uint64(32)).astype(np.int64)
