"""Any Thrift compact struct as plain Python, without its definition, so that unknown fields are seen as well.

A reader generated from a definition skips the fields it does not know and does not say where a struct ends; a verifier
needs both. Source: the Thrift compact protocol specification.
"""

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

Struct = dict[int, Any]
"""Field id to value: int, float, bool, bytes, list or Struct. A map is the list of its keys and values in turn."""

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT, _UUID = range(1, 14)
_DEEPEST = 64


class BrokenStructError(ValueError):
    """The bytes are no Thrift compact struct, or end before it does."""


class Binary(NamedTuple):
    """A byte string inside a struct: its value and the field ids (and list places) that lead to it."""

    path: tuple[int, ...]
    value: bytes


def read_struct(data: memoryview, at: int) -> tuple[Struct, int]:
    """Read the struct that starts at `at`; returns it and the position after it.

    Raises BrokenStructError.
    """
    reader = _Reader(data, at)
    try:
        return reader.struct(0), reader.at
    except (IndexError, struct.error) as error:
        raise BrokenStructError("a Thrift struct ends before its end") from error


def binaries(value: object, path: tuple[int, ...] = ()) -> Iterator[Binary]:
    """Every byte string in `value`, at any depth."""
    if isinstance(value, bytes):
        yield Binary(path, value)
    elif isinstance(value, dict):
        for field, inner in value.items():
            yield from binaries(inner, (*path, field))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from binaries(inner, (*path, place))


class _Reader:
    def __init__(self, data: memoryview, at: int) -> None:
        self.data = data
        self.at = at

    def byte(self) -> int:
        value: int = self.data[self.at]
        self.at += 1
        return value

    def varint(self) -> int:
        result = shift = 0
        while shift < 70:
            byte = self.byte()
            result |= (byte & 0x7F) << shift
            if byte < 0x80:
                return result
            shift += 7
        raise BrokenStructError("a Thrift number has more than 64 bits")

    def zigzag(self) -> int:
        number = self.varint()
        return (number >> 1) ^ -(number & 1)

    def struct(self, depth: int) -> Struct:
        if depth > _DEEPEST:
            raise BrokenStructError(f"a Thrift struct is nested more than {_DEEPEST} deep")
        fields: Struct = {}
        field = 0
        while (head := self.byte()) != 0:
            field = field + (head >> 4) if head >> 4 else self.zigzag()
            kind = head & 15
            fields[field] = kind == _TRUE if kind in (_TRUE, _FALSE) else self.value(kind, depth)
        return fields

    def value(self, kind: int, depth: int) -> object:
        if kind in (_I16, _I32, _I64):
            return self.zigzag()
        if kind == _BINARY:
            return self.take(self.varint())
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind in (_LIST, _SET):
            head = self.byte()
            size = head >> 4 if head >> 4 < 15 else self.varint()
            return self.several([head & 15], size, depth)
        if kind == _MAP:
            size = self.varint()
            kinds = self.byte() if size else 0
            return self.several([kinds >> 4, kinds & 15], size, depth)
        if kind in (_BYTE, _TRUE, _FALSE):
            return self.byte()
        if kind == _DOUBLE:
            return float(struct.unpack("<d", self.take(8))[0])
        if kind == _UUID:
            return self.take(16)
        raise BrokenStructError(f"Thrift compact has no type {kind}")

    def several(self, kinds: list[int], size: int, depth: int) -> list[object]:
        if size > len(self.data) - self.at:
            raise BrokenStructError("a Thrift list is longer than what is left")
        if depth > _DEEPEST:
            raise BrokenStructError(f"a Thrift struct is nested more than {_DEEPEST} deep")
        return [self.value(kind, depth + 1) for _ in range(size) for kind in kinds]

    def take(self, size: int) -> bytes:
        if size > len(self.data) - self.at:
            raise BrokenStructError("a Thrift byte string is longer than what is left")
        value = bytes(self.data[self.at : self.at + size])
        self.at += size
        return value
