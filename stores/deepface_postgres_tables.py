"""DeepFace's tables on a PostgreSQL server, within a transaction of the caller's: their columns, rows and indexes."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from psycopg import sql

from schemas.postgres import Connection, compose, first, identifier, quoted
from stores import deepface_index
from stores.contract import StoreFile
from stores.deepface_index import Criteria, Stale
from stores.deepface_rows import INDEX, TABLE, Column, Kind

_KINDS = {
    "int2": Kind.INTEGER,
    "int4": Kind.INTEGER,
    "int8": Kind.INTEGER,
    "bool": Kind.BOOLEAN,
    "_float8": Kind.DOUBLES,
    "vector": Kind.FLOATS,
    "halfvec": Kind.FLOATS,
}
_MATCHING = deepface_index.matching("%s")


def identify(db: Connection, unit: str) -> StoreFile:
    """A table by the place and the writing transaction of every row, which any write changes."""
    place = compose(
        "SELECT pg_relation_size(%s::regclass), pg_relation_filenode(%s::regclass), count(*),"
        " coalesce(sum(hashtextextended(ctid::text || ' ' || xmin::text, 0)), 0) FROM {}",
        unit,
    )
    size, file, rows, digest = db.execute(place, (quoted(unit), quoted(unit))).fetchone() or (0, 0, 0, 0)
    return StoreFile(unit, size, 0, f"{file} {digest}", rows)


def read_columns(db: Connection, unit: str) -> list[Column]:
    """The columns of a table, in its order."""
    found = db.execute(
        "SELECT a.attname, t.typname FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid"
        " WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
        (quoted(unit),),
    )
    return [Column(name, Kind.PICTURE if name == "face" else _KINDS.get(kind, Kind.TEXT)) for name, kind in found]


def read_rows(db: Connection, unit: str, columns: list[Column], at_once: int) -> Iterator[list[tuple[Any, ...]]]:
    """The rows, in the order of their ids."""
    casts = {Kind.TEXT: "::text", Kind.FLOATS: "::real[]"}
    chosen = [sql.SQL("{}" + casts.get(column.kind, "")).format(sql.Identifier(column.name)) for column in columns]
    query = sql.SQL("SELECT {} FROM {} ORDER BY id").format(sql.SQL(", ").join(chosen), identifier(unit))
    with db.cursor("lethe") as cursor:
        cursor.execute(query, binary=True)
        while rows := cursor.fetchmany(at_once):
            yield rows


def lock(db: Connection, unit: str) -> None:
    """Keep other writers out until the end of the transaction; readers may go on."""
    for table in (unit, index_of(db, unit)):
        if table is not None:
            db.execute(compose("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", table))


def index_of(db: Connection, unit: str) -> str | None:
    """The table of indexes that goes with one of embeddings; pgvector's tables have none."""
    schema, _, table = unit.rpartition(".")
    index = f"{schema}.{INDEX}"
    found = table == TABLE and first(db, "SELECT to_regclass(%s)::text", (quoted(index),))
    return index if found else None


def renew(db: Connection, unit: str) -> None:
    """Build stale indexes again, and drop those of nobody."""
    index = index_of(db, unit)
    if index is None:
        return
    for old in find_stale(db, unit):
        if len(old.ids):
            built = deepface_index.build(old.data, old.ids, _vectors(db, unit, old.criteria))
            db.execute(
                compose("UPDATE {} SET index_data = %s, updated_at = now() WHERE id = %s", index), (built, old.row)
            )
        else:
            db.execute(compose("DELETE FROM {} WHERE id = %s", index), (old.row,))


def find_stale(db: Connection, unit: str) -> list[Stale]:
    """The indexes that hold rows which are not there."""
    index = index_of(db, unit)
    if index is None:
        return []
    kept = db.execute(compose(f"SELECT {deepface_index.COLUMNS} FROM {{}}", index)).fetchall()
    ids = compose(f"SELECT id FROM {{}} WHERE {_MATCHING} ORDER BY id", unit)
    return deepface_index.find_stale(kept, lambda criteria: db.execute(ids, criteria))


def _vectors(db: Connection, unit: str, criteria: Criteria) -> Iterator[npt.NDArray[np.float32]]:
    query = compose(f"SELECT embedding FROM {{}} WHERE {_MATCHING} ORDER BY id", unit)
    with db.cursor("lethe_vectors") as cursor:
        cursor.execute(query, criteria, binary=True)
        while rows := cursor.fetchmany(1000):
            yield np.array([one for (one,) in rows], np.float64).astype(np.float32)
