"""Column chunks taken over with their bytes: where they may be, and what has to move with them.

A chunk has pages, and apart from them a bloom filter and two page indexes; every offset in the footer and in the
offset index counts from the start of the file. When all rows of a chunk stay, all that is theirs may stay, with one
exception: a dictionary can hold values that no row of the chunk has. pyarrow writes such dictionaries, the whole
one into every row group, and they would keep a name that goes with a row of another group.
"""

import numpy as np

from stores.parquet_levels import unpack
from stores.parquet_pages import (
    CHUNK_META,
    CODECS,
    DATA_PAGE,
    DATA_PAGE_V2,
    DICTIONARY_PAGE,
    META_CODEC,
    META_DATA_PAGE,
    META_DICTIONARY_PAGE,
    META_INDEX_PAGE,
    OpenFile,
    Readable,
    UnfamiliarError,
    chunk_range,
    read_page,
    walk,
)
from stores.parquet_schema import Leaf
from stores.parquet_sink import Sink
from stores.thrift import I32, I64, Struct, decode, decode_prefix, encode

# ColumnChunk, ColumnMetaData, BloomFilterHeader, OffsetIndex, PageLocation
CHUNK_PATH, CHUNK_OFFSET, CHUNK_OFFSET_INDEX, CHUNK_COLUMN_INDEX = 1, 2, 4, 6
CHUNK_CRYPTO, CHUNK_ENCRYPTED = 8, 9
META_BLOOM, META_BLOOM_LENGTH = 14, 15
_BLOOM_BYTES = 1
_LOCATIONS, _LOCATION_OFFSET = 1, 1
_BLOOM_HEADER = 256  # bytes, ample


def may_copy(file: OpenFile, chunk: Struct, leaf: Leaf) -> bool:
    """Whether a column chunk whose rows all stay can be taken over: it is whole, and has no value that no row has."""
    meta = chunk.struct(CHUNK_META)
    if meta is None or any(number in chunk for number in (CHUNK_PATH, CHUNK_CRYPTO, CHUNK_ENCRYPTED)):
        return False
    try:
        return _is_whole(file, meta, leaf)
    except UnfamiliarError:
        return False


def _is_whole(file: OpenFile, meta: Struct, leaf: Leaf) -> bool:
    used = np.zeros(0, bool)
    codec = meta.integer(META_CODEC) or 0
    for page in walk(file, meta):
        if page.kind == DICTIONARY_PAGE:
            used = np.zeros(page.values, bool)
        elif page.kind in (DATA_PAGE, DATA_PAGE_V2) and page.is_indices:
            if codec not in CODECS:
                return False
            content = read_page(file, page, CODECS[codec], leaf.repetition, leaf.definition)
            present = page.values
            if leaf.definition:
                levels = np.empty(page.values, np.int32)
                if not unpack(content.definition, leaf.definition.bit_length(), levels):
                    return False
                present = int((levels == leaf.definition).sum())
            indices = np.empty(present, np.int32)
            if present and not unpack(content.values[1:], int(content.values[0]), indices):
                return False
            if present and not 0 <= indices.min() <= indices.max() < len(used):
                return False
            used[indices] = True
    return bool(used.all())


class Attachments:
    """Bloom filters and page indexes of the chunks written so far, which stand apart from their pages."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._filters: list[tuple[Struct, bytes]] = []
        self._indexes: list[tuple[Struct, int, bytes]] = []

    def take(self, chunk: Struct, source: Readable, shift: int) -> None:
        """Read what `chunk` has in `source`; `shift` is how far its pages move."""
        meta = chunk.struct(CHUNK_META)
        if meta is not None and META_BLOOM in meta:
            at = meta.integer(META_BLOOM) or 0
            self._filters.append((meta, source.read(at, meta.integer(META_BLOOM_LENGTH) or _filter_size(source, at))))
        for field in (CHUNK_COLUMN_INDEX, CHUNK_OFFSET_INDEX):
            at, size = chunk.integer(field) or 0, chunk.integer(field + 1) or 0
            if at and size:
                content = source.read(at, size)
                moved = _shifted(content, shift) if field == CHUNK_OFFSET_INDEX else content
                self._indexes.append((chunk, field, moved))

    def add_index(self, chunk: Struct, offset_index: Struct) -> None:
        """Give a chunk an offset index of its own."""
        self._indexes.append((chunk, CHUNK_OFFSET_INDEX, encode(offset_index)))

    def write_filters(self) -> None:
        """Write the bloom filters, behind the row group they belong to."""
        for meta, content in self._filters:
            meta.put(META_BLOOM, I64, self._sink.at)
            meta.put(META_BLOOM_LENGTH, I32, len(content))
            self._sink.write(content)
        self._filters.clear()

    def write_indexes(self) -> None:
        """Write the page indexes, behind everything but the footer: first those of columns, as pyarrow does."""
        for field in (CHUNK_COLUMN_INDEX, CHUNK_OFFSET_INDEX):
            for chunk, number, content in self._indexes:
                if number == field:
                    chunk.put(field, I64, self._sink.at)
                    chunk.put(field + 1, I32, len(content))
                    self._sink.write(content)


def moved(chunk: Struct, shift: int) -> Struct:
    """A copy of `chunk` whose pages lie `shift` bytes further on."""
    new = decode(encode(chunk))
    meta = new.struct(CHUNK_META)
    assert meta is not None
    start, _ = chunk_range(meta)
    # Old writers point at the first page, or at a copy of the metadata that is not taken over.
    new.put(CHUNK_OFFSET, I64, start + shift if new.integer(CHUNK_OFFSET) == start else 0)
    for number in (META_DATA_PAGE, META_INDEX_PAGE, META_DICTIONARY_PAGE):
        at = meta.integer(number)
        if at:
            meta.put(number, I64, at + shift)
    return new


def _filter_size(source: Readable, at: int) -> int:
    """The bytes of a bloom filter with its header, which older writers do not record."""
    for window in (_BLOOM_HEADER, 32, 16):
        try:
            header, size = decode_prefix(source.read(at, window))
        except ValueError:
            continue
        return size + (header.integer(_BLOOM_BYTES) or 0)
    raise ValueError("the header of a bloom filter cannot be read")


def _shifted(offset_index: bytes, shift: int) -> bytes:
    index = decode(offset_index)
    for location in index.structs(_LOCATIONS):
        location.put(_LOCATION_OFFSET, I64, (location.integer(_LOCATION_OFFSET) or 0) + shift)
    return encode(index)
