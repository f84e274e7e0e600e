"""The surviving rows of one Parquet file written aside, and the check that nothing else changed.

One row group is in memory at a time. A row group keeps its place and loses its rows; one without rows
vanishes.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from stores.contract import Match
from stores.file_store import RewriteError
from stores.keys import KeySet, as_bytes
from stores.parquet_layout import Layout
from stores.parquet_locate import find_key, open_parquet, read_key
from stores.parquet_metadata import clean_pairs
from stores.parquet_physical import (
    bare_metadata,
    chunk_metadata_columns,
    key_value_pairs,
    leaves,
    parse_metadata,
    read_footer,
    transplant,
)
from stores.thrift import decode


@dataclass(frozen=True)
class _Plan:
    """The row groups that stay, and for each which of its rows do."""

    groups: list[int]
    keep: list[npt.NDArray[np.bool_]]

    @classmethod
    def of(cls, match: Match, metadata: pq.FileMetaData) -> "_Plan":
        groups, keep = [], []
        for group, hits in enumerate(match.positions):
            stays = np.ones(metadata.row_group(group).num_rows, bool)
            stays[hits] = False
            if stays.any():
                groups.append(group)
                keep.append(stays)
        return cls(groups, keep)


def write_survivors(match: Match, key: str, keys: KeySet, aside: Path) -> list[str]:
    """Write the file of `match` without its matched rows to `aside`; returns what the new file lacks.

    Raises RewriteError when the result does not pass the check, and what pyarrow raises for a file it cannot read.
    """
    path = Path(match.file.path)
    footer = decode(read_footer(path))
    metadata = bare_metadata(footer)
    columns = leaves(footer)
    plan = _Plan.of(match, metadata)
    layout = Layout.of(path, metadata)
    pairs, tainted = clean_pairs(key_value_pairs(footer), keys)

    reader = pq.ParquetFile(
        path,
        metadata=metadata,
        arrow_extensions_enabled=False,
        binary_type=pa.large_binary(),
        list_type=pa.LargeListType,
        pre_buffer=False,  # it would hold the encoded row group besides the decoded one
    )
    rows = max((int(stays.sum()) for stays in plan.keep), default=0)
    options = layout.writer_options(reader.schema_arrow, columns, key, rows)
    with pq.ParquetWriter(aside, reader.schema_arrow, **options) as writer:
        for group, stays in zip(plan.groups, plan.keep, strict=True):
            # No name for the table: one row group would stay in memory while the next is read.
            writer.write_table(
                _select(reader.read_row_group(group, use_threads=False), stays), row_group_size=int(stays.sum())
            )
    _check_columns(metadata, parse_metadata(read_footer(aside)))
    transplant(aside, footer, plan.groups, pairs)
    _check_rows(path, aside, match, plan, key, keys)

    lost = [f"key/value metadata {name}" for name in tainted]
    lost += [f"key/value metadata of column {columns[i].path}" for i in chunk_metadata_columns(footer)]
    if plan.groups:
        lost += layout.lost(Layout.of(aside, parse_metadata(read_footer(aside))), columns)
    return lost


def _select(table: pa.Table, stays: npt.NDArray[np.bool_]) -> pa.Table:
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


def _check_columns(old: pq.FileMetaData, new: pq.FileMetaData) -> None:
    """The bare columns must be laid out alike, or the old schema would not fit the new pages."""

    def levels(metadata: pq.FileMetaData) -> list[tuple[object, ...]]:
        columns = [metadata.schema.column(i) for i in range(metadata.num_columns)]
        return [
            (column.physical_type, column.length, column.max_definition_level, column.max_repetition_level)
            for column in columns
        ]

    if levels(old) != levels(new):
        raise RewriteError("the schema of the file cannot be written back as it is")


def _check_rows(path: Path, aside: Path, match: Match, plan: _Plan, key: str, keys: KeySet) -> None:
    """Read the new file back as anybody would: the same keys in the same order, but for those that were to go."""
    old, new = open_parquet(path), open_parquet(aside)
    column = find_key(old, path, key)
    counts = [new.metadata.row_group(i).num_rows for i in range(new.num_row_groups)]
    if counts != [int(stays.sum()) for stays in plan.keep] or sum(counts) + match.rows != match.file.rows:
        raise RewriteError("the rows of the new file and the removed ones do not add up to those of the old file")
    for number, (group, stays) in enumerate(zip(plan.groups, plan.keep, strict=True)):
        before, after = read_key(old, group, column), read_key(new, number, column)
        if not as_bytes(before.filter(pa.array(stays))).equals(as_bytes(after)):
            raise RewriteError("the keys of the new file are not those of the rows that were to stay")
        if not np.array_equal(keys.contains(before), ~stays):
            raise RewriteError("the removed rows are not those of the keys: locate the file again with this set")
