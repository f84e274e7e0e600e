"""The ids to delete: a set on disk, exact, memory-mapped, of any size.

The file is an Arrow IPC file with the columns `hash` (uint64, `hash_strings`) and `id` (large_string), sorted by both
and without duplicates, in parts of `PART_ROWS` rows. Membership is a binary search on the hashes, then a comparison of
the ids themselves: a hash never decides that somebody is deleted.
"""

import contextlib
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.errors import InputError
from schemas.files import TEMPORARY_PREFIX, digest_file, replacing
from schemas.hashing import Hashes, hash_strings

SCHEMA = pa.schema([pa.field("hash", pa.uint64(), nullable=False), pa.field("id", pa.large_string(), nullable=False)])

PART_ROWS = 1_000_000
"""So many ids are sorted in memory at a time, some 200 MB, however many there are."""

Mask = npt.NDArray[np.bool_]


class _Part(NamedTuple):
    """A record batch of the file: n hashes, ascending, and their ids as large_binary."""

    hashes: Hashes
    ids: pa.Array

    def contains(self, hashes: Hashes, ids: pa.Array) -> Mask:
        """Which of n ids with these hashes are in this part."""
        found = np.zeros(len(ids), bool)
        at = np.searchsorted(self.hashes, hashes)
        open_rows = np.arange(len(ids))
        while True:
            open_rows = open_rows[at[open_rows] < len(self.hashes)]
            open_rows = open_rows[self.hashes[at[open_rows]] == hashes[open_rows]]
            if not open_rows.size:
                return found
            candidates = self.ids.take(pa.array(at[open_rows]))
            equal = pc.equal(candidates, ids.take(pa.array(open_rows))).fill_null(False)
            found[open_rows] = equal.to_numpy(zero_copy_only=False)
            open_rows = open_rows[~found[open_rows]]
            at[open_rows] += 1


class KeySet:
    """The ids of one purge, memory-mapped; `KeySet.write` makes the file, `KeySet.open` reads it."""

    def __init__(self, path: Path, parts: list[_Part]) -> None:
        self.path = path
        self._parts = [part for part in parts if len(part.hashes)]
        self._first = np.array([part.hashes[0] for part in self._parts], np.uint64)
        self._last = np.array([part.hashes[-1] for part in self._parts], np.uint64)
        self._digest: str | None = None

    @classmethod
    def write(cls, path: Path, ids: Iterable[pa.Array]) -> "KeySet":
        """Write the set of all `ids` to `path`, replacing it atomically; nulls are left out.

        Equal sets give equal bytes, whatever their order and repetition. Ids are sorted in runs of `PART_ROWS`, which
        go to a file beside `path` and are merged from there, so that memory does not grow with the set.
        """
        with _temporary(path.parent) as runs:
            with pa.ipc.new_file(str(runs), SCHEMA) as writer:
                for run in _sort_runs(ids):
                    writer.write_batch(run)
            with replacing(path) as aside, pa.ipc.new_file(str(aside), SCHEMA) as writer:
                for part in _cut(_merge_runs(runs)):
                    writer.write_batch(part)
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> "KeySet":
        """Map the set at `path` into memory; raises InputError when it is not one that `write` made."""
        try:
            reader = pa.ipc.open_file(pa.memory_map(str(path)))
            valid = reader.schema.equals(SCHEMA) and reader.num_record_batches > 0
            parts = _map_parts(reader) if valid else None
        except (OSError, pa.ArrowInvalid) as error:
            raise InputError(f"{path} is no readable set of keys: write it anew from the manifest") from error
        if parts is None:
            raise InputError(f"{path} is an Arrow file, but no set of keys: it needs batches of {SCHEMA.names}")
        return cls(path, parts)

    def __len__(self) -> int:
        return sum(len(part.hashes) for part in self._parts)

    @property
    def digest(self) -> str:
        """`sha256:<hex>` of the file; the set's name in receipts."""
        if self._digest is None:
            self._digest = digest_file(self.path)
        return self._digest

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """The distinct lengths of the ids in bytes, ascending."""
        lengths = [pc.unique(pc.binary_length(part.ids)).to_numpy() for part in self._parts]
        return np.unique(np.concatenate([np.zeros(0, np.int64), *lengths]))

    def longer_than(self, length: int) -> list[bytes]:
        """The ids of more than `length` bytes."""
        longer = (part.ids.filter(pc.greater(pc.binary_length(part.ids), length)) for part in self._parts)
        return [each for ids in longer for each in ids.to_pylist()]

    def contains(self, ids: pa.Array | pa.ChunkedArray) -> Mask:
        """Which of n `ids` are in the set, shape `(n,)`; a null never is.

        Strings and binaries are compared by their bytes, integers by their decimal text, dictionaries by
        their values.
        """
        array = _one_array(ids)
        if pa.types.is_dictionary(array.type):
            return self._contains_indices(array.indices, self.contains(array.dictionary))
        return self._contains_bytes(as_bytes(array))

    def _contains_bytes(self, ids: pa.Array) -> Mask:
        hashes = hash_strings(ids)
        if len(self._parts) == 1:
            return self._parts[0].contains(hashes, ids)
        found = np.zeros(len(ids), bool)
        order = np.argsort(hashes, kind="stable")
        starts = np.searchsorted(hashes[order], self._first, "left")
        stops = np.searchsorted(hashes[order], self._last, "right")
        for index in np.flatnonzero(starts < stops):
            rows = order[starts[index] : stops[index]]
            found[rows] |= self._parts[index].contains(hashes[rows], ids.take(pa.array(rows)))
        return found

    @staticmethod
    def _contains_indices(indices: pa.Array, found: Mask) -> Mask:
        present = indices.is_valid().to_numpy(zero_copy_only=False)
        mask = np.zeros(len(indices), bool)
        mask[present] = found[indices.drop_null().to_numpy()]
        return mask


