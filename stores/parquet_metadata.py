"""Key/value metadata of a Parquet file, without the pairs that hold a purged id."""

import base64
import binascii
import functools
import json

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stores.keys import KeySet, Mask
from stores.thrift import Sequence, Struct

_WHOLE_WORD_BELOW = 8
"""Shorter ids count only as whole words: `12` is in `stop 12`, not in `512` nor in `sha1:9f12`."""

_WINDOWS_AT_ONCE = 1 << 24  # bytes
_LONGEST_WINDOW = 1024

_ARROW_SCHEMA = b"ARROW:schema"
_FIELD_ID = b"PARQUET:field_id"
_PANDAS_STRUCTURE = ("columns", "index_columns", "column_indexes", "creator", "pandas_version")
"""What pandas says of columns, index and versions: it repeats the schema, and its bare numbers are no ids."""


def clean_pairs(pairs: Sequence | None, keys: KeySet) -> tuple[Sequence | None, list[str]]:
    """The pairs of a footer to keep, and the names of those that go because a purged id is in them."""
    if pairs is None:
        return None, []
    kept: list[Struct] = []
    dropped: list[str] = []
    for pair in (item for item in pairs.items if isinstance(item, Struct)):
        name, value = pair.content(1), pair.content(2)
        if name == _ARROW_SCHEMA:
            cleaned, within = _clean_arrow_schema(value, keys)
            dropped += within
            if cleaned is None:
                continue
            if cleaned != value:
                pair = Struct(pair.fields | {2: (pair.fields[2][0], cleaned)})
        elif _is_tainted(name, value, keys):
            dropped.append(_shown(name, keys))
            continue
        kept.append(pair)
    return Sequence(pairs.kind, list(kept)), dropped


def _is_tainted(name: bytes, value: bytes, keys: KeySet) -> bool:
    return holds_key(name, keys) or holds_key(_pandas_freight(value) if name == b"pandas" else value, keys)


def _shown(name: bytes, keys: KeySet) -> str:
    return "a pair whose key held an id" if holds_key(name, keys) else name.decode("utf-8", "replace")


def _pandas_freight(value: bytes) -> bytes:
    """The part of pandas' metadata that is the user's own, `DataFrame.attrs` above all."""
    try:
        record = json.loads(value)
    except ValueError:
        return value
    if not isinstance(record, dict):
        return value
    own = {name: part for name, part in record.items() if name not in _PANDAS_STRUCTURE}
    return json.dumps(own, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _clean_arrow_schema(value: bytes, keys: KeySet) -> tuple[bytes | None, list[str]]:
    """The Arrow schema pyarrow hides in the footer: it repeats the metadata, of the file and of every field."""
    try:
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(value)))
    except (binascii.Error, pa.ArrowInvalid, OSError):
        return (None, ["ARROW:schema"]) if holds_key(value, keys) else (value, [])
    if any(_tainted_names(child, keys) for field in schema for child in _below(field.type)):
        return None, ["ARROW:schema"]
    tainted = _tainted_pairs(schema.metadata, keys)
    dropped = [f"ARROW:schema {_shown(name, keys)}" for name in tainted]
    fields = []
    for field in schema:
        names = _tainted_names(field, keys)
        dropped += [f"ARROW:schema {_shown(name, keys)} of a field" for name in names]
        fields.append(field.with_metadata(_without(field.metadata, names)) if names else field)
    if not dropped:
        return value, []
    cleaned = pa.schema(fields, _without(schema.metadata, tainted))
    return base64.b64encode(cleaned.serialize().to_pybytes()), dropped


def _below(kind: pa.DataType) -> list[pa.Field]:
    """All fields nested in a type."""
    if pa.types.is_dictionary(kind):
        return _below(kind.value_type)
    children = [kind.field(i) for i in range(kind.num_fields)]
    return [field for child in children for field in (child, *_below(child.type))]


def _tainted_names(field: pa.Field, keys: KeySet) -> list[bytes]:
    return _tainted_pairs(field.metadata, keys)


def _tainted_pairs(metadata: dict[bytes, bytes] | None, keys: KeySet) -> list[bytes]:
    pairs = (metadata or {}).items()
    return [name for name, value in pairs if name != _FIELD_ID and _is_tainted(name, value, keys)]


def _without(metadata: dict[bytes, bytes] | None, names: list[bytes]) -> dict[bytes, bytes]:
    return {name: value for name, value in (metadata or {}).items() if name not in names}


@functools.lru_cache(maxsize=256)
def holds_key(text: bytes, keys: KeySet) -> bool:
    """Whether any id of the set occurs in `text`, byte for byte; the files of a store mostly share their metadata."""
    short = [int(length) for length in keys.lengths if 0 < length <= min(len(text), _LONGEST_WINDOW)]
    if any(_holds_length(text, length, keys) for length in short):
        return True
    return any(key in text for key in keys.longer_than(_LONGEST_WINDOW))


def _holds_length(text: bytes, length: int, keys: KeySet) -> bool:
    content = np.frombuffer(text, np.uint8)
    starts = np.arange(len(content) - length + 1)
    if length < _WHOLE_WORD_BELOW:
        letters = _is_alphanumeric(content)
        edges = np.concatenate(([False], letters, [False]))
        starts = starts[~edges[starts] & ~edges[starts + length + 1]]
    windows = np.lib.stride_tricks.sliding_window_view(content, length)
    step = max(_WINDOWS_AT_ONCE // length, 1)
    for at in range(0, len(starts), step):
        some = np.ascontiguousarray(windows[starts[at : at + step]])
        buffers = [None, pa.py_buffer(some)]
        if keys.contains(pa.Array.from_buffers(pa.binary(length), len(some), buffers)).any():
            return True
    return False


def _is_alphanumeric(content: npt.NDArray[np.uint8]) -> Mask:
    table: Mask = np.zeros(256, bool)
    table[[*b"0123456789", *range(ord("a"), ord("z") + 1), *range(ord("A"), ord("Z") + 1)]] = True
    table[128:] = True  # parts of letters beyond ASCII
    found: Mask = table[content]
    return found
