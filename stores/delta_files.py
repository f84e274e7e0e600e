"""The data files of a Delta table: those that a version lists, and what the log is told when one gives way to another.

Source: the Delta transaction protocol, https://github.com/delta-io/delta/blob/master/PROTOCOL.md (add, remove and
per-file statistics).
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable

from stores.delta_log import Action, now_ms
from stores.table_files import Rewritten, local_path
from stores.tables import StoreError

_LONGEST_BOUND = 64


@dataclass(frozen=True)
class Live:
    """One file of the current version: its path as the log spells it, and where it is."""

    path: str
    file: Path
    size: int
    partition: dict[str, Any]
    bounded: tuple[str, ...]
    """The columns whose smallest and largest value the log tells."""


def live_files(table: DeltaTable, root: Path) -> list[Live]:
    """The files of the version that `table` is at, in the order of their paths."""
    live = []
    for add in pa.table(table.get_add_actions(flatten=False)).to_pylist():
        path = add["path"]
        file = local_path(unquote(path)) if "://" in path else root / unquote(path)
        if not file.is_relative_to(root):
            raise StoreError("a data file of the table lies outside of its folder (a shallow clone?); copy it in first")
        bounded = tuple(name for name, value in (add.get("min") or {}).items() if value is not None)
        live.append(Live(path, file, add["size_bytes"], add.get("partition") or {}, bounded))
    return sorted(live, key=lambda one: one.path)


def swap_actions(old: Live, rewritten: Rewritten) -> Iterator[Action]:
    """What the log says about one file that went and its successor."""
    remove = {"path": old.path, "deletionTimestamp": now_ms(), "dataChange": True, "extendedFileMetadata": False}
    yield {"remove": remove}
    if rewritten.new is not None:
        status = rewritten.new.stat()
        yield {
            "add": {
                "path": "/".join([*old.path.split("/")[:-1], rewritten.new.name]),
                "partitionValues": {name: _partition_text(value) for name, value in old.partition.items()},
                "size": status.st_size,
                "modificationTime": status.st_mtime_ns // 1_000_000,
                "dataChange": True,
                "stats": json.dumps(_statistics(rewritten.new, old.bounded), ensure_ascii=False),
            }
        }


def _partition_text(value: object) -> str | None:
    """A partition value as the log spells it."""
    match value:
        case None:
            return None
        case bool():
            return str(value).lower()
        case str() | int():
            return str(value)
        case date() if type(value) is date:
            return value.isoformat()
        case _:
            raise StoreError(f"the table is partitioned by a {type(value).__name__}, which lethe cannot write back")


def _statistics(file: Path, bounded: tuple[str, ...]) -> dict[str, Any]:
    """Rows, and bounds and nulls of those columns that had bounds, from the rows that stay.

    Statistics are optional: a column of a type whose text form differs between writers has none any more.
    """
    with pq.ParquetFile(file) as reader:
        names = [name for name in bounded if name in reader.schema_arrow.names]
        table = reader.read(columns=names)
        rows = reader.metadata.num_rows
    least: dict[str, Any] = {}
    most: dict[str, Any] = {}
    nulls: dict[str, int] = {}
    for name in names:
        kind, column = table.schema.field(name).type, table[name]
        if not (pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            continue
        nulls[name] = column.null_count
        bounds = pc.min_max(column).as_py()
        if bounds["min"] is not None and max(len(str(bounds["min"])), len(str(bounds["max"]))) <= _LONGEST_BOUND:
            least[name], most[name] = bounds["min"], bounds["max"]
    return {"numRecords": rows, "minValues": least, "maxValues": most, "nullCount": nulls}
