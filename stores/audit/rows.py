"""A digest of rows that does not depend on their order or on how a file lays them out.

Every value is hashed as it decodes, per row and keyed, and the hashes of the rows are summed modulo 2^64 in two lanes:
a multiset hash, so that two stores agree when they hold the same rows the same number of times, whatever the
row groups, encodings, codecs and files. Sources: Clarke et al., "Incremental multiset hash functions", 2003.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import InputError
from stores.audit.arrays import (
    binary_runs,
    byte_width,
    every,
    fixed_bytes,
    is_binary,
    is_list,
    is_text,
    list_runs,
    simplify,
    validity,
)
from stores.audit.siphash import Offsets, Words, hash_runs, key_lanes

BATCH_BYTES = 16 << 20
"""About how much of a file is decoded at once."""


@dataclass(frozen=True)
class Rows:
    """The rows of one unit: a text that is the same as long as its schema is, and batches that all have `fields`."""

    schema: str
    fields: pa.Schema
    batches: Iterator[pa.RecordBatch]


@dataclass(frozen=True)
class RowDigest:
    """How many rows, and the sum of their hashes as 32 hexadecimal digits (two lanes of 64 bits)."""

    rows: int = 0
    lanes: str = "0" * 32

    def __add__(self, other: "RowDigest") -> "RowDigest":
        """The digest of the rows of both."""
        first = (int(self.lanes[:16], 16) + int(other.lanes[:16], 16)) % 2**64
        second = (int(self.lanes[16:], 16) + int(other.lanes[16:], 16)) % 2**64
        return RowDigest(self.rows + other.rows, f"{first:016x}{second:016x}")


def digest_rows(batch: pa.RecordBatch, key: bytes, keep: npt.NDArray[np.bool_] | None = None) -> RowDigest:
    """The digest of the rows of `batch` where `keep`, shape `(n,)`, is true; of all of them if it is None."""
    hashes = hash_rows(batch, key)
    if keep is not None:
        hashes = hashes[keep]
    first, second = (int(lane) for lane in hashes.sum(axis=0, dtype=np.uint64))
    return RowDigest(len(hashes), f"{first:016x}{second:016x}")


def hash_rows(batch: pa.RecordBatch, key: bytes) -> Words:
    """Hash every row over all its columns; returns shape `(n, 2)`. Names, order and types of the columns count too."""
    columns = "\0".join(f"{field.name}\0{value_type(field.type)}" for field in batch.schema)
    lanes = key_lanes(key, b"rows" + hashlib.sha256(columns.encode("utf-8", "surrogateescape")).digest())
    return _hash_together([hash_values(column, lanes) for column in batch.columns], batch.num_rows, lanes)


def hash_values(array: pa.Array, lanes: Words) -> Words:
    """Hash every value of `array`, nested ones whole; returns shape `(n, 2)`. All nulls are alike."""
    array = simplify(array)
    kind, width = array.type, byte_width(array.type)
    if pa.types.is_null(kind):
        hashes = np.zeros((len(array), 2), np.uint64)
    elif pa.types.is_dictionary(kind):
        indices = array.indices.fill_null(0).to_numpy(zero_copy_only=False)
        known = hash_values(array.dictionary, lanes)
        hashes = known[indices] if len(known) else np.zeros((len(array), 2), np.uint64)
        # A value of the dictionary may itself be null; its hash is right already.
        array = array.indices
    elif pa.types.is_struct(kind):
        hashes = _hash_together([hash_values(array.field(i), lanes) for i in range(kind.num_fields)], len(array), lanes)
    elif is_list(kind):
        hashes = _hash_lists(array, lanes)
    elif is_binary(kind):
        hashes = hash_runs(*binary_runs(array), lanes)
    elif width is not None:
        hashes = hash_runs(fixed_bytes(array, width), every(width, len(array)), lanes)
    else:
        raise NotImplementedError(f"rows with a column of type {kind} cannot be compared")
    if array.null_count:
        hashes = np.where(validity(array)[:, None], hashes, lanes[None, ::-1])
    return hashes


def _hash_lists(array: pa.Array, lanes: Words) -> Words:
    elements, offsets = list_runs(array)
    elements = simplify(elements)
    width = byte_width(elements.type)
    if width is None:
        return _hash_lists_of_hashes(elements, offsets, lanes)
    hashes: Words = hash_runs(fixed_bytes(elements, width), offsets * width, lanes)
    if not elements.null_count:
        return hashes
    # Each list decides for itself, or its hash would depend on what stands in the same chunk.
    nulls_before = np.concatenate([np.zeros(1, np.int64), np.cumsum(~validity(elements), dtype=np.int64)])
    has_nulls = nulls_before[offsets[1:]] > nulls_before[offsets[:-1]]
    return np.where(has_nulls[:, None], _hash_lists_of_hashes(elements, offsets, lanes), hashes)


def _hash_lists_of_hashes(elements: pa.Array, offsets: Offsets, lanes: Words) -> Words:
    inner = np.ascontiguousarray(hash_values(elements, lanes))
    hashes: Words = hash_runs(inner.view(np.uint8).reshape(-1), offsets * 16, lanes ^ np.uint64(1))
    return hashes


def _hash_together(parts: list[Words], rows: int, lanes: Words) -> Words:
    """One hash per row over its parts, in order. It mixes: sums alone would not see two rows swap a value."""
    side_by_side = np.ascontiguousarray(np.concatenate(parts, axis=1)) if parts else np.zeros((rows, 0), np.uint64)
    offsets = every(side_by_side.shape[1] * 8, rows)
    hashes: Words = hash_runs(side_by_side.view(np.uint8).reshape(-1), offsets, lanes ^ np.uint64(2))
    return hashes


def value_type(kind: pa.DataType) -> str:
    """The name of a type up to what is layout only: dictionaries, views and the width of offsets."""
    if isinstance(kind, pa.BaseExtensionType):
        return f"{kind.extension_name}<{value_type(kind.storage_type)}>"
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return value_type(kind.value_type)
    if is_binary(kind):
        return "string" if is_text(kind) else "binary"
    if pa.types.is_map(kind):
        return f"map<{value_type(kind.key_type)}, {value_type(kind.item_type)}>"
    if is_list(kind):
        return f"list<{value_type(kind.value_type)}>"
    if pa.types.is_struct(kind):
        return "struct<" + ", ".join(f"{field.name}: {value_type(field.type)}" for field in kind) + ">"
    return str(kind)


def read_batches(file: pq.ParquetFile) -> Iterator[pa.RecordBatch]:
    """Every row of `file`, decoded, in batches of about `BATCH_BYTES`."""
    metadata = file.metadata
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    widest = max((group.total_byte_size / max(group.num_rows, 1) for group in groups), default=1.0)
    yield from file.iter_batches(batch_size=int(min(max(BATCH_BYTES / max(widest, 1.0), 1), 65536)), use_threads=False)


def read_rows(path: Path) -> Rows:
    """The rows of a Parquet file. Raises InputError if it cannot be read."""
    try:
        file = pq.ParquetFile(path, memory_map=True, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{path.name} cannot be read as Parquet ({type(error).__name__}); take it out of the store"
        ) from error
    return Rows(schema_fingerprint(file), file.schema_arrow, read_batches(file))


def table_fingerprint(name: str, schema: pa.Schema) -> str:
    """`sha256:<hex>` over the columns of a table that is no file of its own."""
    told = "\n".join([name, *(_describe(field) for field in schema)])
    return "sha256:" + hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest()


def schema_fingerprint(file: pq.ParquetFile) -> str:
    """`sha256:<hex>` over what a reader of `file` is told: Parquet types, Arrow schema, field and file metadata."""
    columns = [file.schema.column(i) for i in range(len(file.schema))]
    told = [
        f"{one.path!r} {one.physical_type} {one.length} {one.logical_type} {one.converted_type}"
        f" {one.max_definition_level} {one.max_repetition_level}"
        for one in columns
    ]
    told += [f"{name!r}: {value!r}" for name, value in sorted((file.schema_arrow.metadata or {}).items())]
    told += [_describe(field) for field in file.schema_arrow]
    return "sha256:" + hashlib.sha256("\n".join(told).encode("utf-8", "surrogateescape")).hexdigest()


def _describe(field: pa.Field) -> str:
    kind = field.type
    inner = [_describe(kind.field(i)) for i in range(kind.num_fields)]
    notes = sorted((field.metadata or {}).items())
    return f"{field.name!r}: {kind} {'null' if field.nullable else 'not null'} {notes!r} [{', '.join(inner)}]"
