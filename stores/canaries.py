"""Canaries: rows of synthetic people, written into a store where an erasure fails first.

    canaries-only part    every row of it is to go
    mixed part            first row, last row, the smallest and the largest key and value, a null, and between them
                          bystanders: synthetic too, on no manifest, so that there is somebody to spare

A part is a Parquet file, a fragment or version of a table, or rows side by side in a database. In Parquet, statistics,
page indexes and dictionaries of texts are written, since they are what a careless rewrite keeps.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import InputError
from schemas.files import replacing
from schemas.job import StoreSection
from schemas.s3 import SCHEME
from stores.audit.arrays import is_binary, is_list, is_text
from stores.audit.control import ROWS, synthetic_rows
from stores.audit.fingerprints import is_vector_column
from stores.parquet_inventory import list_files

LARGEST = 6.0e4
"""Within the range of half floats, and beyond any element of an embedding."""


@dataclass(frozen=True)
class Planting:
    """What is to be planted in one store: `rows` of canaries and bystanders, the places they go to, and how."""

    places: tuple[str, ...]
    rows: pa.Table
    write: Callable[[], None]


def plan_canaries(store: StoreSection, keys: Sequence[str], token: str) -> Planting:
    """What to plant in `store`, whose paths are absolute: a row for each of `keys`, and bystanders.

    Raises InputError, with the reason, for a store that canaries cannot be planted in.
    """
    match store.kind:
        case "parquet" if not store.path.startswith(SCHEME):
            return _plan_parquet(store, keys, token)
        case "lance":
            from stores.canary_databases import plan_lance as plan
        case "delta":
            from stores.canary_databases import plan_delta as plan
        case "deepface" if "://" not in store.path:
            from stores.canary_databases import plan_deepface as plan
        case "faiss":
            from stores.canary_faiss import plan_faiss as plan
        case _:
            where = " on a server" if "://" in store.path else ""
            raise InputError(
                f"canaries are not written into stores of kind {store.kind!r}{where} by lethe; "
                "insert rows with the ids of canaries.json by the store's own software"
            )
    return plan(store, keys, token)


def _plan_parquet(store: StoreSection, keys: Sequence[str], token: str) -> Planting:
    """Two new files next to the others, each written whole or not at all."""
    sample = list_files(store.path).files[0]
    with pq.ParquetFile(sample) as file:
        schema, batch = file.schema_arrow, next(file.iter_batches(ROWS), None)
    parts = draw_rows(schema, store.key, batch, keys, token)
    files = [sample.parent / f"canaries-{token}-{name}.parquet" for name in ("alone", "mixed")]

    def write() -> None:
        for path, table in zip(files, parts, strict=True):
            texts = [field.name for field in table.schema if is_text(field.type)]
            with replacing(path) as aside:
                pq.write_table(table, aside, use_dictionary=texts, write_page_index=True, row_group_size=ROWS)

    return Planting(tuple(map(str, files)), pa.concat_tables(parts), write)


def draw_rows(
    schema: pa.Schema, key: str, sample: pa.RecordBatch | None, keys: Sequence[str], token: str
) -> tuple[pa.Table, pa.Table]:
    """Synthetic rows in `schema`: half of the canaries alone, and the other half around bystanders.

    Vectors are as long as those of `sample`. Raises InputError if `key` is no column of texts, or there are too few or
    too many `keys`.
    """
    if key not in schema.names or not _holds_text(schema.field(key).type):
        raise InputError(f"its key column {key!r} holds no text, so no id of a canary fits into it")
    if len(keys) < 4 or len(keys) > ROWS:
        raise InputError(f"{len(keys)} canaries were asked for; 4 to {ROWS} are planted in a store")
    people = synthetic_rows(schema, key, sample)
    half = len(keys) // 2
    alone = _with_keys(people.slice(0, half), key, keys[:half])
    spared = [f"bystander-{token}-{number:03d}" for number in range(ROWS - len(keys))]
    mixed = _with_keys(people.slice(half), key, [keys[half], *spared, *keys[half + 1 :]])
    return alone, _with_extremes(mixed, key, len(keys) - half - 1)


def _holds_text(kind: pa.DataType) -> bool:
    return _holds_text(kind.value_type) if pa.types.is_dictionary(kind) else is_text(kind)


def _with_keys(rows: pa.Table, key: str, keys: Sequence[str]) -> pa.Table:
    place = rows.schema.get_field_index(key)
    return rows.set_column(place, rows.schema.field(place), pa.array(keys).cast(rows.schema.field(place).type))


def _with_extremes(rows: pa.Table, key: str, canaries_at_end: int) -> pa.Table:
    """The first row with the smallest of all values, the last with the largest, the one before it without any."""
    for place, field in enumerate(rows.schema):
        if field.name == key or not is_vector_column(field.type):
            continue
        values = rows.column(place).to_pylist()
        values[0], values[-1] = _extreme(values[0], field.type, True), _extreme(values[-1], field.type, False)
        # Arrow writes a Parquet file with a null in a fixed-size list, and cannot read it again.
        if field.nullable and canaries_at_end > 1 and not pa.types.is_fixed_size_list(field.type):
            values[-2] = None
        rows = rows.set_column(place, field, pa.array(values, field.type))
    return rows


def _extreme(value: object, kind: pa.DataType, least: bool) -> object:
    """`value` with its first element, or byte, smaller or larger than any other's; the rest stays random."""
    if isinstance(value, bytes):
        return (b"\x00\x00" if least else b"\xff\xff") + value[2:]
    if isinstance(value, list) and is_list(kind) and pa.types.is_floating(kind.value_type):
        return [-LARGEST if least else LARGEST, *value[1:]]
    return value


def vector_forms(rows: pa.RecordBatch, key: str) -> list[pa.Array]:
    """Forms of the vectors that a store's files may keep besides its own: big-endian floats and hexadecimal text."""
    forms = []
    for field, column in zip(rows.schema, rows.columns, strict=True):
        if field.name == key or not is_vector_column(field.type):
            continue
        if is_list(field.type) and pa.types.is_floating(field.type.value_type):
            vectors = [np.asarray(one) for one in column.drop_null().to_pylist()]
            raw = [one.astype("<f4").tobytes() for one in vectors]
            forms += [pa.array([one.astype(width).tobytes() for one in vectors]) for width in (">f4", ">f8")]
        elif is_binary(field.type) or pa.types.is_fixed_size_binary(field.type):
            raw = column.drop_null().to_pylist()
        else:
            continue
        forms.append(pa.array([one.hex().encode() for one in raw], pa.binary()))
    return forms


def are_same(found: pa.Table, wanted: pa.Table, key: str) -> bool:
    """Whether two tables hold the same rows, in whatever order."""
    return bool(found.sort_by(key).to_pylist() == wanted.sort_by(key).to_pylist())
