"""Column chunks and their pages as they lie in a file. Field numbers: parquet.thrift of the Parquet format 2.12."""

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa

from stores.parquet_levels import Bytes
from stores.thrift import Struct, decode_prefix

# FileMetaData, RowGroup, ColumnChunk, ColumnMetaData
ROW_GROUPS, COLUMNS, CHUNK_META = 4, 1, 3
META_ENCODINGS, META_CODEC, META_VALUES, META_UNCOMPRESSED, META_COMPRESSED = 2, 4, 5, 6, 7
META_DATA_PAGE, META_INDEX_PAGE, META_DICTIONARY_PAGE = 9, 10, 11
# PageHeader, DataPageHeader, DictionaryPageHeader, DataPageHeaderV2
PAGE_TYPE, PAGE_UNCOMPRESSED, PAGE_COMPRESSED, PAGE_CHECKSUM, PAGE_V1, PAGE_DICTIONARY, PAGE_V2 = 1, 2, 3, 4, 5, 7, 8
VALUES = 1  # the same in all three
V1_ENCODING, V1_DEFINITION_ENCODING, V1_REPETITION_ENCODING, V1_STATISTICS = 2, 3, 4, 5
V2_NULLS, V2_ROWS, V2_ENCODING, V2_DEFINITION_BYTES, V2_REPETITION_BYTES, V2_IS_COMPRESSED, V2_STATISTICS = range(2, 9)
# PageType, Encoding, CompressionCodec
DATA_PAGE, INDEX_PAGE, DICTIONARY_PAGE, DATA_PAGE_V2 = range(4)
PLAIN, OLD_DICTIONARY, RLE, DICTIONARY, BYTE_STREAM_SPLIT = 0, 2, 3, 8, 9
UNCOMPRESSED = 0
CODECS = {UNCOMPRESSED: None, 1: "snappy", 2: "gzip", 4: "brotli", 6: "zstd", 7: "lz4_raw"}

_LEVEL_LENGTH = 4  # bytes, before the levels of a page of version 1
_HEADER_BYTES = 512
_LONGEST_HEADER = 1 << 24


class UnfamiliarError(Exception):
    """A column chunk is written in a way that is not handled here: pyarrow decodes and encodes it instead."""


class Readable(Protocol):
    """Bytes that are read by position."""

    def read(self, at: int, size: int) -> bytes:
        """The `size` bytes at `at`; raises ValueError when there are fewer."""
        ...


