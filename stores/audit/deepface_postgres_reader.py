"""DeepFace's PostgreSQL and pgvector tables, as the verifier reads them: a server's files as bytes, its rows by SQL.

The rows come from the server; that nothing else is left can be seen in its files alone, so the verifier has to run
where the data directory can be read.
"""

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pyarrow as pa

from schemas.errors import InputError
from schemas.postgres import Connection, name_of
from stores.audit import postgres
from stores.audit.check import view_file
from stores.audit.containers import Format
from stores.audit.control import Control
from stores.audit.deepface_postgres_control import plant_and_look
from stores.audit.deepface_postgres_rows import copies_of, read_rows, schema_of
from stores.audit.inventory import Entry, Kind, take_inventory
from stores.audit.postgres_server import compresses_log, connect, data_directory, flush
from stores.audit.rows import Rows, table_fingerprint
from stores.audit.siphash import Bytes

_NEEDED = {"id", "img_name", "face", "model_name", "detector_backend", "embedding", "face_hash", "embedding_hash"}


class DeepFacePostgresReader:
    """`uri` is the server, `key` the column that names a face, `data` its data directory as it can be read here."""

    rows_in_files = False
    packed = True

    def __init__(self, uri: str, key: str, table: str = "", data: str = "") -> None:
        self.uri, self.key, self.table, self.data = uri, key, table, data

    def entries(self) -> list[Entry]:
        """Every file of the server; one entry that is out of reach if its data directory cannot be read from here."""
        try:
            folder = data_directory(self.uri, self.data)
            with closing(connect(self.uri)) as db:
                flush(db)
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
        return view_file(data_directory(self.uri, self.data) / path)

    def format(self, path: str) -> Format | None:
        """What a file of the data directory is; the log is unknown where the server compresses pages in it."""
        found = postgres.format_of(path)
        return None if found is Format.POSTGRES_LOG and compresses_log(self.uri) else found

    def units(self) -> list[str]:
        """Every table with DeepFace's columns, as `schema.table`."""
        with closing(connect(self.uri)) as db:
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
            db = connect(self.uri)
            schema = schema_of(db, unit)
        except psycopg.Error as error:
            raise InputError(f"{unit} cannot be read ({name_of(error)})") from None
        return Rows(table_fingerprint(unit, schema), schema, _rows(db, unit, schema))

    def copies(self, batch: pa.RecordBatch) -> list[pa.Array]:
        """The hashes, the vectors as an index by cosine holds them, and those the server keeps compressed."""
        with closing(connect(self.uri)) as db:
            return copies_of(db, batch)

    def control(self, scratch: Path, key: bytes) -> Control | None:
        """Rows in a table of their own, made like the store's by the same server, and gone again afterwards."""
        del scratch
        unit = next(iter(self.units()), None)
        try:
            folder = data_directory(self.uri, self.data)
            with closing(connect(self.uri)) as db:
                return plant_and_look(db, folder, unit, self.key, key, self.copies) if unit is not None else None
        except (psycopg.Error, NotImplementedError, OSError):
            return None


def _rows(db: Connection, unit: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    with closing(db):
        try:
            yield from read_rows(db, unit, schema, "ORDER BY id")
        except psycopg.Error as error:
            raise InputError(f"{unit} cannot be read to its end ({name_of(error)})") from None


def _settled(entry: Entry) -> Entry:
    """A file that a server writes all the time has no time of change worth comparing."""
    return Entry(entry.path, entry.kind, entry.size, 0) if postgres.is_always_written(entry.path) else entry


def _is_socket(entry: Entry) -> bool:
    return entry.kind is Kind.OTHER and Path(entry.path).name.startswith(".s.PGSQL.")
