"""The physical side of a Parquet file: every page, index, filter and footer byte, without a Parquet library.

Facts (field ids, page types, codecs) are those of parquet.thrift of the Apache Parquet format, version 2.11.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from stores.audit.compact import BrokenStructError, Struct, read_struct
from stores.audit.siphash import Bytes

MAGIC, ENCRYPTED_MAGIC = b"PAR1", b"PARE"

# FileMetaData, RowGroup, ColumnChunk, ColumnMetaData, PageHeader, DataPageHeader(V2), DictionaryPageHeader
FILE_ROW_GROUPS, FILE_METADATA, FILE_ENCRYPTION = 4, 5, 8
GROUP_COLUMNS = 1
CHUNK_PATH, CHUNK_METADATA = 1, 3
CHUNK_ENCRYPTION, CHUNK_ENCRYPTED_METADATA = 8, 9
META_TYPE, META_NAME, META_CODEC, META_COMPRESSED, META_METADATA = 1, 3, 4, 7, 8
META_DATA_PAGE, META_DICTIONARY_PAGE, META_STATISTICS, META_BLOOM, META_BLOOM_LENGTH = 9, 11, 12, 14, 15
PAGE_TYPE, PAGE_UNCOMPRESSED, PAGE_COMPRESSED, PAGE_V1, PAGE_DICTIONARY, PAGE_V2 = 1, 2, 3, 5, 7, 8
V2_DEFINITIONS, V2_REPETITIONS, V2_IS_COMPRESSED = 5, 6, 7
BLOOM_BYTES = 1

DATA_PAGE, INDEX_PAGE, DICTIONARY_PAGE, DATA_PAGE_V2 = range(4)
BYTE_ARRAY = 6
PLAIN = 0
ENCODING_FIELD = {DATA_PAGE: (PAGE_V1, 2), DATA_PAGE_V2: (PAGE_V2, 4), DICTIONARY_PAGE: (PAGE_DICTIONARY, 2)}
CODECS = {0: None, 1: "snappy", 2: "gzip", 4: "brotli", 6: "zstd", 7: "lz4_raw"}
LARGEST_PAGE = 1 << 30
_INDEXES = [("offset index", 4, 5), ("column index", 6, 7)]
"""What a column chunk points at, and the fields of ColumnChunk with its offset and length."""


@dataclass(frozen=True)
class Place:
    """Where bytes of a Parquet file belong: what they are, and the row group and column if they have one."""

    what: str
    row_group: int | None = None
    column: str | None = None


@dataclass(frozen=True)
class Region:
    """The bytes `start` to `stop` of the file; `facts` if they are a Thrift struct."""

    start: int
    stop: int
    place: Place
    facts: Struct | None = None


@dataclass(frozen=True)
class Page:
    """One page: its header and where its payload lies."""

    header: Struct
    start: int
    stop: int
    place: Place
    codec: int
    physical_type: int
    root: str
    """The name of the column of the schema that it is part of."""

    @property
    def encoding(self) -> int | None:
        """The encoding of its values, as in parquet.thrift."""
        inner, at = ENCODING_FIELD.get(self.header[PAGE_TYPE], (0, 0))
        encoding: int | None = self.header.get(inner, {}).get(at)
        return encoding

    @property
    def is_data(self) -> bool:
        """Whether it holds values of rows, not a dictionary."""
        return self.header[PAGE_TYPE] in (DATA_PAGE, DATA_PAGE_V2)

    @property
    def is_raw(self) -> bool:
        """Whether the payload stands in the file as it is, so that a scan of the file's bytes has seen it."""
        return self.codec == 0 or self.header.get(PAGE_V2, {}).get(V2_IS_COMPRESSED) is False


@dataclass
class Layout:
    """What every byte of one file is for, and why some of it could not be told."""

    footer: Struct
    regions: list[Region] = field(default_factory=list)
    pages: list[Page] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    is_summary: bool = False
    """Whether the footer describes row groups of other files, as `_metadata` does."""


def looks_like_parquet(data: Bytes) -> bool:
    """Whether head or tail carry Parquet's magic, encrypted or not, whatever the name of the file."""
    return bytes(data[:4]) in (MAGIC, ENCRYPTED_MAGIC) or (
        len(data) >= 12 and bytes(data[-4:]) in (MAGIC, ENCRYPTED_MAGIC)
    )


def read_layout(data: Bytes) -> Layout:
    """Account for every byte of the Parquet file `data`.

    Raises BrokenStructError if there is no footer to go by. What is found wrong after that is in `problems`.
    """
    view = data.data
    if bytes(data[:4]) != MAGIC or bytes(data[-4:]) != MAGIC or len(data) < 12:
        raise BrokenStructError("starts or ends like a Parquet file, but not both: cut, overwritten or encrypted")
    length = int.from_bytes(view[-8:-4], "little")
    start = len(data) - 8 - length
    if start < 4:
        raise BrokenStructError("the footer is longer than the file")
    footer, end = read_struct(view, start)
    layout = Layout(footer)
    layout.regions.append(Region(0, 4, Place("magic")))
    layout.regions.append(Region(start, end, Place("footer"), footer))
    layout.regions.append(Region(len(data) - 8, len(data), Place("magic")))
    if FILE_ENCRYPTION in footer:
        layout.problems.append("the file is encrypted")
    for number, chunk in _chunks(footer):
        try:
            _read_chunk(view, chunk, number, layout)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            layout.problems.append(
                f"row group {number}: a column chunk cannot be followed ({type(error).__name__}: {error})"
            )
    layout.regions.sort(key=lambda region: region.start)
    _find_gaps(data, layout)
    return layout


