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
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from stores.thrift import FALSE, I32, LIST, STRUCT, Sequence, Struct, Value, decode, encode

MAGIC = b"PAR1"
FOOTER_TAIL = 8  # the length of the footer and the magic bytes

# FileMetaData
_SCHEMA, _ROW_GROUPS, _KEY_VALUES, _COLUMN_ORDERS, _ENCRYPTION = 2, 4, 5, 7, 8
# SchemaElement
_TYPE, _LENGTH, _REPETITION, _NAME, _CHILDREN, _CONVERTED, _SCALE, _PRECISION, _LOGICAL = (
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    10,
)
# RowGroup, ColumnChunk, ColumnMetaData
_COLUMNS, _SORTING, _META, _STATISTICS = 1, 4, 3, 12
# FieldRepetitionType, Type
_OPTIONAL, _REPEATED = 1, 2
_BOOLEAN, _INT32, _INT64 = 0, 1, 2
_INT96, _FLOAT, _DOUBLE, _BYTE_ARRAY, _FIXED = 3, 4, 5, 6, 7
_BITS = {_FLOAT: _INT32, _DOUBLE: _INT64}
_WIDTHS = {_BOOLEAN: 0, _INT32: 4, _INT64: 8, _INT96: 12, _FLOAT: 4, _DOUBLE: 8, _BYTE_ARRAY: 0}
# ConvertedType
_OLD_UTF8, _OLD_MAP, _OLD_MAP_KEY_VALUE, _OLD_LIST, _OLD_ENUM, _OLD_DECIMAL, _OLD_JSON, _OLD_BSON = (
    0,
    1,
    2,
    3,
    4,
    5,
    19,
    20,
)
_OLD_UNSIGNED = range(11, 15)
# LogicalType, a union: the number of the one field it has
_STRING, _MAP, _LIST, _ENUM, _INTEGER, _JSON, _BSON, _UUID, _FLOAT16 = 1, 2, 3, 4, 10, 12, 13, 14, 15


@dataclass(frozen=True)
class Leaf:
    """One column of the file: dotted path, how it is stored, and whether it may have statistics.

    `root`: number of the top-level field it is part of. `width`: bytes of one value, 0 if they differ.
    `repetition`, `definition`: its highest levels. `ordered`: the bare order of the values is the one the
    annotation asks for. `opaque`: it may hold vectors, being bytes without a stated meaning (statistics would be
    two whole vectors) or floats in a list.
    """

    path: str
    root: int
    width: int
    repetition: int
    definition: int
    ordered: bool
    opaque: bool


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
    for element in bare.structs(_SCHEMA):
        _strip(element)
        if bits and _TYPE in element:
            element.drop(_CONVERTED, _LOGICAL, _SCALE, _PRECISION)
            element.put(_TYPE, I32, _BITS.get(element.integer(_TYPE) or 0, element.integer(_TYPE) or 0))
    types = [element.fields[_TYPE] for element in bare.structs(_SCHEMA) if _TYPE in element]
    for group in bare.structs(_ROW_GROUPS):
        for chunk, kind in zip(group.structs(_COLUMNS), types, strict=True):
            meta = chunk.struct(_META)
            if meta is not None:
                meta.fields[_TYPE] = kind
                if bits:
                    meta.drop(_STATISTICS)
    return parse_metadata(encode(bare))


def _project(footer: Struct, roots: Container[int]) -> None:
    """Leave only these top-level fields in a footer, and their columns."""
    columns = [leaf.root in roots for leaf in leaves(footer)]
    elements = footer.structs(_SCHEMA)
    kept: list[Value] = [elements[0]]
    at, fields = 1, 0
    for root in range(elements[0].integer(_CHILDREN) or 0):
        stop = _end_of(elements, at)
        if root in roots:
            kept += elements[at:stop]
            fields += 1
        at = stop
    elements[0].put(_CHILDREN, I32, fields)
    footer.put(_SCHEMA, LIST, Sequence(STRUCT, kept))
    orders = footer.structs(_COLUMN_ORDERS)
    if orders:
        wanted = [order for order, stays in zip(orders, columns, strict=True) if stays]
        footer.put(_COLUMN_ORDERS, LIST, Sequence(STRUCT, [*wanted]))
    for group in footer.structs(_ROW_GROUPS):
        group.drop(_SORTING)
        chunks = [chunk for chunk, stays in zip(group.structs(_COLUMNS), columns, strict=True) if stays]
        group.put(_COLUMNS, LIST, Sequence(STRUCT, [*chunks]))


def _end_of(elements: list[Struct], at: int) -> int:
    """Where the subtree of the schema that begins at `at` ends."""
    children = elements[at].integer(_CHILDREN) or 0
    at += 1
    for _ in range(children):
        at = _end_of(elements, at)
    return at


