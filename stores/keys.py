"""The ids to delete: a set on disk, exact, memory-mapped, of any size.

The file is an Arrow IPC file of one record batch with the columns `hash` (uint64, `hash_strings`) and `id`
(large_string), sorted by both and without duplicates. Membership is a binary search on the hashes, then a
comparison of the ids themselves: a hash never decides that somebody is deleted.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.errors import InputError
from schemas.files import digest_file, replacing
from schemas.hashing import Hashes, hash_strings

SCHEMA = pa.schema([pa.field("hash", pa.uint64(), nullable=False), pa.field("id", pa.large_string(), nullable=False)])

Mask = npt.NDArray[np.bool_]


class KeySet:
    """The ids of one purge, memory-mapped; `KeySet.write` makes the file, `KeySet.open` reads it."""

    def __init__(self, path: Path, hashes: Hashes, ids: pa.Array) -> None:
        self.path = path
        self._hashes = hashes
        self._ids = ids
        self._digest: str | None = None

    @classmethod
    def write(cls, path: Path, ids: Iterable[pa.Array]) -> "KeySet":
        """Write the set of all `ids` to `path`, replacing it atomically; nulls are left out.

        Equal sets give equal bytes, whatever their order and repetition. All ids pass through memory once.
        """
        batches = [as_bytes(batch).drop_null() for batch in ids]
        everything = pa.chunked_array(batches, pa.large_binary()).combine_chunks()
        table = pa.table({"hash": pa.array(hash_strings(everything)), "id": everything})
        table = table.sort_by([("hash", "ascending"), ("id", "ascending")]).combine_chunks()
        hashes, names = table["hash"].to_numpy(), _one_array(table["id"])
        first = np.ones(len(names), bool)
        if len(names) > 1:
            same = pc.equal(names.slice(1), names.slice(0, len(names) - 1)).to_numpy(zero_copy_only=False)
            first[1:] = ~same
        unique = names.filter(pa.array(first)).view(pa.large_string())
        batch = pa.RecordBatch.from_arrays([pa.array(hashes[first]), unique], schema=SCHEMA)
        with replacing(path) as aside, pa.ipc.new_file(str(aside), SCHEMA) as writer:
            writer.write_batch(batch)
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> "KeySet":
        """Map the set at `path` into memory; raises InputError when it is not one that `write` made."""
        try:
            reader = pa.ipc.open_file(pa.memory_map(str(path)))
            valid = reader.schema.equals(SCHEMA) and reader.num_record_batches == 1
            batch = reader.get_batch(0) if valid else None
        except (OSError, pa.ArrowInvalid) as error:
            raise InputError(f"{path} is no readable set of keys: write it anew from the manifest") from error
        if batch is None:
            raise InputError(f"{path} is an Arrow file, but no set of keys: it needs one batch of {SCHEMA.names}")
        return cls(path, batch.column(0).to_numpy(), batch.column(1).view(pa.large_binary()))

    def __len__(self) -> int:
        return len(self._hashes)

    @property
    def digest(self) -> str:
        """`sha256:<hex>` of the file; the set's name in receipts."""
        if self._digest is None:
            self._digest = digest_file(self.path)
        return self._digest

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """The distinct lengths of the ids in bytes, ascending."""
        lengths: npt.NDArray[np.int64] = np.sort(pc.unique(pc.binary_length(self._ids)).to_numpy())
        return lengths

    def longer_than(self, length: int) -> list[bytes]:
        """The ids of more than `length` bytes."""
        longer = self._ids.filter(pc.greater(pc.binary_length(self._ids), length))
        ids: list[bytes] = longer.to_pylist()
        return ids

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
        at = np.searchsorted(self._hashes, hashes, "left")
        end = np.searchsorted(self._hashes, hashes, "right")
        found = np.zeros(len(ids), bool)
        open_rows = np.flatnonzero(at < end)
        while open_rows.size:
            candidates = self._ids.take(pa.array(at[open_rows]))
            equal = pc.equal(candidates, ids.take(pa.array(open_rows))).fill_null(False)
            found[open_rows] = equal.to_numpy(zero_copy_only=False)
            at[open_rows] += 1
            open_rows = open_rows[~found[open_rows] & (at[open_rows] < end[open_rows])]
        return found

    @staticmethod
    def _contains_indices(indices: pa.Array, found: Mask) -> Mask:
        present = indices.is_valid().to_numpy(zero_copy_only=False)
        mask = np.zeros(len(indices), bool)
        mask[present] = found[indices.drop_null().to_numpy()]
        return mask


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
