"""The Thrift compact protocol as a plain tree: a Parquet footer can be changed in one place and kept elsewhere.

A generated codec (thriftpy2, parquet.thrift) drops the fields it does not know; a footer written by a newer
program would lose them. This one knows no schema: every field it reads, it writes back.
Format: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

import struct
from dataclasses import dataclass, field
from typing import TypeAlias

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)

Value: TypeAlias = "bool | int | float | bytes | Sequence | Mapping | Struct"


@dataclass
class Sequence:
    """A list or set: the wire type of its items, and the items."""

    kind: int
    items: list[Value]


@dataclass
class Mapping:
    """A map: the wire types of keys and values, and its pairs in the order written."""

    key_kind: int
    value_kind: int
    pairs: list[tuple[Value, Value]]


@dataclass
class Struct:
    """A struct: field id to (wire type, value)."""

    fields: dict[int, tuple[int, Value]] = field(default_factory=dict)

    def __contains__(self, number: int) -> bool:
        return number in self.fields

    def integer(self, number: int) -> int | None:
        """The integer in a field; None when the field is absent."""
        value = self.fields[number][1] if number in self.fields else None
        return value if isinstance(value, int) else None

    def content(self, number: int) -> bytes:
        """The bytes in a field; empty when the field is absent."""
        value = self.fields[number][1] if number in self.fields else b""
        return value if isinstance(value, bytes) else b""

    def struct(self, number: int) -> "Struct | None":
        """The struct in a field; None when the field is absent."""
        value = self.fields[number][1] if number in self.fields else None
        return value if isinstance(value, Struct) else None

    def structs(self, number: int) -> "list[Struct]":
        """The structs of the list in a field; empty when the field is absent."""
        value = self.fields[number][1] if number in self.fields else None
        return [item for item in value.items if isinstance(item, Struct)] if isinstance(value, Sequence) else []

    def put(self, number: int, kind: int, value: Value) -> None:
        """Set a field."""
        self.fields[number] = (kind, value)

    def drop(self, *numbers: int) -> None:
        """Remove fields, present or not."""
        for number in numbers:
            self.fields.pop(number, None)

    def copy_field(self, number: int, source: "Struct") -> None:
        """Make a field what it is in `source`, absent included."""
        self.drop(number)
        if number in source:
            self.fields[number] = source.fields[number]


def decode(content: bytes) -> Struct:
    """Read the struct that `content` begins with; raises ValueError when it is cut or malformed."""
    return decode_prefix(content)[0]


def decode_prefix(content: bytes) -> tuple[Struct, int]:
    """Read the struct that `content` begins with, and how many bytes it takes; raises ValueError like `decode`."""
    reader = _Reader(content)
    try:
        return reader.struct(), reader.at
    except (IndexError, struct.error, RecursionError) as error:
        raise ValueError("the Thrift structure is cut or malformed") from error


def encode(tree: Struct) -> bytes:
    """Write `tree`, fields in ascending order."""
    out = bytearray()
    _write_struct(out, tree)
    return bytes(out)


class _Reader:
    def __init__(self, content: bytes) -> None:
        self.content = content
        self.at = 0

    def byte(self) -> int:
        value = self.content[self.at]
        self.at += 1
        return value

    def take(self, size: int) -> bytes:
        value = self.content[self.at : self.at + size]
        if len(value) != size:
            raise IndexError(size)
        self.at += size
        return value

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def zigzag(self) -> int:
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def struct(self) -> Struct:
        tree, number = Struct(), 0
        while header := self.byte():
            kind, step = header & 15, header >> 4
            number = number + step if step else self.zigzag()
            tree.fields[number] = (kind, kind == TRUE) if kind in (TRUE, FALSE) else (kind, self.value(kind))
        return tree

    def value(self, kind: int) -> Value:
        if kind in (I16, I32, I64):
            return self.zigzag()
        if kind == BINARY:
            return self.take(self.varint())
        if kind == STRUCT:
            return self.struct()
        if kind in (LIST, SET):
            header = self.byte()
            size = header >> 4 if header >> 4 != 15 else self.varint()
            return Sequence(header & 15, [self.value(header & 15) for _ in range(size)])
        if kind == MAP:
            size = self.varint()
            kinds = self.byte() if size else 0
            pairs = [(self.value(kinds >> 4), self.value(kinds & 15)) for _ in range(size)]
            return Mapping(kinds >> 4, kinds & 15, pairs)
        if kind in (TRUE, FALSE, BYTE):
            return self.byte()
        if kind == DOUBLE:
            number: float = struct.unpack("<d", self.take(8))[0]
            return number
        raise ValueError(f"the Thrift structure holds an unknown wire type {kind}")


def _write_varint(out: bytearray, value: int) -> None:
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def _write_zigzag(out: bytearray, value: int) -> None:
    _write_varint(out, value << 1 if value >= 0 else (-value << 1) - 1)


def _write_struct(out: bytearray, tree: Struct) -> None:
    last = 0
    for number, (kind, value) in sorted(tree.fields.items()):
        if 0 < number - last <= 15:
            out.append((number - last) << 4 | kind)
        else:
            out.append(kind)
            _write_zigzag(out, number)
        last = number
        if kind not in (TRUE, FALSE):
            _write_value(out, kind, value)
    out.append(0)


def _write_value(out: bytearray, kind: int, value: Value) -> None:
    match value:
        case Struct():
            _write_struct(out, value)
        case Sequence():
            size = len(value.items)
            out.append(min(size, 15) << 4 | value.kind)
            if size >= 15:
                _write_varint(out, size)
            for item in value.items:
                _write_value(out, value.kind, item)
        case Mapping():
            _write_varint(out, len(value.pairs))
            if value.pairs:
                out.append(value.key_kind << 4 | value.value_kind)
            for key, mapped in value.pairs:
                _write_value(out, value.key_kind, key)
                _write_value(out, value.value_kind, mapped)
        case bytes():
            _write_varint(out, len(value))
            out += value
        case float():
            out += struct.pack("<d", value)
        case int() if kind in (TRUE, FALSE, BYTE):
            out.append(value)
        case int():
            _write_zigzag(out, value)