def _chunks(footer: Struct) -> list[tuple[int, Struct]]:
    """Every column chunk with the number of its row group."""
    try:
        return [
            (number, chunk)
            for number, group in enumerate(footer[FILE_ROW_GROUPS])
            for chunk in group.get(GROUP_COLUMNS, [])
        ]
    except (AttributeError, KeyError, TypeError) as error:
        raise BrokenStructError("the footer is not that of a Parquet file") from error


def _read_chunk(view: memoryview, chunk: Struct, number: int, layout: Layout) -> None:
    if chunk.get(CHUNK_PATH):
        layout.is_summary = True
        return
    if CHUNK_ENCRYPTION in chunk or CHUNK_ENCRYPTED_METADATA in chunk or CHUNK_METADATA not in chunk:
        layout.problems.append(f"row group {number}: a column is encrypted or has no metadata")
        return
    meta = chunk[CHUNK_METADATA]
    name = b".".join(meta[META_NAME]).decode("utf-8", "backslashreplace")
    starts = [meta[at] for at in (META_DICTIONARY_PAGE, META_DATA_PAGE) if meta.get(at, 0) > 0]
    at = min(starts, default=4)  # a row group without rows has no pages
    stop = at + meta[META_COMPRESSED]
    if at < 4 or stop > len(view):
        raise BrokenStructError("it lies outside the file")
    while at < stop:
        header, payload = read_struct(view, at)
        page_stop = payload + header[PAGE_COMPRESSED]
        if header[PAGE_COMPRESSED] < 0 or page_stop > stop:
            raise BrokenStructError("a page is longer than its column chunk")
        what = "dictionary page" if header[PAGE_TYPE] == DICTIONARY_PAGE else "page"
        layout.regions.append(Region(at, payload, Place("page header", number, name), header))
        layout.regions.append(Region(payload, page_stop, Place(what, number, name)))
        place, root = Place(what, number, name), meta[META_NAME][0].decode("utf-8", "backslashreplace")
        layout.pages.append(Page(header, payload, page_stop, place, meta[META_CODEC], meta[META_TYPE], root))
        at = page_stop
    for what, offset, length in _INDEXES:
        if chunk.get(offset, 0) > 0:
            facts, _ = read_struct(view, chunk[offset])
            stop = chunk[offset] + chunk[length]
            layout.regions.append(Region(chunk[offset], stop, Place(what, number, name), facts))
    if META_BLOOM in meta:
        header, bits = read_struct(view, meta[META_BLOOM])
        layout.regions.append(Region(meta[META_BLOOM], bits, Place("bloom filter header", number, name), header))
        layout.regions.append(Region(bits, bits + header[BLOOM_BYTES], Place("bloom filter", number, name)))


def _find_gaps(data: Bytes, layout: Layout) -> None:
    """Bytes that nothing points at may be pages of an earlier state, and compressed; zeros are padding."""
    at = 0
    for region in [*layout.regions, Region(len(data), len(data), Place("end"))]:
        if region.start > at and data[at : region.start].any():
            copies = _column_metadata_copies(data.data[: region.start], at)
            layout.regions.extend(copies)
            if not copies:
                layout.problems.append(f"{region.start - at} bytes at {at} belong to no page, index or footer")
        at = max(at, region.stop)
    layout.regions.sort(key=lambda region: region.start)


def _column_metadata_copies(view: memoryview, at: int) -> list[Region]:
    """The ColumnMetaData that many writers repeat behind a column chunk, if the bytes from `at` on are just that."""
    copies = []
    try:
        while at < len(view):
            facts, stop = read_struct(view, at)
            if not {META_TYPE, META_NAME, META_CODEC, META_DATA_PAGE} <= facts.keys():
                return []
            copies.append(Region(at, stop, Place("column metadata"), facts))
            at = stop
    except BrokenStructError:
        return []
    return copies


def payloads(data: Bytes, pages: list[Page], problems: list[str]) -> Iterator[tuple[Page, Bytes]]:
    """Every page of `pages` whose payload is compressed, decompressed; what cannot be is added to `problems`."""
    for page in pages:
        if page.is_raw:
            continue
        name = CODECS.get(page.codec)
        where = f"row group {page.place.row_group}, column {page.place.column}"
        if name is None:
            problems.append(f"{where}: codec {page.codec} is not known")
            continue
        levels = page.header.get(PAGE_V2, {})
        plain = levels.get(V2_DEFINITIONS, 0) + levels.get(V2_REPETITIONS, 0)
        size = page.header[PAGE_UNCOMPRESSED] - plain
        if not 0 <= size <= LARGEST_PAGE:
            problems.append(f"{where}: a page says it has {size} bytes")
            continue
        packed = pa.py_buffer(data[page.start + plain : page.stop])
        try:
            yield (
                page,
                np.frombuffer(pa.Codec(name).decompress(packed, size), np.uint8) if size else np.zeros(0, np.uint8),
            )
        except (OSError, ValueError) as error:
            problems.append(f"{where}: a page does not decompress ({type(error).__name__})")