@contextlib.contextmanager
def _temporary(folder: Path) -> Iterator[Path]:
    """A path in `folder` for a file that is gone in the end; after a crash the janitor removes it."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
    try:
        yield file
    finally:
        file.unlink(missing_ok=True)


def _sort_runs(ids: Iterable[pa.Array]) -> Iterator[pa.RecordBatch]:
    """The ids, up to `PART_ROWS` at a time, each run sorted and without duplicates."""
    held: list[pa.Array] = []
    for batch in ids:
        present = as_bytes(batch).drop_null()
        for start in range(0, len(present), PART_ROWS):
            held.append(present.slice(start, PART_ROWS))
            if sum(map(len, held)) >= PART_ROWS:
                yield _sort(pa.concat_arrays(held))
                held.clear()
    if held:
        yield _sort(pa.concat_arrays(held))


def _sort(ids: pa.Array) -> pa.RecordBatch:
    """Distinct ids (large_binary) as rows of `SCHEMA`."""
    table = pa.table({"hash": pa.array(hash_strings(ids)), "id": ids})
    table = table.sort_by([("hash", "ascending"), ("id", "ascending")])
    hashes, names = table["hash"].to_numpy(), _one_array(table["id"])
    first = np.ones(len(names), bool)
    if len(names) > 1:
        same = pc.equal(names.slice(1), names.slice(0, len(names) - 1)).to_numpy(zero_copy_only=False)
        first[1:] = ~same
    unique = names.filter(pa.array(first)).view(pa.large_string())
    return pa.RecordBatch.from_arrays([pa.array(hashes[first]), unique], schema=SCHEMA)


def _merge_runs(file: Path) -> Iterator[pa.RecordBatch]:
    """All runs in one order: of as many ranges of hashes as there are runs, one range of all of them after another."""
    with pa.memory_map(str(file)) as source:
        runs = _map_parts(pa.ipc.open_file(source))
        edges = np.array([n * 2**64 // len(runs) for n in range(1, len(runs))], np.uint64)
        cuts = [[0, *np.searchsorted(run.hashes, edges), len(run.hashes)] for run in runs]
        for index in range(len(runs)):
            slices = [
                run.ids.slice(cut[index], cut[index + 1] - cut[index]) for run, cut in zip(runs, cuts, strict=True)
            ]
            yield _sort(pa.concat_arrays(slices))


def _cut(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows, `PART_ROWS` in each batch and fewer in the last alone; one batch of none if there are none."""
    held = SCHEMA.empty_table()
    for batch in batches:
        held = pa.concat_tables([held, pa.Table.from_batches([batch])])
        while len(held) > PART_ROWS:
            yield _one_batch(held.slice(0, PART_ROWS))
            held = held.slice(PART_ROWS)
    yield _one_batch(held)


def _one_batch(table: pa.Table) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([_one_array(column) for column in table.columns], schema=SCHEMA)


def _map_parts(reader: pa.ipc.RecordBatchFileReader) -> list[_Part]:
    batches = map(reader.get_batch, range(reader.num_record_batches))
    return [_Part(batch.column(0).to_numpy(), batch.column(1).view(pa.large_binary())) for batch in batches]


def as_bytes(ids: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Ids of any accepted type as large_binary, nulls kept; raises InputError for a type that cannot hold ids."""
    ids = _one_array(ids)
    kind = ids.type
    if pa.types.is_integer(kind):
        return ids.cast(pa.large_string()).view(pa.large_binary())
    if pa.types.is_dictionary(kind):
        return as_bytes(ids.dictionary_decode())
    if not is_key_type(kind):
        raise InputError(f"ids are of type {kind}; allowed are strings, binaries, integers and dictionaries of them")
    return ids.cast(pa.large_binary())


def is_key_type(kind: pa.DataType) -> bool:
    """Whether a column of this type can hold ids."""
    if pa.types.is_dictionary(kind):
        return is_key_type(kind.value_type)
    tests = (
        pa.types.is_integer,
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_string_view,
        pa.types.is_binary,
        pa.types.is_large_binary,
        pa.types.is_binary_view,
        pa.types.is_fixed_size_binary,
    )
    return any(test(kind) for test in tests)


def _one_array(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if isinstance(values, pa.ChunkedArray):
        values = values.chunk(0) if values.num_chunks else pa.array([], values.type)
    return values
