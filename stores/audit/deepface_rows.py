"""Rows of DeepFace's `embeddings`, as the verifier compares and searches them.

A crop of a face is compared by its SHA-256 and not sought by its pixels: 32 bytes are less than three pixels, and a
few pixels are alike in the pictures of many. That no row, hash or vector is left of it is what is sought, and that no
page without an owner is. The two hashes name the crop and the vector as surely as an id does, so both are sought.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

AT_ONCE = 64
"""Rows read at once: a face crop is about 300 kB."""

HASHES = ("face_hash", "embedding_hash")
"""Columns of 64 hexadecimal digits."""

PICTURE = pa.large_string()
"""Marks the column of crops, which come as bytes."""


def to_batch(schema: pa.Schema, rows: Sequence[Sequence[Any]]) -> pa.RecordBatch:
    """Rows of a database; vectors come as sequences of floats, or as the bytes of little-endian doubles."""
    return pa.RecordBatch.from_arrays(
        [pa.array([_as(field.type, row[place]) for row in rows], field.type) for place, field in enumerate(schema)],
        schema=schema,
    )


def _as(kind: pa.DataType, value: object) -> object:
    if value is None:
        return None
    if kind == PICTURE and isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    if pa.types.is_string(kind):
        return str(value)
    if pa.types.is_list(kind) and isinstance(value, bytes):
        return np.frombuffer(value, "<f8")
    return value


def hashes(batch: pa.RecordBatch) -> list[pa.Array]:
    """The hashes of these rows, as the bytes in which a database keeps them."""
    columns = [batch.column(name).drop_null() for name in HASHES if name in batch.schema.names]
    whole = [column.filter(pc.equal(pc.binary_length(column), 64)) for column in columns]
    return [column.cast(pa.binary()).cast(pa.binary(64)) for column in whole]
