"""DeepFace's PostgreSQL and pgvector tables, as the verifier reads them: a server's files as bytes, its rows by SQL.

The rows come from the server; that nothing else is left can be seen in its files alone, so the verifier has to run
where the data directory can be read. What it sees is what is on disk, and a checkpoint puts everything there first.
"""

import re
import struct
import uuid
from collections.abc import Iterator
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from schemas.errors import InputError
from stores.audit import pglz, postgres
from stores.audit.check import view_file
from stores.audit.containers import Format
from stores.audit.control import ROWS, Control, look_for, synthetic_rows
from stores.audit.deepface_rows import AT_ONCE, PICTURE, hashes, to_batch
from stores.audit.inventory import Entry, Kind, take_inventory
from stores.audit.rows import Rows, table_fingerprint
from stores.audit.siphash import Bytes

_NEEDED = {"id", "img_name", "face", "model_name", "detector_backend", "embedding", "face_hash", "embedding_hash"}
_TYPES = {
    "int2": pa.int64(),
    "int4": pa.int64(),
    "int8": pa.int64(),
    "bool": pa.bool_(),
    "_float8": pa.list_(pa.float64()),
    "vector": pa.list_(pa.float32()),
    "halfvec": pa.list_(pa.float32()),
}
_TABLE = b"table"
_QUIET = 4096
"""Bytes of log that an idle server may have written since a checkpoint."""
_FLOAT8 = 701
_PACKED = "pg_column_compression(embedding) = 'pglz'"
_PIXELS = 4096

Connection = psycopg.Connection[tuple[Any, ...]]


