"""A Parquet file read and written at the level of its physical types, with its footer kept word for word.

A timestamp is an integer to us and a string is bytes: what is not interpreted cannot be changed. The file is
read through a *bare* footer, a copy without annotations and without `ARROW:schema`, so pyarrow makes no
dictionary arrays, no extension types and no casts. The surviving rows are written back the same way, and the
footer of the new file then gets the schema, the column orders and the sorting columns of the old one.
Values, types, field ids and annotations of any writer thus stay as they were, also those that pyarrow cannot
express (INT96, two-level lists, JSON, INTERVAL).

Annotations that decide the order of values stay in the bare footer, or the column gets no statistics:
unsigned integers, Float16 and decimals in fixed-length bytes. Field numbers: parquet.thrift of the Parquet
format 2.12.
"""

import os
from collections.abc import Container
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from stores.parquet_schema import CHILDREN, SCHEMA, TYPE, end_of_field, leaves, strip, to_bits
from stores.thrift import I32, LIST, STRUCT, Sequence, Struct, Value, decode, encode

MAGIC = b"PAR1"
FOOTER_TAIL = 8  # the length of the footer and the magic bytes

# FileMetaData
_ROW_GROUPS, _KEY_VALUES, _COLUMN_ORDERS, _ENCRYPTION = 4, 5, 7, 8
# RowGroup, ColumnChunk, ColumnMetaData
_COLUMNS, _SORTING, _META, _META_TYPE, _STATISTICS = 1, 4, 3, 1, 12


def read_footer(path: Path) -> bytes:
    """The footer of a Parquet file; raises ValueError when the file is cut, encrypted or no Parquet file."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(size - FOOTER_TAIL, 0))
        tail = file.read()
        length = int.from_bytes(tail[:4], "little")
        if tail[4:] == b"PARE":
            raise ValueError("the footer is encrypted")
        if tail[4:] != MAGIC or not 0 < length <= size - FOOTER_TAIL - len(MAGIC):
            raise ValueError("it does not end as a Parquet file ends: cut, still being written, or another format")
        file.seek(size - FOOTER_TAIL - length)
        return file.read(length)


def parse_metadata(footer: bytes) -> pq.FileMetaData:
    """The metadata that the bytes of a footer hold."""
    return pq.read_metadata(pa.BufferReader(MAGIC + footer + len(footer).to_bytes(4, "little") + MAGIC))


def bare_metadata(footer: Struct, roots: Container[int] | None = None, bits: bool = False) -> pq.FileMetaData:
    """The metadata to read the file by: physical types, no key/value metadata, of all or some top-level fields.

    With `bits`, floating-point numbers are read as the integers of the same bits, so that equal means the same.
    """
    bare = decode(encode(footer))
    bare.drop(_KEY_VALUES)
    if roots is not None:
        _project(bare, roots)
    for element in bare.structs(SCHEMA):
        strip(element)
        if bits:
            to_bits(element)
    types = [element.fields[TYPE] for element in bare.structs(SCHEMA) if TYPE in element]
    for group in bare.structs(_ROW_GROUPS):
        for chunk, kind in zip(group.structs(_COLUMNS), types, strict=True):
            meta = chunk.struct(_META)
            if meta is not None:
                meta.fields[_META_TYPE] = kind
                if bits:
                    meta.drop(_STATISTICS)
    return parse_metadata(encode(bare))


def _project(footer: Struct, roots: Container[int]) -> None:
    """Leave only these top-level fields in a footer, and their columns."""
    columns = [leaf.root in roots for leaf in leaves(footer)]
    elements = footer.structs(SCHEMA)
    kept: list[Value] = [elements[0]]
    at, fields = 1, 0
    for root in range(elements[0].integer(CHILDREN) or 0):
        stop = end_of_field(elements, at)
        if root in roots:
            kept += elements[at:stop]
            fields += 1
        at = stop
    elements[0].put(CHILDREN, I32, fields)
    footer.put(SCHEMA, LIST, Sequence(STRUCT, kept))
    orders = footer.structs(_COLUMN_ORDERS)
    if orders:
        wanted = [order for order, stays in zip(orders, columns, strict=True) if stays]
        footer.put(_COLUMN_ORDERS, LIST, Sequence(STRUCT, [*wanted]))
    for group in footer.structs(_ROW_GROUPS):
        group.drop(_SORTING)
        chunks = [chunk for chunk, stays in zip(group.structs(_COLUMNS), columns, strict=True) if stays]
        group.put(_COLUMNS, LIST, Sequence(STRUCT, [*chunks]))


def key_value_pairs(footer: Struct) -> Sequence | None:
    """The key/value metadata of the file, a list of structs of key (1) and value (2); None without any."""
    value = footer.fields[_KEY_VALUES][1] if _KEY_VALUES in footer else None
    return value if isinstance(value, Sequence) else None


def is_encrypted(footer: Struct) -> bool:
    """Whether columns of a file with a readable footer are encrypted."""
    return _ENCRYPTION in footer
