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
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from stores.thrift import FALSE, I32, LIST, Sequence, Struct, decode, encode

MAGIC = b"PAR1"
_TAIL = 8  # the length of the footer and the magic bytes

# FileMetaData
_VERSION, _SCHEMA, _ROW_GROUPS, _KEY_VALUES, _COLUMN_ORDERS = 1, 2, 4, 5, 7
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
_COLUMNS, _SORTING, _META, _PATH, _CHUNK_VALUES = 1, 4, 3, 3, 8
# FieldRepetitionType, Type
_REPEATED = 2
_INT96, _FLOAT, _DOUBLE, _BYTE_ARRAY, _FIXED = 3, 4, 5, 6, 7
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
    """One column of the file: dotted path, and whether it may have statistics.

    `ordered`: the bare order of the values is the one the annotation asks for. `opaque`: it may hold
    vectors, being bytes without a stated meaning (statistics would be two whole vectors) or floats in a list.
    """

    path: str
    ordered: bool
    opaque: bool


def read_footer(path: Path) -> bytes:
    """The footer of a Parquet file; raises ValueError when the file is cut, encrypted or no Parquet file."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(size - _TAIL, 0))
        tail = file.read()
        length = int.from_bytes(tail[:4], "little")
        if tail[4:] == b"PARE":
            raise ValueError("the footer is encrypted")
        if tail[4:] != MAGIC or not 0 < length <= size - _TAIL - len(MAGIC):
            raise ValueError("it does not end as a Parquet file ends: cut, still being written, or another format")
        file.seek(size - _TAIL - length)
        return file.read(length)


def parse_metadata(footer: bytes) -> pq.FileMetaData:
    """The metadata that the bytes of a footer hold."""
    return pq.read_metadata(pa.BufferReader(MAGIC + footer + len(footer).to_bytes(4, "little") + MAGIC))


def bare_metadata(footer: Struct) -> pq.FileMetaData:
    """The metadata to read the file by: physical types, no key/value metadata."""
    bare = decode(encode(footer))
    bare.drop(_KEY_VALUES)
    for element in bare.structs(_SCHEMA):
        _strip(element)
    types = [element.fields[_TYPE] for element in bare.structs(_SCHEMA) if _TYPE in element]
    for group in bare.structs(_ROW_GROUPS):
        for chunk, kind in zip(group.structs(_COLUMNS), types, strict=True):
            meta = chunk.struct(_META)
            if meta is not None:
                meta.fields[_TYPE] = kind
    return parse_metadata(encode(bare))


def leaves(footer: Struct) -> list[Leaf]:
    """The columns of the file in order."""
    elements = footer.structs(_SCHEMA)
    found: list[Leaf] = []

    def descend(at: int, above: tuple[str, ...], repeated: bool) -> int:
        element = elements[at]
        path = (*above, element.content(_NAME).decode("utf-8", "replace"))
        repeated |= element.integer(_REPETITION) == _REPEATED
        if _TYPE in element:
            found.append(Leaf(".".join(path), _is_ordered(element), _is_opaque(element, repeated)))
        at += 1
        for _ in range(element.integer(_CHILDREN) or 0):
            at = descend(at, path, repeated)
        return at

    at = 1
    while at < len(elements):
        at = descend(at, (), False)
    return found


def key_value_pairs(footer: Struct) -> Sequence | None:
    """The key/value metadata of the file, a list of structs of key (1) and value (2); None without any."""
    value = footer.fields[_KEY_VALUES][1] if _KEY_VALUES in footer else None
    return value if isinstance(value, Sequence) else None


def chunk_metadata_columns(footer: Struct) -> list[int]:
    """Numbers of the columns that carry key/value metadata of their own."""
    numbers = {
        number
        for group in footer.structs(_ROW_GROUPS)
        for number, chunk in enumerate(group.structs(_COLUMNS))
        if (meta := chunk.struct(_META)) is not None and _CHUNK_VALUES in meta
    }
    return sorted(numbers)


def transplant(path: Path, old: Struct, kept_groups: list[int], key_values: Sequence | None) -> None:
    """Give the new file at `path` the schema, orders and key/value metadata of the old footer.

    Row group i of the new file holds rows of row group `kept_groups[i]` of the old one.
    """
    content = read_footer(path)
    new = decode(content)
    for number in (_VERSION, _SCHEMA, _COLUMN_ORDERS):
        new.copy_field(number, old)
    new.drop(_KEY_VALUES)
    if key_values is not None and key_values.items:
        new.put(_KEY_VALUES, LIST, key_values)
    old_groups = old.structs(_ROW_GROUPS)
    for group, source in zip(new.structs(_ROW_GROUPS), (old_groups[i] for i in kept_groups), strict=True):
        group.copy_field(_SORTING, source)
        for chunk, old_chunk in zip(group.structs(_COLUMNS), source.structs(_COLUMNS), strict=True):
            meta, old_meta = chunk.struct(_META), old_chunk.struct(_META)
            if meta is not None and old_meta is not None:
                meta.copy_field(_TYPE, old_meta)
                meta.copy_field(_PATH, old_meta)
    changed = encode(new)
    with path.open("r+b") as file:
        file.seek(-(len(content) + _TAIL), os.SEEK_END)
        file.truncate()
        file.write(changed + len(changed).to_bytes(4, "little") + MAGIC)


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
