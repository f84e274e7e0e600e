"""The new file read again and held against the old one, before it takes its place.

Nothing here trusts the writer: the pages of both files are walked anew, by counting values, and every byte of the new
file must belong to something. What was copied must be the same bytes; what was cut, the bytes of the rows that stay,
in their order, with the levels of whole rows and without statistics; what was encoded anew is decoded and compared
bit for bit, so that a NaN is itself and -0.0 is not 0.0.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from stores.parquet_assemble import Way
from stores.parquet_encode import Decoder, Rows, batches, select
from stores.parquet_levels import Bounds, Bytes, is_regular, pieces_equal, unpack
from stores.parquet_pages import OpenFile
from stores.parquet_schema import Leaf
from stores.thrift import Struct, decode, decode_prefix

# The numbers of parquet.thrift that this side needs, by itself.
_FILE_SAME = (1, 2, 6, 7)  # version, schema, writer, column orders
_CODECS = {1: "snappy", 2: "gzip", 4: "brotli", 6: "zstd", 7: "lz4_raw"}
_HEADER_BYTES = 1 << 14
_BLOCK = 1 << 22


@dataclass(frozen=True)
class Kept:
    """What the new file should have of one row group of the old one."""

    group: int
    stays: Rows
    ways: list[Way]


@dataclass(frozen=True)
class _Values:
    """The values of one data page, from value `first` of the chunk on, in `planes` parts of equal size."""

    first: int
    count: int
    content: Bytes
    planes: int
    has_statistics: bool


def find_fault(path: Path, aside: Path, old: Struct, new: Struct, leaves: list[Leaf], groups: list[Kept]) -> str | None:
    """What is wrong with the new file at `aside`, of footer `new`; None when it is the old one without the others.

    Raises ValueError or what pyarrow raises when either cannot be read.
    """
    if any(old.fields.get(number) != new.fields.get(number) for number in _FILE_SAME):
        return "the footer of the new file does not describe the same columns"
    new_groups = new.structs(4)
    if len(new_groups) != len(groups) or any(
        made.integer(3) != int(kept.stays.sum()) for made, kept in zip(new_groups, groups, strict=True)
    ):
        return "the row groups of the new file do not have the rows that were to stay"
    before, after = Decoder(path, old, bits=True), Decoder(aside, new, bits=True)
    with OpenFile(path) as source, OpenFile(aside) as made:
        if not _is_accounted_for(made, new, aside.stat().st_size):
            return "some bytes of the new file belong to nothing in it"
        for number, kept in enumerate(groups):
            old_chunks, new_chunks = old.structs(4)[kept.group].structs(1), new_groups[number].structs(1)
            anew: dict[int, int] = {}
            for way, leaf, one, other in zip(kept.ways, leaves, old_chunks, new_chunks, strict=True):
                if way is Way.ENCODED:
                    anew[leaf.root] = anew.get(leaf.root, 0) + _integer(_meta(one), 6)
                    continue
                same = _is_copy if way is Way.COPIED else _is_cut
                if not same(source, made, one, other, leaf, kept.stays):
                    return f"column {leaf.path} of the new file is not that of the rows that were to stay"
            for roots in batches([*anew.items()]):
                if not select(before.read(kept.group, roots), kept.stays).equals(after.read(number, roots)):
                    return "a column of the new file is not that of the rows that were to stay"
    return None


def _is_accounted_for(made: OpenFile, footer: Struct, size: int) -> bool:
    """Whether pages, indexes, filters and footer fill the file without a gap: nothing is left that nobody reads."""
    regions = [(0, 4)]
    for chunk in (chunk for group in footer.structs(4) for chunk in group.structs(1)):
        meta = _meta(chunk)
        regions.append(_range(meta))
        regions += [(_integer(chunk, field), _integer(chunk, field + 1)) for field in (4, 6) if field in chunk]
        if 14 in meta:
            regions.append((_integer(meta, 14), _integer(meta, 15)))
    length = int.from_bytes(made.read(size - 8, 4), "little")
    regions.append((size - 8 - length, length + 8))
    at = 0
    for start, count in sorted(regions):
        if start != at:
            return False
        at += count
    return at == size


def _is_copy(source: OpenFile, made: OpenFile, old: Struct, new: Struct, leaf: Leaf, stays: Rows) -> bool:
    (start, size), (new_start, new_size) = _range(_meta(old)), _range(_meta(new))
    if size != new_size or not stays.all():
        return False
    for at in range(0, size, _BLOCK):
        count = min(_BLOCK, size - at)
        whole = np.array([0]), np.array([count])
        if not pieces_equal(source.view(start + at, count), *whole, 1, made.view(new_start + at, count)):
            return False
    if 6 in old and source.read(_integer(old, 6), _integer(old, 7)) != made.read(_integer(new, 6), _integer(new, 7)):
        return False
    places, new_places = ([*_places(file, chunk)] for file, chunk in ((source, old), (made, new)))
    return [(at - start, rest) for at, rest in places] == [(at - new_start, rest) for at, rest in new_places]


def _places(file: OpenFile, chunk: Struct) -> Iterator[tuple[int, object]]:
    """What the offset index says of each page: where it lies, and the rest."""
    if 4 in chunk:
        for place in decode(file.read(_integer(chunk, 4), _integer(chunk, 5))).structs(1):
            yield _integer(place, 1), (place.fields.get(2), place.fields.get(3))


def _is_cut(source: OpenFile, made: OpenFile, old: Struct, new: Struct, leaf: Leaf, stays: Rows) -> bool:
    meta = _meta(new)
    if 12 in meta or 14 in meta or 6 in new:
        return False  # statistics, a filter or a column index: they could hold somebody who is gone
    length, left = divmod(_integer(_meta(old), 5), len(stays))
    if left:
        return False
    rows, seen = np.flatnonzero(stays), 0
    found = _values(made, meta, leaf, length)
    for page in _values(source, _meta(old), leaf, length):
        low = np.searchsorted(rows, page.first // length, "left")
        high = np.searchsorted(rows, (page.first + page.count - 1) // length, "right")
        starts = np.clip(rows[low:high] * length - page.first, 0, page.count)
        stops = np.clip((rows[low:high] + 1) * length - page.first, 0, page.count)
        count = int((stops - starts).sum())
        if not count:
            continue
        other = next(found, None)
        if other is None or (other.first, other.count) != (seen, count) or other.has_statistics:
            return False
        if not _same_values(page, other, starts, stops, leaf.width):
            return False
        seen += count
    return next(found, None) is None and seen == len(rows) * length == _integer(meta, 5)


def _same_values(old: _Values, new: _Values, starts: Bounds, stops: Bounds, width: int) -> bool:
    unit = 1 if old.planes > 1 else width
    return old.planes == new.planes and pieces_equal(old.content, starts * unit, stops * unit, old.planes, new.content)


def _values(file: OpenFile, meta: Struct, leaf: Leaf, length: int) -> Iterator[_Values]:
    """The data pages of a column chunk of rows of `length` values; raises ValueError for anything out of order."""
    (at, size), count = _range(meta), _integer(meta, 5)
    stop, first, dictionary = at + size, 0, np.empty((0, leaf.width), np.uint8)
    while first < count:
        header, taken = decode_prefix(file.read(at, min(_HEADER_BYTES, stop - at)))
        payload = file.view(at + taken, _integer(header, 3))
        at += taken + len(payload)
        kind = _integer(header, 1)
        if kind == 2:
            dictionary = _unpacked(payload, meta, _integer(header, 2)).reshape(-1, leaf.width).copy()
        if kind not in (0, 3):
            continue
        inner = header.struct(5 if kind == 0 else 8) or Struct()
        levels, content = (_split_first if kind == 0 else _split_second)(payload, header, inner, meta, leaf)
        values, encoding = _integer(inner, 1), _integer(inner, 2 if kind == 0 else 4)
        top = leaf.definition
        if leaf.repetition and not is_regular(levels[0], 1, values, first, length, 0, 1):
            raise ValueError("a page does not have the levels of whole rows")
        if top and not is_regular(levels[1], top.bit_length(), values, 0, 1, top, top):
            raise ValueError("a page has nulls where there should be none")
        if encoding in (2, 8):
            content = _looked_up(content, values, dictionary)
        elif encoding not in (0, 9):
            raise ValueError(f"a page of encoding {encoding} where values were cut")
        if len(content) != values * leaf.width:
            raise ValueError("a page does not have as many bytes as its values take")
        yield _Values(first, values, content, leaf.width if encoding == 9 else 1, (5 if kind == 0 else 8) in inner)
        first += values
    if at != stop or first != count:
        raise ValueError("the pages of a column do not end where the footer says")


def _split_first(
    payload: Bytes, header: Struct, inner: Struct, meta: Struct, leaf: Leaf
) -> tuple[tuple[Bytes, Bytes], Bytes]:
    """Repetition levels, definition levels and values of a page of version 1: all compressed, levels with lengths."""
    rest = _unpacked(payload, meta, _integer(header, 2))
    found = [rest[:0], rest[:0]]
    for which, level in enumerate((leaf.repetition, leaf.definition)):
        if level:
            size = 4 + int.from_bytes(rest[:4], "little")
            found[which], rest = rest[4:size], rest[size:]
    return (found[0], found[1]), rest


def _split_second(
    payload: Bytes, header: Struct, inner: Struct, meta: Struct, leaf: Leaf
) -> tuple[tuple[Bytes, Bytes], Bytes]:
    """The same of a page of version 2: only the values are compressed, if they are."""
    repetition, definition = _integer(inner, 6), _integer(inner, 5)
    levels = payload[:repetition], payload[repetition : repetition + definition]
    values = payload[repetition + definition :]
    if inner.fields.get(7, (0, True))[1] is not False:
        values = _unpacked(values, meta, _integer(header, 2) - repetition - definition)
    return levels, values


def _unpacked(payload: Bytes, meta: Struct, size: int) -> Bytes:
    codec = _integer(meta, 4)
    if codec:
        payload = np.frombuffer(pa.decompress(pa.py_buffer(payload), size, codec=_CODECS[codec]), np.uint8)
    if len(payload) != size:
        raise ValueError("a page does not have the size that its header says")
    return payload


def _looked_up(content: Bytes, count: int, dictionary: Bytes) -> Bytes:
    indices = np.empty(count, np.int32)
    if not len(content) or not unpack(content[1:], int(content[0]), indices):
        raise ValueError("a page has fewer indices than values")
    if len(indices) and not 0 <= indices.min() <= indices.max() < len(dictionary):
        raise ValueError("a page points beyond its dictionary")
    return dictionary[indices].reshape(-1)


def _range(meta: Struct) -> tuple[int, int]:
    """Where the pages of a chunk begin, and how many bytes they take."""
    starts = [_integer(meta, field) for field in (9, 11) if meta.integer(field)]
    return min(starts, default=0), _integer(meta, 7)


def _meta(chunk: Struct) -> Struct:
    meta = chunk.struct(3)
    if meta is None:
        raise ValueError("a column chunk has no metadata")
    return meta


def _integer(struct: Struct, field: int) -> int:
    found = struct.integer(field)
    if found is None:
        raise ValueError(f"field {field} is missing where it is required")
    return found