def leaves(footer: Struct) -> list[Leaf]:
    """The columns of the file in order."""
    elements = footer.structs(_SCHEMA)
    found: list[Leaf] = []

    def descend(at: int, root: int, above: tuple[str, ...], repetition: int, definition: int) -> int:
        element = elements[at]
        path = (*above, element.content(_NAME).decode("utf-8", "replace"))
        kind = element.integer(_REPETITION)
        repetition += kind == _REPEATED
        definition += kind in (_OPTIONAL, _REPEATED)
        if _TYPE in element:
            width = _WIDTHS.get(element.integer(_TYPE) or 0, element.integer(_LENGTH) or 0)
            ordered, opaque = _is_ordered(element), _is_opaque(element, repetition > 0)
            found.append(Leaf(".".join(path), root, width, repetition, definition, ordered, opaque))
        at += 1
        for _ in range(element.integer(_CHILDREN) or 0):
            at = descend(at, root, path, repetition, definition)
        return at

    at, root = 1, 0
    while at < len(elements):
        at, root = descend(at, root, (), 0, 0), root + 1
    return found


def key_value_pairs(footer: Struct) -> Sequence | None:
    """The key/value metadata of the file, a list of structs of key (1) and value (2); None without any."""
    value = footer.fields[_KEY_VALUES][1] if _KEY_VALUES in footer else None
    return value if isinstance(value, Sequence) else None


def is_encrypted(footer: Struct) -> bool:
    """Whether columns of a file with a readable footer are encrypted."""
    return _ENCRYPTION in footer


def _strip(element: Struct) -> None:
    """Take the annotations off a schema element, except those that pyarrow needs to order or to nest its values."""
    if _TYPE not in element:
        is_list = element.integer(_REPETITION) != _REPEATED and _is_nesting(element)
        element.drop(_CONVERTED, _LOGICAL)
        if is_list:
            element.put(_CONVERTED, I32, _OLD_LIST)
    elif element.integer(_TYPE) == _INT96:
        element.put(_TYPE, I32, _FIXED)
        element.put(_LENGTH, I32, 12)
        element.drop(_CONVERTED, _LOGICAL)
    elif not (_is_unsigned(element) or _is_float16(element) or _is_tight_decimal(element)):
        element.drop(_CONVERTED, _LOGICAL, _SCALE, _PRECISION)


def _annotation(element: Struct) -> int | None:
    """The number of the logical type; None without one, or when only a converted type is given."""
    union = element.struct(_LOGICAL)
    return next(iter(union.fields), None) if union is not None else None


def _is_nesting(element: Struct) -> bool:
    # A map read as a list of its entries has the same levels, and may have null keys, which pyarrow's map may not.
    converted = element.integer(_CONVERTED)
    return converted in (_OLD_MAP, _OLD_MAP_KEY_VALUE, _OLD_LIST) or _annotation(element) in (_MAP, _LIST)


def _is_unsigned(element: Struct) -> bool:
    if _annotation(element) == _INTEGER:
        union = element.struct(_LOGICAL)
        integer = union.struct(_INTEGER) if union is not None else None
        return integer is not None and integer.fields.get(2, (0, 0))[0] == FALSE
    return element.integer(_CONVERTED) in _OLD_UNSIGNED


def _is_float16(element: Struct) -> bool:
    return _annotation(element) == _FLOAT16


def _is_tight_decimal(element: Struct) -> bool:
    """A decimal in as few fixed-length bytes as its precision takes, which is how pyarrow writes it back."""
    if element.integer(_TYPE) != _FIXED or element.integer(_CONVERTED) != _OLD_DECIMAL:
        return False
    largest: int = 10 ** (element.integer(_PRECISION) or 0) - 1
    return element.integer(_LENGTH) == (largest.bit_length() + 8) // 8


def _is_ordered(element: Struct) -> bool:
    kind = element.integer(_TYPE)
    if kind == _INT96:
        return False
    if kind not in (_BYTE_ARRAY, _FIXED) or not _is_annotated(element):
        return True
    if _is_float16(element) or _is_tight_decimal(element):
        return True
    as_bytes = _annotation(element) in (_STRING, _ENUM, _JSON, _BSON, _UUID)
    return as_bytes or element.integer(_CONVERTED) in (_OLD_UTF8, _OLD_ENUM, _OLD_JSON, _OLD_BSON)


def _is_opaque(element: Struct, repeated: bool) -> bool:
    if element.integer(_TYPE) in (_BYTE_ARRAY, _FIXED) and not _is_annotated(element):
        return True
    return repeated and (element.integer(_TYPE) in (_FLOAT, _DOUBLE) or _is_float16(element))


def _is_annotated(element: Struct) -> bool:
    return _CONVERTED in element or _LOGICAL in element
