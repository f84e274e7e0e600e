"""DeepFace's PostgreSQL and pgvector tables: rows deleted, index built again, then every copy a server keeps destroyed.

After a DELETE a server still has the rows in dead tuples, in the write-ahead log, which it reuses unerased, in free
pages and in the samples of its planner. What is done about each was measured until no file held anything:
VACUUM FULL, statistics made anew, and segments of the log used up and removed instead of recycled.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

import numpy as np
import psycopg
import pyarrow as pa

from schemas.errors import ConflictError, InputError
from schemas.postgres import Connection, compose, first, name_of, quoted
from stores import postgres_clean
from stores.contract import Inspect, Match, Positions, StoreFile
from stores.deepface_postgres_tables import find_stale, identify, index_of, lock, read_columns, read_rows, renew
from stores.deepface_rows import (
    AT_ONCE,
    KEYS_AT_ONCE,
    NEEDED,
    Column,
    Kind,
    find_ids,
    missing,
    refuse_unknown_key,
    to_batch,
)
from stores.keys import KeySet
from stores.tables import StoreError, TableStore, reject

_SETTINGS = "-c lock_timeout=10s -c timezone=UTC -c client_min_messages=error"


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
            query = "SELECT pg_total_relation_size(%s::regclass)"
            return sum(int(first(db, query, (quoted(unit),))) for unit in self.units())

    def identify(self, unit: str) -> StoreFile:
        """The table by the place and the writing transaction of every row, which any write changes."""
        with self._connect() as db:
            return identify(db, unit)

    def find(self, unit: str, keys: KeySet) -> Positions:
        """The ids of the rows; reads two columns. No listed id is sent to the server, whose log might keep it."""
        with self._connect() as db:
            return self._find(db, unit, keys)

    def _find(self, db: Connection, unit: str, keys: KeySet) -> Positions:
        kinds = {column.name: column.kind for column in read_columns(db, unit)}
        refuse_unknown_key(unit, self.key, kinds)
        two = [Column("id", Kind.INTEGER), Column(self.key, kinds[self.key])]
        return (find_ids(read_rows(db, unit, two, KEYS_AT_ONCE), keys),)

    def delete(self, match: Match, keys: KeySet, inspect: Inspect | None) -> None:
        """Delete the rows and build again each index that holds one of them, in one transaction."""
        unit = match.file.path
        with self._connect() as db:
            lock(db, unit)
            if identify(db, unit) != match.file:
                raise ConflictError("the table changed since it was located: locate it again")
            (ids,) = self._find(db, unit, keys)
            if not np.array_equal(ids, match.positions[0]):
                raise ConflictError("the rows changed since they were located: locate them again")
            db.execute(compose("DELETE FROM {} WHERE id = ANY(%s)", unit), (ids.tolist(),))
            renew(db, unit)
            columns = read_columns(db, unit)
            reject(inspect, (to_batch(columns, rows) for rows in read_rows(db, unit, columns, AT_ONCE)))

    def clean(self, unit: str) -> None:
        """Destroy dead rows, samples and segments of the log; needs a superuser, and the tables to itself meanwhile."""
        with self._connect() as db:
            lock(db, unit)
            renew(db, unit)
            tables = [unit] if (index := index_of(db, unit)) is None else [unit, index]
        with self._connect(autocommit=True) as db:
            postgres_clean.clean(db, [quoted(table) for table in tables])

    def pending(self, unit: str) -> bool:
        """Whether rows may have been deleted at any time: numbers are never used twice, so a gap tells of it."""
        with self._connect() as db:
            if find_stale(db, unit):
                return True
            sequence = first(db, "SELECT pg_get_serial_sequence(%s, 'id')", (quoted(unit),))
            used = first(db, "SELECT pg_sequence_last_value(%s::regclass)", (sequence,)) if sequence else None
            rows = first(db, compose("SELECT count(*) FROM {}", unit))
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
            name = name_of(error)
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
