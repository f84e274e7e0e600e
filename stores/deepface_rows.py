"""Rows of DeepFace's `embeddings` as Arrow, typed as the verifier types them, so that both can be compared.

The face crop is given as its SHA-256: it is compared with every other value, but a gigabyte of pixels need not be held.
"""

import enum
import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.errors import InputError
from stores.keys import KeySet

TABLE, INDEX = "embeddings", "embeddings_index"
"""DeepFace's table of rows, and of the indexes over them."""
NEEDED = ("id", "img_name", "face", "model_name", "detector_backend", "embedding", "face_hash", "embedding_hash")
"""What DeepFace's tables of embeddings all have."""
AT_ONCE = 64
"""Rows read at once: a face crop is about 300 kB."""
KEYS_AT_ONCE = 65536
"""Rows read at once, of two columns."""


class Kind(enum.Enum):
    """What a column holds, and the Arrow type it gets."""

    INTEGER = pa.int64()
    BOOLEAN = pa.bool_()
    TEXT = pa.string()
    DOUBLES = pa.list_(pa.float64())
    FLOATS = pa.list_(pa.float32())
    PICTURE = pa.large_string()


class Column(NamedTuple):
    """One column of a table of embeddings."""

    name: str
    kind: Kind


def to_batch(columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> pa.RecordBatch:
    """Rows as a database gives them; vectors are sequences of floats, or their little-endian bytes."""
    arrays = [
        pa.array([_value(row[place], column.kind) for row in rows], column.kind.value)
        for place, column in enumerate(columns)
    ]
    return pa.RecordBatch.from_arrays(arrays, names=[column.name for column in columns])


def _value(value: object, kind: Kind) -> object:
    if value is None:
        return None
    if kind is Kind.PICTURE and isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    if kind is Kind.DOUBLES and isinstance(value, bytes):
        return np.frombuffer(value, "<f8")
    if kind is Kind.TEXT and not isinstance(value, str):
        return str(value)
    return value


def missing(names: Iterable[str]) -> list[str]:
    """Which columns of DeepFace's a table has not."""
    present = set(names)
    return [name for name in NEEDED if name not in present]


def refuse_unknown_key(table: str, key: str, names: Iterable[str]) -> None:
    """Raise InputError unless `key`, which names a face, is one of the columns of the table."""
    present = list(names)
    if key not in present:
        raise InputError(
            f"DeepFace's table {table} has no column {key!r}, it has {', '.join(present)};"
            ' write key = "img_name" or key = "id"'
        )


def find_ids(blocks: Iterable[Sequence[tuple[Any, ...]]], keys: KeySet) -> npt.NDArray[np.int64]:
    """The ids of listed rows; blocks of rows come as `(id, key)`, and none is empty."""
    found = [np.zeros(0, np.int64)]
    for rows in blocks:
        ids, names = zip(*rows, strict=True)
        found.append(np.array(ids, np.int64)[keys.contains(pa.array(names))])
    return np.concatenate(found)
