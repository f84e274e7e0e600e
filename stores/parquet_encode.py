"""Columns of one row group decoded, filtered and encoded by pyarrow, in the layout that they had."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from stores.parquet_layout import Layout
from stores.parquet_physical import bare_metadata
from stores.parquet_schema import Leaf
from stores.thrift import Struct, decode

Rows = npt.NDArray[np.bool_]
"""Which rows of a row group stay, shape `(rows,)`."""

_BATCH_BYTES = 32 << 20
_TAIL = 8


class LayoutError(ValueError):
    """pyarrow does not write the columns back in the shape they have."""


class Decoder:
    """The file at `path` read by its physical types, some top-level fields at a time."""

    def __init__(self, path: Path, footer: Struct, bits: bool = False) -> None:
        self._path, self._footer, self._bits = path, footer, bits
        self._readers: dict[tuple[int, ...], pq.ParquetFile] = {}

    def reader(self, roots: tuple[int, ...]) -> pq.ParquetFile:
        """A reader of these top-level fields."""
        if roots not in self._readers:
            self._readers[roots] = pq.ParquetFile(
                self._path,
                metadata=bare_metadata(self._footer, roots, self._bits),
                arrow_extensions_enabled=False,
                binary_type=pa.large_binary(),
                list_type=pa.LargeListType,
                pre_buffer=False,  # it would hold the encoded columns besides the decoded ones
            )
        return self._readers[roots]

    def read(self, group: int, roots: tuple[int, ...]) -> pa.Table:
        """The fields of one row group."""
        return self.reader(roots).read_row_group(group, use_threads=False)


def batches(roots: list[tuple[int, int]]) -> Iterator[tuple[int, ...]]:
    """Top-level fields, each with its size decoded, in batches of about `_BATCH_BYTES`."""
    batch: list[int] = []
    total = 0
    for root, size in roots:
        if batch and total + size > _BATCH_BYTES:
            yield tuple(batch)
            batch, total = [], 0
        batch.append(root)
        total += size
    if batch:
        yield tuple(batch)


def encode_rows(
    decoder: Decoder, path: Path, leaves: list[Leaf], key: str, group: int, roots: tuple[int, ...], stays: Rows
) -> tuple[pa.Buffer, Struct]:
    """A Parquet file in memory of one row group: the rows of `group` that stay, the fields `roots`; and its footer.

    Raises LayoutError when pyarrow writes another shape, and what it raises for columns it cannot read.
    """
    reader = decoder.reader(roots)
    layout = Layout.of(path, reader.metadata.row_group(group))
    rows = int(stays.sum())
    sink = pa.BufferOutputStream()
    options = layout.writer_options(reader.schema_arrow, [leaf for leaf in leaves if leaf.root in roots], key, rows)
    with pq.ParquetWriter(sink, reader.schema_arrow, **options) as writer:
        writer.write_table(select(decoder.read(group, roots), stays), row_group_size=rows)
    content = sink.getvalue()
    if _levels(reader.metadata) != _levels(pq.read_metadata(pa.BufferReader(content))):
        raise LayoutError("the schema of the file cannot be written back as it is")
    size = int.from_bytes(content.slice(content.size - _TAIL, 4).to_pybytes(), "little")
    return content, decode(content.slice(content.size - _TAIL - size, size).to_pybytes())


def select(table: pa.Table, stays: Rows) -> pa.Table:
    """The rows of `table` that stay."""
    if stays.all():
        return table
    mask = pa.array(stays)
    return pa.table([_filter(column, mask) for column in table.columns], schema=table.schema)


def _filter(column: pa.ChunkedArray, mask: pa.Array) -> pa.ChunkedArray | pa.Array:
    if column.num_chunks == 1 and pa.types.is_large_list(column.type):
        lists = column.chunk(0)
        width = _constant_length(lists)
        if width:
            # Several times faster than the filter of lists, which goes through the offsets row by row.
            rows = pa.FixedSizeListArray.from_arrays(lists.flatten(), width).filter(mask)
            offsets = np.arange(len(rows) + 1) * width
            return pa.LargeListArray.from_arrays(pa.array(offsets), rows.flatten(), type=column.type)
    return column.filter(mask)


def _constant_length(lists: pa.Array) -> int:
    """How many values each list has; 0 when they differ, when there are nulls or when all are empty."""
    if lists.null_count or not len(lists):
        return 0
    lengths = np.diff(lists.offsets.to_numpy())
    return int(lengths[0]) if (lengths == lengths[0]).all() else 0


def _levels(metadata: pq.FileMetaData) -> list[tuple[object, ...]]:
    """How the columns are laid out: the old schema fits the new pages only if this is the same."""
    columns = [metadata.schema.column(i) for i in range(metadata.num_columns)]
    return [
        (column.physical_type, column.length, column.max_definition_level, column.max_repetition_level)
        for column in columns
    ]
