"""Rows of DeepFace's PostgreSQL and pgvector tables, and the copies that a server makes of what is in them."""

import struct
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from schemas.postgres import Connection, compose, first, identifier, quoted
from stores.audit import pglz
from stores.audit.deepface_rows import AT_ONCE, PICTURE, hashes, to_batch

_TYPES = {
    "int2": pa.int64(),
    "int4": pa.int64(),
    "int8": pa.int64(),
    "bool": pa.bool_(),
    "_float8": pa.list_(pa.float64()),
    "vector": pa.list_(pa.float32()),
    "halfvec": pa.list_(pa.float32()),
}
_FLOAT8 = 701

TABLE = b"table"
"""The key in the metadata of rows under which their table is named."""

PACKED = "pg_column_compression(embedding) = 'pglz'"
"""The condition for rows whose vector the server keeps compressed."""


def schema_of(db: Connection, unit: str) -> pa.Schema:
    """The columns of a table; the metadata says under TABLE which it is."""
    columns = db.execute(
        "SELECT attname, typname FROM pg_attribute JOIN pg_type t ON t.oid = atttypid"
        " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        (quoted(unit),),
    )
    fields = [(name, PICTURE if name == "face" else _TYPES.get(kind, pa.string())) for name, kind in columns]
    return pa.schema(fields, metadata={TABLE: unit.encode()})


def read_rows(db: Connection, unit: str, schema: pa.Schema, condition: str) -> Iterator[pa.RecordBatch]:
    """The rows of a table, in the order or number that `condition` asks for."""
    casts = {pa.string(): "::text", pa.list_(pa.float32()): "::real[]"}
    columns = sql.SQL(", ").join(
        [sql.Composed([sql.Identifier(one.name), sql.SQL(casts.get(one.type, ""))]) for one in schema]
    )
    query = sql.SQL("SELECT {} FROM {} " + condition).format(columns, identifier(unit))
    with db.transaction(), db.cursor("lethe_audit") as cursor:
        cursor.execute(query, binary=True)
        while rows := cursor.fetchmany(AT_ONCE):
            yield to_batch(schema, rows)


def copies_of(db: Connection, batch: pa.RecordBatch) -> list[pa.Array]:
    """The hashes of rows, the vectors as an index by cosine holds them, and those the server keeps compressed."""
    unit = (batch.schema.metadata or {})[TABLE].decode()
    vectors = batch.column("embedding")
    found = hashes(batch)
    query = f"SELECT id FROM {{}} WHERE id = ANY(%s) AND {PACKED}"
    ids = db.execute(compose(query, unit), (batch.column("id").to_pylist(),)).fetchall()
    if ids:
        packed = vectors.filter(pc.is_in(batch.column("id"), pa.array([one for (one,) in ids], pa.int64())))
        found.append(pa.array([_compressed(one) for one in packed], pa.large_binary()))
    if _has_cosine_index(db, unit):
        found.append(_unit_length(vectors))
    return found


def _compressed(vector: pa.Scalar) -> bytes | None:
    """An array, or a pgvector, of a row as pglz leaves it: its own header, then the elements."""
    values = vector.values.to_numpy()
    if values.dtype == np.float64:
        header = struct.pack("<iiIii", 1, 0, _FLOAT8, len(values), 1)
    else:
        header = struct.pack("<hh", len(values), 0)
    return pglz.compress(header + values.tobytes())


def _has_cosine_index(db: Connection, unit: str) -> bool:
    query = (
        "SELECT count(*) FROM pg_index i JOIN pg_opclass o ON o.oid = ANY(i.indclass::oid[])"
        " WHERE i.indrelid = %s::regclass AND o.opcname LIKE '%%cosine_ops'"
    )
    return bool(first(db, query, (quoted(unit),)))


def _unit_length(vectors: pa.Array) -> pa.Array:
    """Each vector as pgvector scales it: divided by its length in double precision, kept in single."""
    scaled: list[npt.NDArray[np.float32]] = []
    for vector in vectors.drop_null():
        values = vector.values.to_numpy().astype(np.float32).astype(np.float64)
        scaled.append((values / (np.sqrt(np.square(values).sum()) or 1)).astype(np.float32))
    return pa.array(scaled, pa.list_(pa.float32()))
