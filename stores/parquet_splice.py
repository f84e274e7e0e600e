"""Rows of fixed width cut out of a column chunk page by page, without decoding a value.

A vector of d floats is 4 d bytes in a page, whatever the numbers are: the bytes of the rows that stay are copied,
and the levels, which are the same for every row, are written anew. So are the page headers, without statistics,
which of binary vectors would be two whole vectors. A page whose rows all stay keeps its payload.

What is cut: values of one width (numbers, fixed-length bytes) as PLAIN or BYTE_STREAM_SPLIT, alone or in lists of
one length, without nulls; data pages of both versions; any codec of `CODECS`; rows that cross pages. Pages of
dictionary indices before those, which pyarrow writes until the dictionary is too large, become PLAIN, and the
dictionary goes. For everything else `cut_chunk` raises UnfamiliarError.
"""

import zlib
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stores.parquet_levels import Bytes, gather, list_levels, repeat_level, unpack
from stores.parquet_pages import (
    BYTE_STREAM_SPLIT,
    CODECS,
    DATA_PAGE,
    DATA_PAGE_V2,
    DICTIONARY_PAGE,
    META_CODEC,
    META_VALUES,
    PAGE_CHECKSUM,
    PAGE_COMPRESSED,
    PAGE_UNCOMPRESSED,
    PAGE_V1,
    PAGE_V2,
    PLAIN,
    V1_ENCODING,
    V1_STATISTICS,
    V2_DEFINITION_BYTES,
    V2_ENCODING,
    V2_IS_COMPRESSED,
    V2_REPETITION_BYTES,
    V2_ROWS,
    V2_STATISTICS,
    VALUES,
    Content,
    OpenFile,
    Page,
    UnfamiliarError,
    read_page,
    walk,
)
from stores.parquet_shape import Runs, Shape
from stores.parquet_sink import Sink
from stores.thrift import FALSE, I32, STRUCT, TRUE, Struct, encode


@dataclass
class Cut:
    """A column chunk as it was cut: its codec, and for each page the type, encoding and place."""

    codec: int
    values: int = 0
    uncompressed: int = 0
    pages: list[tuple[int, int]] = field(default_factory=list)
    places: list[tuple[int, int, int]] = field(default_factory=list)
    """Offset, size with the header, and first row of each page."""
    aligned: bool = True
    """Whether every page begins with a row."""


def cut_chunk(file: OpenFile, sink: Sink, meta: Struct, shape: Shape, stays: npt.NDArray[np.bool_], codec: int) -> Cut:
    """Copy the rows of a column chunk that stay to `sink`, compressed with `codec` or as they are.

    Raises UnfamiliarError for a chunk that is written otherwise, ValueError or OSError for a damaged one.
    """
    knife = _Knife(file, sink, shape, CODECS[meta.integer(META_CODEC) or 0], Cut(codec))
    pages = list(walk(file, meta))
    indices = sum(page.values for page in pages if page.kind in (DATA_PAGE, DATA_PAGE_V2) and page.is_indices)
    if 2 * indices > (meta.integer(META_VALUES) or 0):
        raise UnfamiliarError("the chunk lives by its dictionary")
    keep, first = Runs.of(stays, shape.length), 0
    for page in pages:
        if page.kind == DICTIONARY_PAGE:
            knife.read_dictionary(page)
        elif page.kind in (DATA_PAGE, DATA_PAGE_V2):
            knife.cut_page(page, first, keep.within(first, page.values))
            first += page.values
    return knife.cut