class OpenFile:
    """A file open for reading by position, and a buffer that the next page overwrites."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY)
        self._buffer: Bytes = np.empty(0, np.uint8)

    def __enter__(self) -> "OpenFile":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)

    def read(self, at: int, size: int) -> bytes:
        """The `size` bytes at `at`; raises ValueError when there are fewer."""
        content = os.pread(self.descriptor, size, at)
        if len(content) != size:
            raise ValueError("the file ends where a page, an index or a filter should be")
        return content

    def view(self, at: int, size: int) -> Bytes:
        """The same bytes as an array, shape `(size,)`, until the next call."""
        if len(self._buffer) < size:
            self._buffer = np.empty(size, np.uint8)
        found = self._buffer[:size]
        done = 0
        while done < size:
            count = os.preadv(self.descriptor, [found[done:].data], at + done)
            if not count:
                raise ValueError("the file ends where a page should be")
            done += count
        return found


class InMemory:
    """A file that lies in memory."""

    def __init__(self, content: pa.Buffer) -> None:
        self.content = content

    def read(self, at: int, size: int) -> bytes:
        """The `size` bytes at `at`."""
        content: bytes = self.content.slice(at, size).to_pybytes()
        return content


@dataclass(frozen=True)
class Page:
    """One page of a column chunk: its header, where that begins, and where the payload does and ends."""

    header: Struct
    at: int
    start: int
    stop: int

    @property
    def kind(self) -> int:
        """The type of page, as in parquet.thrift."""
        return _number(self.header, PAGE_TYPE)

    @property
    def inner(self) -> Struct:
        """The header of its type."""
        number = {DATA_PAGE: PAGE_V1, DATA_PAGE_V2: PAGE_V2, DICTIONARY_PAGE: PAGE_DICTIONARY}.get(self.kind)
        found = self.header.struct(number) if number is not None else None
        if found is None:
            raise UnfamiliarError("a page of a type that is not known")
        return found

    @property
    def values(self) -> int:
        """How many values it has, nulls included."""
        return _number(self.inner, VALUES)

    @property
    def encoding(self) -> int:
        """The encoding of its values."""
        return _number(self.inner, V2_ENCODING if self.kind == DATA_PAGE_V2 else V1_ENCODING)

    @property
    def is_indices(self) -> bool:
        """Whether its values are indices of a dictionary."""
        return self.kind != DICTIONARY_PAGE and self.encoding in (OLD_DICTIONARY, DICTIONARY)


@dataclass(frozen=True)
class Content:
    """What a data page holds, decompressed: runs of levels without their lengths, and the encoded values."""

    repetition: Bytes
    definition: Bytes
    values: Bytes


def chunk_range(meta: Struct) -> tuple[int, int]:
    """Where the pages of a column chunk begin and end."""
    starts = [meta.integer(number) or 0 for number in (META_DATA_PAGE, META_DICTIONARY_PAGE, META_INDEX_PAGE)]
    start = min((at for at in starts if at > 0), default=0)
    return start, start + _number(meta, META_COMPRESSED)


def end_of_pages(footer: Struct) -> int:
    """Where the last column chunk of a file ends."""
    chunks = (chunk.struct(CHUNK_META) for group in footer.structs(ROW_GROUPS) for chunk in group.structs(COLUMNS))
    return max((chunk_range(meta)[1] for meta in chunks if meta is not None), default=0)


def walk(file: OpenFile, meta: Struct) -> Iterator[Page]:
    """The pages of a column chunk in order; raises UnfamiliarError when they are not just what its metadata says."""
    at, stop = chunk_range(meta)
    seen = 0
    while at < stop:
        header, size = _read_header(file, at, stop)
        page = Page(header, at, at + size, at + size + _number(header, PAGE_COMPRESSED))
        if not page.start <= page.stop <= stop:
            raise UnfamiliarError("a page is longer than its column chunk")
        if page.kind in (DATA_PAGE, DATA_PAGE_V2):
            seen += page.values
        yield page
        at = page.stop
    if seen != meta.integer(META_VALUES):
        raise UnfamiliarError("the pages do not have as many values as the column chunk")


def _read_header(file: OpenFile, at: int, stop: int) -> tuple[Struct, int]:
    window = _HEADER_BYTES
    while True:
        try:
            return decode_prefix(file.read(at, min(window, stop - at)))
        except ValueError as error:
            if window >= min(stop - at, _LONGEST_HEADER):
                raise UnfamiliarError("the header of a page cannot be read") from error
            window *= 16


def read_page(file: OpenFile, page: Page, codec: str | None, repetition: int, definition: int) -> Content:
    """Read and decompress a page; a checksum is checked. The result is valid until the next page is read.

    Raises ValueError or what the codec raises when it is damaged, UnfamiliarError for levels of the oldest kind.
    """
    packed = file.view(page.start, page.stop - page.start)
    checksum = page.header.integer(PAGE_CHECKSUM)
    if checksum is not None and zlib.crc32(packed.data) != checksum & 0xFFFFFFFF:
        raise ValueError("a page does not have the checksum that its header says")
    size, inner = _number(page.header, PAGE_UNCOMPRESSED), page.inner
    none = packed[:0]
    if page.kind == DICTIONARY_PAGE:
        return Content(none, none, _decompress(packed, codec, size))
    if page.kind == DATA_PAGE_V2:
        first = _number(inner, V2_REPETITION_BYTES)
        second = first + _number(inner, V2_DEFINITION_BYTES)
        is_compressed = inner.fields.get(V2_IS_COMPRESSED, (0, True))[1]
        values = _decompress(packed[second:], codec if is_compressed else None, size - second)
        return Content(packed[:first], packed[first:second], values)
    rest = _decompress(packed, codec, size)
    levels = []
    for level, number in ((repetition, V1_REPETITION_ENCODING), (definition, V1_DEFINITION_ENCODING)):
        length = 0
        if level:
            if inner.integer(number) != RLE:
                raise UnfamiliarError("levels that are bit-packed without runs")
            length = int.from_bytes(rest[:_LEVEL_LENGTH], "little")
            rest = rest[_LEVEL_LENGTH:]
        if length > len(rest):
            raise ValueError("the levels of a page are longer than the page")
        levels.append(rest[:length])
        rest = rest[length:]
    return Content(levels[0], levels[1], rest)


def _decompress(packed: Bytes, codec: str | None, size: int) -> Bytes:
    if codec is None or (size == 0 and not len(packed)):
        content = packed
    else:
        content = (
            np.frombuffer(pa.Codec(codec).decompress(pa.py_buffer(packed), size), np.uint8) if size > 0 else packed
        )
    if len(content) != size:
        raise ValueError("a page does not have the size that its header says")
    return content


def _number(struct: Struct, field: int) -> int:
    found = struct.integer(field)
    if found is None:
        raise UnfamiliarError(f"field {field} is missing where it is required")
    return found
