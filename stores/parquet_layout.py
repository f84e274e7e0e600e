"""How the columns of a row group were written, so that they can be written the same way again."""

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stores.parquet_schema import Leaf
from stores.thrift import Struct, decode

_DICTIONARY = frozenset({"PLAIN_DICTIONARY", "RLE_DICTIONARY"})
_DELTA_OR_SPLIT = ("DELTA_BINARY_PACKED", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY", "BYTE_STREAM_SPLIT")
_CODEC_NAMES = {"UNCOMPRESSED": "NONE"}  # pyarrow reports a codec by one name and takes it by another
_HEADER_BYTES = 1 << 16
_FALSE_POSITIVES = 0.01  # of a rebuilt bloom filter; the rate is not recorded in the file
_DATA_PAGE_V2 = 3


@dataclass(frozen=True)
class ColumnLayout:
    """How one column chunk was written; `encoding` is that of the values, `DICTIONARY` wins where pages differ."""

    codec: str
    encoding: str
    statistics: bool
    bloom_filter: bool


@dataclass(frozen=True)
class Layout:
    """How a row group was written. Compression levels and page sizes are not recorded: pyarrow's are used."""

    columns: tuple[ColumnLayout, ...]
    page_index: bool
    page_version: str
    page_checksums: bool
    first_dictionary_form: bool
    """Dictionary pages are marked in the way of format version 1, as older writers do."""

    @classmethod
    def of(cls, path: Path, group: pq.RowGroupMetaData) -> "Layout":
        """The layout of a row group of the file at `path`, from its metadata and its first page header."""
        chunks = [group.column(i) for i in range(group.num_columns)]
        header = _first_page_header(path, chunks)
        return cls(
            columns=tuple(_column_layout(chunk) for chunk in chunks),
            page_index=any(chunk.has_offset_index for chunk in chunks),
            page_version="2.0" if header.integer(1) == _DATA_PAGE_V2 else "1.0",
            page_checksums=4 in header,
            first_dictionary_form=any("PLAIN_DICTIONARY" in chunk.encodings for chunk in chunks),
        )

    def writer_options(self, schema: pa.Schema, leaves: list[Leaf], key: str, rows: int) -> dict[str, Any]:
        """Arguments of `pyarrow.parquet.ParquetWriter` for `rows` rows of `schema`, read bare."""
        paths = _written_paths(schema)
        columns = list(zip(paths, self.columns, leaves, strict=True))
        options: dict[str, Any] = {
            "version": "1.0" if self.first_dictionary_form and not _has_uint32(schema) else "2.6",
            "store_schema": False,
            "compression": {path: _CODEC_NAMES.get(column.codec, column.codec) for path, column, _ in columns},
            "use_dictionary": [path for path, column, _ in columns if column.encoding == "DICTIONARY"],
            "column_encoding": {
                path: column.encoding for path, column, _ in columns if column.encoding != "DICTIONARY"
            },
            "write_statistics": [
                path
                for path, column, leaf in columns
                if column.statistics and leaf.ordered and (leaf.path == key or not leaf.opaque)
            ],
            "write_page_index": self.page_index,
            "data_page_version": self.page_version,
            "write_page_checksum": self.page_checksums,
        }
        blooms = [path for path, column, _ in columns if column.bloom_filter]
        if blooms:
            options["bloom_filter_options"] = {path: {"ndv": max(rows, 1), "fpp": _FALSE_POSITIVES} for path in blooms}
        return options

    def lost(self, new: "Layout", leaves: list[Leaf]) -> list[str]:
        """What the `new` row group does not have or has otherwise, one phrase a finding."""
        found = []
        for leaf, old_column, new_column in zip(leaves, self.columns, new.columns, strict=True):
            if old_column.codec != new_column.codec:
                found.append(f"codec {old_column.codec} of {leaf.path}, now {new_column.codec}")
            if old_column.encoding != new_column.encoding:
                found.append(f"encoding {old_column.encoding} of {leaf.path}, now {new_column.encoding}")
            if old_column.statistics and not new_column.statistics:
                found.append(f"statistics of {leaf.path}")
            if old_column.bloom_filter and not new_column.bloom_filter:
                found.append(f"bloom filter of {leaf.path}")
        return found


def _column_layout(chunk: pq.ColumnChunkMetaData) -> ColumnLayout:
    return ColumnLayout(
        codec=chunk.compression,
        encoding=_value_encoding(chunk),
        statistics=chunk.is_stats_set,
        bloom_filter=chunk.bloom_filter_offset is not None,
    )


def _value_encoding(chunk: pq.ColumnChunkMetaData) -> str:
    encodings = set(chunk.encodings)
    if encodings & _DICTIONARY:
        return "DICTIONARY"
    for encoding in _DELTA_OR_SPLIT:
        if encoding in encodings:
            return encoding
    # RLE is how levels are written, too: of values it speaks only where no other encoding does.
    if "PLAIN" not in encodings and "RLE" in encodings and chunk.physical_type == "BOOLEAN":
        return "RLE"
    return "PLAIN"


def _first_page_header(path: Path, chunks: list[pq.ColumnChunkMetaData]) -> Struct:
    with path.open("rb") as file:
        for chunk in chunks:
            if chunk.num_values:
                header = os.pread(file.fileno(), _HEADER_BYTES, chunk.data_page_offset)
                return decode(header)
    return Struct()


def _written_paths(schema: pa.Schema) -> list[str]:
    """The dotted column paths pyarrow gives to the columns of `schema`."""
    sink = io.BytesIO()
    pq.ParquetWriter(sink, schema, store_schema=False).close()
    columns = pq.read_metadata(sink).schema
    return [columns.column(i).path for i in range(len(columns))]


def _has_uint32(schema: pa.Schema) -> bool:
    # Format version 1 has pyarrow widen them to 64 bits.
    return any("uint32" in str(field.type) for field in schema)