@dataclass
class _Knife:
    file: OpenFile
    sink: Sink
    shape: Shape
    codec: str | None
    cut: Cut
    dictionary: Bytes | None = None
    buffer: Bytes = field(default_factory=lambda: np.empty(0, np.uint8))

    def read_dictionary(self, page: Page) -> None:
        values = read_page(self.file, page, self.codec, 0, 0).values
        if page.encoding not in (PLAIN, 2) or len(values) != page.values * self.shape.width:
            raise UnfamiliarError("a dictionary that is not a plain list of values")
        self.dictionary = values.reshape(-1, self.shape.width).copy()

    def cut_page(self, page: Page, first: int, keep: Runs) -> None:
        shape, count, kept = self.shape, page.values, len(keep)
        content = read_page(self.file, page, self.codec, shape.repetition, shape.definition)
        if not shape.fits(content, first, count):
            raise UnfamiliarError("nulls, or lists of several lengths")
        if not page.is_indices and len(content.values) != count * shape.width:
            raise UnfamiliarError("values of another width")
        if not kept:
            return
        head = min(-(first + int(keep.starts[0])) % shape.length, kept)
        rows, tail = divmod(kept - head, shape.length)
        if page.kind == DATA_PAGE_V2 and (head or tail):
            raise UnfamiliarError("a row that crosses pages which may not be crossed")
        self.cut.aligned &= not head
        started = self.cut.values // shape.length
        header = self._header(page, kept, rows)
        if kept == count and not page.is_indices and self.codec == CODECS[self.cut.codec]:
            payload = self.file.view(page.start, page.stop - page.start)
            uncompressed = page.header.integer(PAGE_UNCOMPRESSED) or 0
            self._write(page, header, payload, uncompressed, started)
            return
        repetition = list_levels(head, rows, tail, shape.length) if shape.repetition else b""
        definition = repeat_level(shape.definition, kept) if shape.definition else b""
        if page.kind == DATA_PAGE:
            levels = b"".join(len(level).to_bytes(4, "little") + level for level in (repetition, definition) if level)
        else:
            levels = repetition + definition
            inner = header.struct(PAGE_V2)
            assert inner is not None
            inner.put(V2_REPETITION_BYTES, I32, len(repetition))
            inner.put(V2_DEFINITION_BYTES, I32, len(definition))
        size = len(levels) + kept * shape.width
        if len(self.buffer) < size:
            self.buffer = np.empty(size, np.uint8)
        out = self.buffer[:size]
        out[: len(levels)] = np.frombuffer(levels, np.uint8)
        self._take(page, content, keep, out[len(levels) :])
        payload = self._compress(page, header, out, len(levels))
        self._write(page, header, payload, size, started)

    def _take(self, page: Page, content: Content, keep: Runs, out: Bytes) -> None:
        width = self.shape.width
        if page.encoding == PLAIN:
            gather(content.values, keep.starts * width, keep.stops * width, 1, out)
        elif page.encoding == BYTE_STREAM_SPLIT:
            gather(content.values, keep.starts, keep.stops, width, out)
        elif page.is_indices and self.dictionary is not None and len(content.values):
            indices = np.empty(page.values, np.int32)
            if not unpack(content.values[1:], int(content.values[0]), indices):
                raise ValueError("a page has fewer indices than values")
            kept = np.empty(len(keep) * 4, np.uint8)
            gather(indices.view(np.uint8), keep.starts * 4, keep.stops * 4, 1, kept)
            wanted = kept.view(np.int32)
            if not 0 <= wanted.min() <= wanted.max() < len(self.dictionary):
                raise ValueError("a page points beyond its dictionary")
            np.take(self.dictionary, wanted, axis=0, out=out.reshape(-1, width))
        else:
            raise UnfamiliarError(f"encoding {page.encoding}")

    def _header(self, page: Page, values: int, rows: int) -> Struct:
        """The header of a page with fewer values; sizes are put in when they are known."""
        inner = Struct(dict(page.inner.fields))
        inner.put(VALUES, I32, values)
        if page.kind == DATA_PAGE_V2:
            inner.put(V2_ROWS, I32, rows)
            inner.drop(V2_STATISTICS)
        else:
            inner.drop(V1_STATISTICS)
        if page.is_indices:
            inner.put(V2_ENCODING if page.kind == DATA_PAGE_V2 else V1_ENCODING, I32, PLAIN)
        header = Struct(dict(page.header.fields))
        header.put(PAGE_V2 if page.kind == DATA_PAGE_V2 else PAGE_V1, STRUCT, inner)
        return header

    def _compress(self, page: Page, header: Struct, out: Bytes, levels: int) -> Bytes:
        """The payload as the codec of the new chunk wants it; the levels of a page of version 2 stay plain."""
        codec = CODECS[self.cut.codec]
        inner = header.struct(PAGE_V2)
        if inner is not None:
            if inner.fields.get(V2_IS_COMPRESSED, (0, True))[1] is False:
                return out
            inner.put(V2_IS_COMPRESSED, TRUE if codec else FALSE, codec is not None)
            if codec is None:
                return out
            return np.concatenate((out[:levels], _compressed(out[levels:], codec)))
        return out if codec is None else _compressed(out, codec)

    def _write(self, page: Page, header: Struct, payload: Bytes, uncompressed: int, first_row: int) -> None:
        header.put(PAGE_UNCOMPRESSED, I32, uncompressed)
        header.put(PAGE_COMPRESSED, I32, len(payload))
        if PAGE_CHECKSUM in header:
            checksum = zlib.crc32(payload.data)
            header.put(PAGE_CHECKSUM, I32, checksum - (1 << 32) if checksum >> 31 else checksum)
        encoded, at, cut = encode(header), self.sink.at, self.cut
        self.sink.write(encoded, payload)
        inner = header.struct(PAGE_V2) or header.struct(PAGE_V1) or Struct()
        cut.values += inner.integer(VALUES) or 0
        cut.uncompressed += len(encoded) + uncompressed
        encoding = PLAIN if page.is_indices else page.encoding
        cut.pages.append((page.kind, encoding))
        cut.places.append((at, len(encoded) + len(payload), first_row))


def _compressed(content: Bytes, codec: str) -> Bytes:
    packed = pa.Codec(codec).compress(pa.py_buffer(content))
    return np.frombuffer(packed, np.uint8, packed.size)
