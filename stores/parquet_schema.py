"""The columns of a Parquet file and their annotations. Field numbers: parquet.thrift of the Parquet format 2.12."""

from dataclasses import dataclass

from stores.thrift import FALSE, I32, Struct

# FileMetaData
SCHEMA = 2
# SchemaElement
TYPE, _LENGTH, _REPETITION, _NAME, CHILDREN, _CONVERTED, _SCALE, _PRECISION, _LOGICAL = (
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


def leaves(footer: Struct) -> list[Leaf]:
    """The columns of the file in order."""
    elements = footer.structs(SCHEMA)
    found: list[Leaf] = []

    def descend(at: int, root: int, above: tuple[str, ...], repetition: int, definition: int) -> int:
        element = elements[at]
        path = (*above, element.content(_NAME).decode("utf-8", "replace"))
        kind = element.integer(_REPETITION)
        repetition += kind == _REPEATED
        definition += kind in (_OPTIONAL, _REPEATED)
        if TYPE in element:
            width = _WIDTHS.get(element.integer(TYPE) or 0, element.integer(_LENGTH) or 0)
            ordered, opaque = _is_ordered(element), _is_opaque(element, repetition > 0)
            found.append(Leaf(".".join(path), root, width, repetition, definition, ordered, opaque))
        at += 1
        for _ in range(element.integer(CHILDREN) or 0):
            at = descend(at, root, path, repetition, definition)
        return at

    at, root = 1, 0
    while at < len(elements):
        at, root = descend(at, root, (), 0, 0), root + 1
    return found


def end_of_field(elements: list[Struct], at: int) -> int:
    """Where the subtree of the schema that begins at `at` ends."""
    children = elements[at].integer(CHILDREN) or 0
    at += 1
    for _ in range(children):
        at = end_of_field(elements, at)
    return at


def strip(element: Struct) -> None:
    """Take the annotations off a schema element, except those that pyarrow needs to order or to nest its values."""
    if TYPE not in element:
        is_list = element.integer(_REPETITION) != _REPEATED and _is_nesting(element)
        element.drop(_CONVERTED, _LOGICAL)
        if is_list:
            element.put(_CONVERTED, I32, _OLD_LIST)
    elif element.integer(TYPE) == _INT96:
        element.put(TYPE, I32, _FIXED)
        element.put(_LENGTH, I32, 12)
        element.drop(_CONVERTED, _LOGICAL)
    elif not (_is_unsigned(element) or _is_float16(element) or _is_tight_decimal(element)):
        element.drop(_CONVERTED, _LOGICAL, _SCALE, _PRECISION)


def to_bits(element: Struct) -> None:
    """Make an integer of the same bits of a floating-point column, and take all annotations off."""
    if TYPE in element:
        kind = element.integer(TYPE) or 0
        element.drop(_CONVERTED, _LOGICAL, _SCALE, _PRECISION)
        element.put(TYPE, I32, _BITS.get(kind, kind))


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
    if element.integer(TYPE) != _FIXED or element.integer(_CONVERTED) != _OLD_DECIMAL:
        return False
    largest: int = 10 ** (element.integer(_PRECISION) or 0) - 1
    return element.integer(_LENGTH) == (largest.bit_length() + 8) // 8


def _is_ordered(element: Struct) -> bool:
    kind = element.integer(TYPE)
    if kind == _INT96:
        return False
    if kind not in (_BYTE_ARRAY, _FIXED) or not _is_annotated(element):
        return True
    if _is_float16(element) or _is_tight_decimal(element):
        return True
    as_bytes = _annotation(element) in (_STRING, _ENUM, _JSON, _BSON, _UUID)
    return as_bytes or element.integer(_CONVERTED) in (_OLD_UTF8, _OLD_ENUM, _OLD_JSON, _OLD_BSON)


def _is_opaque(element: Struct, repeated: bool) -> bool:
    if element.integer(TYPE) in (_BYTE_ARRAY, _FIXED) and not _is_annotated(element):
        return True
    return repeated and (element.integer(TYPE) in (_FLOAT, _DOUBLE) or _is_float16(element))


def _is_annotated(element: Struct) -> bool:
    return _CONVERTED in element or _LOGICAL in element
