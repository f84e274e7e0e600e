"""The positive control of DeepFace's PostgreSQL tables: random people in a table of their own, by the same server."""

import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from schemas.postgres import Connection, compose, identifier
from stores.audit.baseline import Copies
from stores.audit.check import view_file
from stores.audit.control import ROWS, Control, look_for, synthetic_rows
from stores.audit.deepface_postgres_rows import PACKED, TABLE, read_rows, schema_of
from stores.audit.postgres_server import files_of
from stores.audit.rows import Rows

_PIXELS = 4096


def plant_and_look(db: Connection, folder: Path, unit: str, key_column: str, key: bytes, copies: Copies) -> Control:
    """Make a table like `unit`, look for its rows in its files below the data directory `folder`, and drop it.

    `copies` are those of a batch of rows, see `copies_of`; `key` is that of the fingerprints.
    """
    planted = f"{unit.partition('.')[0]}.lethe_control_{uuid.uuid4().hex}"
    schema = schema_of(db, unit)
    # The number of a row names nobody once the row is gone, and is not sought: names are, in its place.
    name = key_column if pa.types.is_string(schema.field(key_column).type) else "img_name"
    table = _synthetic(schema, name, next(read_rows(db, unit, schema, f"LIMIT {ROWS}"), None))
    table = table.replace_schema_metadata({TABLE: planted.encode()})
    try:
        db.execute(compose("CREATE TABLE {} (LIKE {} INCLUDING ALL)", planted, unit))
        _plant(db, planted, table)
        db.execute("CHECKPOINT")
        places = [view_file(folder / path) for path in files_of(db, planted)]
        rows = Rows("", table.schema, iter(table.to_batches()))
        return look_for(rows, name, places, key, copies, packed=True)
    finally:
        db.execute(compose("DROP TABLE IF EXISTS {}", planted))


def _synthetic(schema: pa.Schema, name: str, sample: pa.RecordBatch | None) -> pa.Table:
    """Random people: vectors of single precision, as models give them, whatever the column holds them in."""
    table = synthetic_rows(schema, name, sample)
    random = np.random.default_rng()
    for place, field in enumerate(schema):
        column = None
        if field.name == "id":
            column = pa.array(range(1, ROWS + 1), field.type)
        elif field.name in ("face_hash", "embedding_hash"):
            column = pa.array([random.bytes(32).hex() for _ in range(ROWS)])
        elif field.type == pa.list_(pa.float64()):
            column = table.column(place).cast(pa.list_(pa.float32())).cast(field.type)
        elif field.name in ("model_name", "detector_backend"):
            column = pa.array(["control"] * ROWS)
        if column is not None and field.name != name:
            table = table.set_column(place, field, column)
    return table


def _plant(db: Connection, planted: str, table: pa.Table) -> None:
    """Insert the rows, and what DeepFace's index has of those that are kept in compressed form only: singles."""
    random = np.random.default_rng()
    singles = table.schema.field("embedding").type == pa.list_(pa.float32())
    for row in table.to_pylist():
        embedding = str(row["embedding"]) if singles else row["embedding"]
        _insert(db, planted, {**row, "face": random.bytes(_PIXELS), "embedding": embedding})
    packed = db.execute(compose(f"SELECT id FROM {{}} WHERE {PACKED}", planted)).fetchall()
    if packed:
        kept = table.filter(pc.is_in(table["id"], pa.array([one for (one,) in packed], pa.int64())))
        index = np.array(kept["embedding"].to_pylist(), np.float32).tobytes()
        other = {name: random.bytes(32).hex() for name in ("face_hash", "embedding_hash")}
        _insert(db, planted, {**kept.to_pylist()[0], **other, "id": ROWS + 1, "face": index})


def _insert(db: Connection, table: str, row: dict[str, Any]) -> None:
    values = {name: value for name, value in row.items() if value is not None} | {"face_shape": [1, 1, 1]}
    names = sql.SQL(", ").join(map(sql.Identifier, values))
    marks = sql.SQL(", ").join([sql.Placeholder()] * len(values))
    query = sql.SQL("INSERT INTO {} ({}) VALUES ({})")
    db.execute(query.format(identifier(table), names, marks), tuple(values.values()))
