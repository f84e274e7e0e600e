"""The indexes of a Lance table made anew, with the parameters they had, from the rows that are left."""

import os
from typing import Any

import lance
import pyarrow as pa

_SCALAR = {"BTree": "BTREE", "LabelList": "LABEL_LIST"}
"""Types whose name is not just that of the description in capitals."""


def rebuild_indices(table: lance.LanceDataset) -> tuple[str, ...]:
    """Make every index of `table` anew; one that cannot be is dropped. Returns what was dropped, and why.

    Compaction alone would carry over what was computed from all faces: centroids, codebooks and bounds. A
    dropped index costs speed and no answer: Lance searches all rows then.
    """
    # Statistics are asked for parameters; without this they would hold all centroids.
    os.environ.setdefault("LANCE_INCLUDE_VECTOR_CENTROIDS", "false")
    dropped = []
    for index in table.describe_indices():
        try:
            _rebuild(table, index)
        except (OSError, ValueError, RuntimeError, KeyError, TypeError, pa.ArrowException) as error:
            table.drop_index(index.name)
            dropped.append(
                f"index {index.name}: an index of this kind could not be built again of the rows that are left"
                f" ({type(error).__name__}); build it anew"
            )
    return tuple(dropped)


def _rebuild(table: lance.LanceDataset, index: Any) -> None:  # noqa: ANN401
    (column,) = index.field_names
    details = {name: value for name, value in index.details.items() if value is not None}
    if "metric_type" not in details:
        details.pop("document_granularity", None)
        kind = _SCALAR.get(index.index_type, index.index_type.upper())
        table.create_scalar_index(column, kind, index.name, replace=True, **details)
        return
    statistics = table.stats.index_stats(index.name)
    first = statistics["indices"][0]
    compression, graph = details.get("compression", {}), details.get("hnsw", {})
    options = {
        "num_partitions": first["num_partitions"],
        "num_sub_vectors": first["sub_index"].get("num_sub_vectors") or compression.get("num_sub_vectors"),
        "num_bits": compression.get("num_bits"),
        "m": graph.get("max_connections"),
        "ef_construction": graph.get("construction_ef"),
        "max_level": graph.get("max_level"),
    }
    table.create_index(
        column,
        statistics["index_type"],
        name=index.name,
        metric=details["metric_type"],
        replace=True,
        **{name: value for name, value in options.items() if value is not None},
    )
