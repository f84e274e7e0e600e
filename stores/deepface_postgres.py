"""DeepFace's PostgreSQL and pgvector tables: rows deleted, index built again, then every copy a server keeps destroyed.

After a DELETE a server still has the rows in dead tuples, in the write-ahead log, which it reuses unerased, in free
pages and in the samples of its planner. What is done about each was measured until no file held anything:
VACUUM FULL, statistics made anew, and segments of the log used up and removed instead of recycled.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import numpy as np
import numpy.typing as npt
import psycopg
import pyarrow as pa
from psycopg import sql

from schemas.errors import ConflictError, InputError
from stores import deepface_index, postgres_clean
from stores.contract import Inspect, Match, Positions, StoreFile
from stores.deepface_rows import AT_ONCE, NEEDED, Column, Kind, missing, to_batch
from stores.keys import KeySet
from stores.tables import StoreError, TableStore, reject

_TABLE, _INDEX = "embeddings", "embeddings_index"
_SETTINGS = "-c lock_timeout=10s -c timezone=UTC -c client_min_messages=error"
_KEYS_AT_ONCE = 65536
_KINDS = {
    "int2": Kind.INTEGER,
    "int4": Kind.INTEGER,
    "int8": Kind.INTEGER,
    "bool": Kind.BOOLEAN,
    "_float8": Kind.DOUBLES,
    "vector": Kind.FLOATS,
    "halfvec": Kind.FLOATS,
}

Connection = psycopg.Connection[tuple[Any, ...]]


class DeepFacePostgres(TableStore):
    """`path` is the URI that DeepFace was given, `key` the column that names a face, `table` one table if not all."""

    kind = "deepface"

    def __init__(self, path: str, key: str, table: str = "") -> None:
        self.uri, self.path, self.key, self.table = path, without_password(path), key, table

    def units(self) -> list[str]:
        """Every table with the columns DeepFace writes, as `schema.table`; its indexes go with their tables."""
        with self._connect() as db:
            found = db.execute(
                "SELECT n.nspname, c.relname, array_agg(a.attname::text) FROM pg_class c"
                " JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid"
                " WHERE c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped"
                " AND n.nspname NOT IN ('pg_catalog', 'information_schema') GROUP BY 1, 2 ORDER BY 1, 2"
            ).fetchall()
        named = [(f"{schema}.{table}", table, columns) for schema, table, columns in found]
        if self.table:
            named = [one for one in named if self.table in one[:2]]
        units = [name for name, _, columns in named if not missing(columns)]
        if not units:
            asked = f"no table {self.table!r} with" if self.table else "no table with"
            raise InputError(
                f"{self.path} has {asked} the columns of DeepFace ({', '.join(NEEDED)});"
                " write the URI that DeepFace.register was given, and table = only if there are several"
            )
        return units

    def size(self) -> int:
        """The tables with their indexes."""
        with self._connect() as db:
            sizes = [db.execute("SELECT pg_total_relation_size(%s::regclass)", (_text(one),)) for one in self.units()]
            return sum(int(_first(size)) for size in sizes)

    def identify(self, unit: str) -> StoreFile:
        """The table by the place and the writing transaction of every row, which any write changes."""
        with self._connect() as db:
            return _identify(db, unit)

    def find(self, unit: str, keys: KeySet) -> Positions:
        """The ids of the rows; reads two columns. No listed id is sent to the server, whose log might keep it."""
        with self._connect() as db:
            return self._find(db, unit, keys)

    def _find(self, db: Connection, unit: str, keys: KeySet) -> Positions:
        columns = _columns(db, unit)
        kinds = {column.name: column.kind for column in columns}
        if self.key not in kinds:
            raise InputError(
                f"DeepFace's table {unit} has no column {self.key!r}, it has {', '.join(kinds)};"
                ' write key = "img_name" or key = "id"'
            )
        found = [np.zeros(0, np.int64)]
        for rows in _read(db, unit, [Column("id", Kind.INTEGER), Column(self.key, kinds[self.key])], _KEYS_AT_ONCE):
            ids, names = zip(*rows, strict=True)
            found.append(np.array(ids, np.int64)[keys.contains(pa.array(names))])
        return (np.concatenate(found),)

    def delete(self, match: Match, keys: KeySet, inspect: Inspect | None) -> None:
        """Delete the rows and build again each index that holds one of them, in one transaction."""
        unit = match.file.path
        with self._connect() as db:
            _lock(db, unit)
            if _identify(db, unit) != match.file:
                raise ConflictError("the table changed since it was located: locate it again")
            (ids,) = self._find(db, unit, keys)
            if not np.array_equal(ids, match.positions[0]):
                raise ConflictError("the rows changed since they were located: locate them again")
            db.execute(_sql("DELETE FROM {} WHERE id = ANY(%s)", unit), (ids.tolist(),))
            _renew(db, unit)
            columns = _columns(db, unit)
            reject(inspect, (to_batch(columns, rows) for rows in _read(db, unit, columns, AT_ONCE)))

    def clean(self, unit: str) -> None:
        """Destroy dead rows, samples and segments of the log; needs a superuser, and the tables to itself meanwhile."""
        with self._connect() as db:
            _lock(db, unit)
            _renew(db, unit)
            tables = [unit] if (index := _index_of(db, unit)) is None else [unit, index]
        with self._connect(autocommit=True) as db:
            postgres_clean.clean(db, [_text(table) for table in tables])

    def pending(self, unit: str) -> bool:
        """Whether rows may have been deleted at any time: numbers are never used twice, so a gap tells of it."""
        with self._connect() as db:
            if _stale(db, unit):
                return True
            sequence = _first(db.execute("SELECT pg_get_serial_sequence(%s, 'id')", (_text(unit),)))
            used = _first(db.execute("SELECT pg_sequence_last_value(%s::regclass)", (sequence,))) if sequence else None
            rows = _first(db.execute(_sql("SELECT count(*) FROM {}", unit)))
            return used is not None and rows < used

    def beyond_reach(self) -> str | None:
        """Archives and replicas have the log, and with it the rows, for as long as they keep it."""
        with self._connect() as db:
            return postgres_clean.beyond_reach(db)

    @contextmanager
    def _connect(self, *, autocommit: bool = False) -> Iterator[Connection]:
        """A connection; without `autocommit` all is one transaction, and an error undoes it."""
        try:
            with psycopg.connect(self.uri, autocommit=autocommit, options=_SETTINGS, connect_timeout=10) as db:
                yield db
        except psycopg.Error as error:
            # The server's own words may quote a value.
            name = error.sqlstate or type(error).__name__
            raise StoreError(f"PostgreSQL cannot do this: {name}{_ADVICE.get(name, '')}") from None
        except (pa.ArrowException, ValueError) as error:
            raise StoreError(f"a table holds a value DeepFace does not write ({type(error).__name__})") from None


_ADVICE = {
    "OperationalError": ": the server cannot be reached, or the connection was lost; check `path`, then run this again",
    "55P03": ": somebody else holds the table: let them finish, then run this again",
    "57P01": ": the server is shutting down; run this again when it is back",
    "42501": ": the user of `path` may not; purging needs DELETE on the tables, cleaning a superuser",
    "28P01": ": the password is wrong; put it into PGPASSWORD or ~/.pgpass",
}


def without_password(uri: str) -> str:
    """A URI as it may be shown."""
    parts = urlsplit(uri)
    user, found, host = parts.netloc.rpartition("@")
    shown = f"{user.partition(':')[0]}{found}{host}"
    options = "&".join(one for one in parts.query.split("&") if not one.startswith(("password=", "sslpassword=")))
    return urlunsplit(parts._replace(netloc=shown, query=options))


def _identify(db: Connection, unit: str) -> StoreFile:
    place = _sql(
        "SELECT pg_relation_size(%s::regclass), pg_relation_filenode(%s::regclass), count(*),"
        " coalesce(sum(hashtextextended(ctid::text || ' ' || xmin::text, 0)), 0) FROM {}",
        unit,
    )
    size, file, rows, digest = db.execute(place, (_text(unit), _text(unit))).fetchone() or (0, 0, 0, 0)
    return StoreFile(unit, size, 0, f"{file} {digest}", rows)


def _columns(db: Connection, unit: str) -> list[Column]:
    found = db.execute(
        "SELECT a.attname, t.typname FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid"
        " WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
        (_text(unit),),
    )
    return [Column(name, Kind.PICTURE if name == "face" else _KINDS.get(kind, Kind.TEXT)) for name, kind in found]


def _read(db: Connection, unit: str, columns: list[Column], at_once: int) -> Iterator[list[tuple[Any, ...]]]:
    """The rows, in the order of their ids."""
    casts = {Kind.TEXT: "::text", Kind.FLOATS: "::real[]"}
    chosen = [sql.SQL("{}" + casts.get(column.kind, "")).format(sql.Identifier(column.name)) for column in columns]
    query = sql.SQL("SELECT {} FROM {} ORDER BY id").format(sql.SQL(", ").join(chosen), _identifier(unit))
    with db.cursor("lethe") as cursor:
        cursor.execute(query, binary=True)
        while rows := cursor.fetchmany(at_once):
            yield rows


def _lock(db: Connection, unit: str) -> None:
    """Keep other writers out until the end of the transaction; readers may go on."""
    for table in (unit, _index_of(db, unit)):
        if table is not None:
            db.execute(_sql("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", table))


def _index_of(db: Connection, unit: str) -> str | None:
    """The table of indexes that goes with one of embeddings; pgvector's tables have none."""
    schema, _, table = unit.rpartition(".")
    index = f"{schema}.{_INDEX}"
    found = table == _TABLE and _first(db.execute("SELECT to_regclass(%s)::text", (_text(index),)))
    return index if found else None