class DeepFacePostgresReader:
    """`uri` is the server, `key` the column that names a face, `data` its data directory as it can be read here."""

    rows_in_files = False
    packed = True

    def __init__(self, uri: str, key: str, table: str = "", data: str = "") -> None:
        self.uri, self.key, self.table, self.data = uri, key, table, data

    def entries(self) -> list[Entry]:
        """Every file of the server; one entry that is out of reach if its data directory cannot be read from here."""
        try:
            folder = _data_directory(self.uri, self.data)
            with closing(_connect(self.uri)) as db:
                _flush(db)
            listed = take_inventory(folder)
        except (OSError, psycopg.Error):
            advice = "the data directory of the server"
            return [Entry(f'{advice} (write data = "..." where it can be read)', Kind.OUT_OF_REACH, 0, 0)]
        linked = [one for one in listed if one.kind is Kind.LINK_OUTSIDE and re.match("pg_wal$|pg_tblspc/", one.path)]
        for link in linked:
            listed.remove(link)
            within = take_inventory((folder / link.path).resolve())
            listed += [Entry(f"{link.path}/{one.path}", one.kind, one.size, one.modified_ns) for one in within]
        return sorted(_settled(one) for one in listed if not _is_socket(one))

    def view(self, path: str) -> Bytes:
        """The bytes of one file."""
        return view_file(_data_directory(self.uri, self.data) / path)

    def format(self, path: str) -> Format | None:
        """What a file of the data directory is; the log is unknown where the server compresses pages in it."""
        found = postgres.format_of(path)
        return None if found is Format.POSTGRES_LOG and _compresses_log(self.uri) else found

    def units(self) -> list[str]:
        """Every table with DeepFace's columns, as `schema.table`."""
        with closing(_connect(self.uri)) as db:
            tables = db.execute(
                "SELECT table_schema::text, table_name::text, array_agg(column_name::text)"
                " FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)"
                " WHERE table_type = 'BASE TABLE' GROUP BY 1, 2 ORDER BY 1, 2"
            ).fetchall()
        named = [(f"{schema}.{table}", table) for schema, table, columns in tables if set(columns) >= _NEEDED]
        return [name for name, table in named if not self.table or self.table in (name, table)]

    def name(self, unit: str) -> str:
        """The table is its name."""
        return unit

    def read(self, unit: str) -> Rows:
        """Every row, typed as its columns are."""
        try:
            db = _connect(self.uri)
            schema = _schema(db, unit)
        except psycopg.Error as error:
            raise InputError(f"{unit} cannot be read ({_name(error)})") from None
        return Rows(table_fingerprint(unit, schema), schema, _rows(db, unit, schema))

    def copies(self, batch: pa.RecordBatch) -> list[pa.Array]:
        """The hashes, the vectors as an index by cosine holds them, and those the server keeps compressed."""
        unit = (batch.schema.metadata or {})[_TABLE].decode()
        vectors = batch.column("embedding")
        found = hashes(batch)
        with closing(_connect(self.uri)) as db:
            query = f"SELECT id FROM {{}} WHERE id = ANY(%s) AND {_PACKED}"
            ids = db.execute(_sql(query, unit), (batch.column("id").to_pylist(),)).fetchall()
            if ids:
                packed = vectors.filter(pc.is_in(batch.column("id"), pa.array([one for (one,) in ids], pa.int64())))
                found.append(pa.array([_compressed(one) for one in packed], pa.large_binary()))
            if _has_cosine_index(db, unit):
                found.append(_unit_length(vectors))
        return found

    def control(self, scratch: Path, key: bytes) -> Control | None:
        """Rows in a table of their own, made like the store's by the same server, and gone again afterwards."""
        del scratch
        unit = next(iter(self.units()), None)
        try:
            folder = _data_directory(self.uri, self.data)
            with closing(_connect(self.uri)) as db:
                return self._control(db, folder, unit, key) if unit is not None else None
        except (psycopg.Error, NotImplementedError, OSError):
            return None

    def _control(self, db: Connection, folder: Path, unit: str, key: bytes) -> Control:
        planted = f"{unit.partition('.')[0]}.lethe_control_{uuid.uuid4().hex}"
        schema = _schema(db, unit)
        # The number of a row names nobody once the row is gone, and is not sought: names are, in its place.
        name = self.key if pa.types.is_string(schema.field(self.key).type) else "img_name"
        table = _synthetic(schema, name, next(_rows_of(db, unit, schema, f"LIMIT {ROWS}"), None))
        table = table.replace_schema_metadata({_TABLE: planted.encode()})
        try:
            db.execute(_sql("CREATE TABLE {} (LIKE {} INCLUDING ALL)", planted, unit))
            _plant(db, planted, table)
            db.execute("CHECKPOINT")
            places = [view_file(folder / path) for path in _paths(db, planted)]
            rows = Rows("", table.schema, iter(table.to_batches()))
            return look_for(rows, name, places, key, self.copies, packed=True)
        finally:
            db.execute(_sql("DROP TABLE IF EXISTS {}", planted))


def _connect(uri: str) -> Connection:
    """A connection that commits every statement and tells times as the purge is told them."""
    settings = "-c timezone=UTC -c client_min_messages=error"
    return psycopg.connect(uri, autocommit=True, options=settings, connect_timeout=10)


@lru_cache
def _data_directory(uri: str, data: str) -> Path:
    """The folder `data`, or where the server says its files are. FileNotFoundError unless these are that server's."""
    with closing(_connect(uri)) as db:
        folder = Path(data or str(_one(db, "SHOW data_directory")))
        identifier = _one(db, "SELECT system_identifier FROM pg_control_system()")
    # A database cluster's number, which every server draws for itself, opens its control file.
    if (folder / "global/pg_control").read_bytes()[:8] != struct.pack("<Q", identifier):
        raise FileNotFoundError(2, "this is the data directory of another server")
    return folder


@lru_cache
def _compresses_log(uri: str) -> bool:
    with closing(_connect(uri)) as db:
        return bool(_one(db, "SHOW wal_compression") != "off")


def _flush(db: Connection) -> None:
    """Have everything written to the files that is in the server's memory only, unless that is next to nothing.

    Whoever reads a catalogue tidies its pages. It is read here first, or that would be written while files are
    examined.
    """
    catalogue = "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 11"
    for (table,) in db.execute(catalogue).fetchall():
        db.execute(_sql(f"SELECT count(*) FROM {table}"))
    if int(_one(db, "SELECT pg_current_wal_insert_lsn() - checkpoint_lsn FROM pg_control_checkpoint()")) > _QUIET:
        db.execute("CHECKPOINT")


