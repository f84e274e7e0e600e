"""Avro files, such as Iceberg's manifests: their blocks unpacked and every value in them by itself.

Texts stand behind a length that may look like a letter, and blocks are compressed, so that a search of the bytes alone
finds nobody. Source: https://avro.apache.org/docs/1.11.1/specification/#object-container-files
"""

import bz2
import io
import json
import lzma
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from fastavro import parse_schema, schemaless_reader

from stores.audit.arrays import binary_runs
from stores.audit.pages import Place
from stores.audit.scan import scan
from stores.audit.siphash import Bytes

if TYPE_CHECKING:
    from stores.audit.examine import Examination

MAGIC = b"Obj\x01"
_SYNC = 16
_REMOVED = 2
_BOUNDS = ("lower_bounds", "upper_bounds")
_INTEGERS = {"int": 4, "long": 8}
_UNREADABLE = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    EOFError,
    OSError,
    zlib.error,
    lzma.LZMAError,
    pa.ArrowException,
)


class _Key(NamedTuple):
    """The key column of an Iceberg table: the number of its field and its type."""

    number: int
    type: str


def examine(data: Bytes, into: "Examination") -> None:
    """Search every block and every value."""
    try:
        _examine(io.BytesIO(bytes(data)), into)
    except _UNREADABLE as error:
        into.problems.append(f"it looks like Avro and cannot be read to its end ({type(error).__name__})")


def _examine(file: io.BytesIO, into: "Examination") -> None:
    file.seek(len(MAGIC))
    header: Any = schemaless_reader(file, {"type": "map", "values": "bytes"}, None)
    schema = parse_schema(json.loads(header["avro.schema"]))
    codec = header.get("avro.codec", b"null").decode()
    key = _key_field(header.get("schema"), into.key_column)
    file.seek(_SYNC, io.SEEK_CUR)
    removed = 0
    values = [value for value in header.values()]
    while count := _count(file):
        size: Any = schemaless_reader(file, "long", None)
        block = _unpack(file.read(size), codec)
        file.seek(_SYNC, io.SEEK_CUR)
        into.add(scan(np.frombuffer(block, np.uint8), into.tables), Place("Avro blocks"))
        records = io.BytesIO(block)
        for _ in range(count):
            record: Any = schemaless_reader(records, schema, None)
            values += _leaves(record, key)
            removed += record.get("status") == _REMOVED if isinstance(record, dict) else 0
    into.scan_texts(binary_runs(pa.array(values, pa.large_binary())), Place("Avro values"))
    if removed:
        # Bounds are cut to 16 characters by default, so not finding an id in them says little.
        into.problems.append(f"it tells of {removed} removed files, with the bounds of what was in them")


def _count(file: io.BytesIO) -> int:
    """How many records the next block has; 0 at the end."""
    if not file.read(1):
        return 0
    file.seek(-1, io.SEEK_CUR)
    count: Any = schemaless_reader(file, "long", None)
    return int(count)


def _unpack(block: bytes, codec: str) -> bytes:
    match codec:
        case "null":
            return block
        case "deflate":
            return zlib.decompress(block, -zlib.MAX_WBITS)
        case "snappy":
            packed = block[:-4]  # a CRC-32 follows
            content: bytes = pa.Codec("snappy").decompress(packed, _snappy_size(packed), asbytes=True)
            return content
        case "zstandard":
            with pa.CompressedInputStream(pa.BufferReader(block), "zstd") as stream:
                content = stream.read()
            return content
        case "bzip2":
            return bz2.decompress(block)
        case "xz":
            return lzma.decompress(block)
        case _:
            raise ValueError(codec)


def _snappy_size(packed: bytes) -> int:
    """The size that a Snappy block opens with, seven bits a byte."""
    size = 0
    for place, byte in enumerate(packed[:5]):
        size |= (byte & 127) << (7 * place)
        if byte < 128:
            return size
    raise ValueError("no size")


def _key_field(schema: bytes | None, key_column: str | None) -> _Key | None:
    """The key column in the schema that an Iceberg manifest carries."""
    if schema is None or key_column is None:
        return None
    for field in json.loads(schema).get("fields", ()):
        if field["name"] == key_column and isinstance(field["type"], str):
            return _Key(field["id"], field["type"])
    return None


def _leaves(value: object, key: _Key | None) -> Iterator[bytes]:
    """Every text and byte string below `value`; bounds of an integer key as the text that ids are listed as."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in _BOUNDS and key is not None and key.type in _INTEGERS:
                yield from _numbers(inner, key)
            yield from _leaves(inner, key)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _leaves(inner, key)
    elif isinstance(value, str):
        yield value.encode("utf-8", "surrogatepass")
    elif isinstance(value, bytes):
        yield value


def _numbers(bounds: Any, key: _Key) -> Iterator[bytes]:  # noqa: ANN401
    """Iceberg writes integers in little-endian order."""
    for bound in bounds or ():
        if bound["key"] == key.number and len(bound["value"]) == _INTEGERS[key.type]:
            yield str(int.from_bytes(bound["value"], "little", signed=True)).encode()