def _renew(db: Connection, unit: str) -> None:
    """Build stale indexes again, and drop those of nobody."""
    for index, row, ids, data, criteria in _stale(db, unit):
        if len(ids):
            built = deepface_index.build(data, ids, _vectors(db, unit, criteria))
            db.execute(_sql("UPDATE {} SET index_data = %s, updated_at = now() WHERE id = %s", index), (built, row))
        else:
            db.execute(_sql("DELETE FROM {} WHERE id = %s", index), (row,))


_Criteria = tuple[str, str, bool, bool]
_MATCHING = "model_name = %s AND detector_backend = %s AND aligned = %s AND l2_normalized = %s"


def _stale(db: Connection, unit: str) -> list[tuple[str, int, deepface_index.Ids, bytes, _Criteria]]:
    """The indexes that hold rows which are not there: table, row, the ids that are, the index, what it is of."""
    index = _index_of(db, unit)
    if index is None:
        return []
    stale = []
    columns = "id, index_data, model_name, detector_backend, align, l2_normalized"
    for row, data, *criteria in db.execute(_sql(f"SELECT {columns} FROM {{}}", index)).fetchall():
        query = _sql(f"SELECT id FROM {{}} WHERE {_MATCHING} ORDER BY id", unit)
        ids = np.array([one for (one,) in db.execute(query, criteria)], np.int64)
        if deepface_index.is_stale(bytes(data or b""), ids):
            stale.append((index, row, ids, bytes(data or b""), tuple(criteria)))
    return stale


def _vectors(db: Connection, unit: str, criteria: _Criteria) -> Iterator[npt.NDArray[np.float32]]:
    query = _sql(f"SELECT embedding FROM {{}} WHERE {_MATCHING} ORDER BY id", unit)
    with db.cursor("lethe_vectors") as cursor:
        cursor.execute(query, criteria, binary=True)
        while rows := cursor.fetchmany(1000):
            yield np.array([one for (one,) in rows], np.float64).astype(np.float32)


def _first(cursor: psycopg.Cursor[tuple[Any, ...]]) -> Any:  # noqa: ANN401 - what a query gives
    row = cursor.fetchone()
    return row[0] if row else None


def _identifier(unit: str) -> sql.Identifier:
    return sql.Identifier(*unit.split(".", 1))


def _text(unit: str) -> str:
    """A table's name as SQL writes it, quoted."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in unit.split(".", 1))


def _sql(text: str, unit: str) -> sql.Composed:
    return sql.SQL(text).format(_identifier(unit))