def _schema(db: Connection, unit: str) -> pa.Schema:
    columns = db.execute(
        "SELECT attname, typname FROM pg_attribute JOIN pg_type t ON t.oid = atttypid"
        " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        (_quoted(unit),),
    )
    fields = [(name, PICTURE if name == "face" else _TYPES.get(kind, pa.string())) for name, kind in columns]
    return pa.schema(fields, metadata={_TABLE: unit.encode()})


def _rows(db: Connection, unit: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    with closing(db):
        try:
            yield from _rows_of(db, unit, schema, "ORDER BY id")
        except psycopg.Error as error:
            raise InputError(f"{unit} cannot be read to its end ({_name(error)})") from None


def _rows_of(db: Connection, unit: str, schema: pa.Schema, condition: str) -> Iterator[pa.RecordBatch]:
    casts = {pa.string(): "::text", pa.list_(pa.float32()): "::real[]"}
    columns = sql.SQL(", ").join(
        [sql.Composed([sql.Identifier(one.name), sql.SQL(casts.get(one.type, ""))]) for one in schema]
    )
    query = sql.SQL("SELECT {} FROM {} " + condition).format(columns, sql.Identifier(*unit.split(".", 1)))
    with db.transaction(), db.cursor("lethe_audit") as cursor:
        cursor.execute(query, binary=True)
        while rows := cursor.fetchmany(AT_ONCE):
            yield to_batch(schema, rows)


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
    return bool(_one(db, query, (_quoted(unit),)))


def _unit_length(vectors: pa.Array) -> pa.Array:
    """Each vector as pgvector scales it: divided by its length in double precision, kept in single."""
    scaled: list[npt.NDArray[np.float32]] = []
    for vector in vectors.drop_null():
        values = vector.values.to_numpy().astype(np.float32).astype(np.float64)
        scaled.append((values / (np.sqrt(np.square(values).sum()) or 1)).astype(np.float32))
    return pa.array(scaled, pa.list_(pa.float32()))


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
    packed = db.execute(_sql(f"SELECT id FROM {{}} WHERE {_PACKED}", planted)).fetchall()
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
    db.execute(query.format(sql.Identifier(*table.split(".", 1)), names, marks), tuple(values.values()))


def _paths(db: Connection, table: str) -> list[str]:
    """The files of a table, of the table of its long values, and of the indexes of both."""
    query = (
        "WITH tables AS (SELECT oid FROM pg_class WHERE oid = %s::regclass"
        " UNION SELECT reltoastrelid FROM pg_class WHERE oid = %s::regclass AND reltoastrelid <> 0)"
        " SELECT pg_relation_filepath(oid) FROM tables UNION"
        " SELECT pg_relation_filepath(indexrelid) FROM pg_index WHERE indrelid IN (SELECT oid FROM tables)"
    )
    return [path for (path,) in db.execute(query, (_quoted(table), _quoted(table)))]


def _settled(entry: Entry) -> Entry:
    """A file that a server writes all the time has no time of change worth comparing."""
    return Entry(entry.path, entry.kind, entry.size, 0) if postgres.is_always_written(entry.path) else entry


def _is_socket(entry: Entry) -> bool:
    return entry.kind is Kind.OTHER and Path(entry.path).name.startswith(".s.PGSQL.")


def _one(db: Connection, query: str, values: tuple[Any, ...] = ()) -> Any:  # noqa: ANN401 - what a query gives
    row = db.execute(sql.SQL(query), values or None).fetchone()
    return row[0] if row else None


def _sql(text: str, *tables: str) -> sql.Composed:
    return sql.SQL(text).format(*(sql.Identifier(*one.split(".", 1)) for one in tables))


def _quoted(unit: str) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in unit.split(".", 1))


def _name(error: psycopg.Error) -> str:
    return error.sqlstate or type(error).__name__
