"""DeepFace's SQLite database, as the verifier reads it: the file and its logs as bytes, its rows through SQLite."""

import sqlite3
import struct
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa

from schemas.errors import InputError
from stores.audit.check import view_file
from stores.audit.control import ROWS, Control, look_for, synthetic_rows
from stores.audit.deepface_rows import AT_ONCE, PICTURE, hashes, to_batch
from stores.audit.inventory import Entry, take_inventory
from stores.audit.rows import Rows, table_fingerprint
from stores.audit.siphash import Bytes

_TABLE = "embeddings"
_PIXELS = 4096


class DeepFaceSqliteReader:
    """`path` is the database file, absolute; `key` the column of `embeddings` that names a face."""

    rows_in_files = False
    packed = True
    copies = staticmethod(hashes)

    def __init__(self, path: str, key: str) -> None:
        self.file, self.key = Path(path).resolve(), key

    def entries(self) -> list[Entry]:
        """The database, and every file beside it that is named after it: logs, journals, copies somebody put there."""
        listed = take_inventory(self.file.parent)
        name = self.file.name
        return [one for one in listed if one.path == name or one.path.startswith((f"{name}-", f"{name}."))]

    def view(self, path: str) -> Bytes:
        """The bytes of one file, mapped."""
        return view_file(self.file.parent / path)

    def units(self) -> list[str]:
        """The table of embeddings."""
        return [_TABLE]

    def name(self, unit: str) -> str:
        """The table is its name."""
        return unit

    def read(self, unit: str) -> Rows:
        """Every row, its vector as doubles."""
        db = self._open()
        try:
            schema = self._schema(db)
        except sqlite3.Error as error:
            db.close()
            raise InputError(f"{unit} cannot be read ({_name(error)}): it is no SQLite database, or damaged") from None
        return Rows(table_fingerprint(unit, schema), schema, _rows(db, schema))

    def _schema(self, db: sqlite3.Connection) -> pa.Schema:
        types = {"face": PICTURE, "embedding": pa.list_(pa.float64())}
        columns = db.execute(f"PRAGMA table_info({_TABLE})").fetchall()
        fields = [
            (name, types.get(name, pa.int64() if "INT" in kind.upper() else pa.string()))
            for _, name, kind, *_ in columns
        ]
        return pa.schema(fields)

    def _open(self) -> sqlite3.Connection:
        """A connection that adds no file beside the database: SQLite would make logs for one in WAL mode."""
        with self.file.open("rb") as file:
            header = file.read(20)
        log = self.file.with_name(self.file.name + "-wal")
        mode = "ro&immutable=1" if header[18:20] == b"\2\2" and not log.exists() else "ro"
        return sqlite3.connect(f"{self.file.as_uri()}?mode={mode}", uri=True, timeout=10)

    def control(self, scratch: Path, key: bytes) -> Control | None:
        """Rows written by SQLite into a database with the page size, encoding and tables of this one."""
        place = scratch / f"control-{uuid.uuid4().hex}.db"
        try:
            with closing(self._open()) as db, closing(sqlite3.connect(place)) as planted:
                schema = self._schema(db)
                # The number of a row names nobody once the row is gone, and is not sought: names are, in its place.
                name = self.key if pa.types.is_string(schema.field(self.key).type) else "img_name"
                table = _synthetic(schema, name, next(_rows_of(db, schema, f"ORDER BY id LIMIT {ROWS}"), None))
                _plant(db, planted, table)
            return look_for(
                Rows("", schema, iter(table.to_batches())), name, [view_file(place)], key, hashes, packed=True
            )
        except (sqlite3.Error, NotImplementedError):
            return None
        finally:
            place.unlink(missing_ok=True)


def _rows(db: sqlite3.Connection, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    with closing(db):
        try:
            yield from _rows_of(db, schema, "ORDER BY id")
        except sqlite3.Error as error:
            raise InputError(f"{_TABLE} cannot be read to its end ({_name(error)})") from None


def _rows_of(db: sqlite3.Connection, schema: pa.Schema, condition: str) -> Iterator[pa.RecordBatch]:
    names = ", ".join(_quote(name) for name in schema.names)
    cursor = db.execute(f"SELECT {names} FROM {_TABLE} {condition}")
    while rows := cursor.fetchmany(AT_ONCE):
        yield to_batch(schema, rows)


def _synthetic(schema: pa.Schema, key: str, sample: pa.RecordBatch | None) -> pa.Table:
    """Random people, with hashes that are 64 hexadecimal digits as DeepFace's are."""
    table = synthetic_rows(schema, key, sample)
    random = np.random.default_rng()
    for place, field in enumerate(schema):
        if field.name in ("face_hash", "embedding_hash") and field.name != key:
            table = table.set_column(place, field, pa.array([random.bytes(32).hex() for _ in range(ROWS)]))
        elif field.type == pa.string() and field.name != key:
            table = table.set_column(place, field, pa.array(["control"] * ROWS))
    return table


def _plant(db: sqlite3.Connection, planted: sqlite3.Connection, table: pa.Table) -> None:
    """Write the rows as DeepFace does: crops before vectors, so that these begin anywhere in a page."""
    for setting in ("page_size", "encoding", "auto_vacuum"):
        planted.execute(f"PRAGMA {setting} = {_literal(db.execute(f'PRAGMA {setting}').fetchone()[0])}")
    made = "SELECT sql FROM sqlite_master WHERE tbl_name = ? AND sql IS NOT NULL AND type IN ('table', 'index')"
    for (statement,) in db.execute(made, (_TABLE,)).fetchall():
        planted.execute(statement)
    random = np.random.default_rng()
    for number, row in enumerate(table.to_pylist()):
        # Ids of rows are numbers of their own, unless they are what is looked for.
        values = {**row, "id": row["id"] or number + 1, "face": random.bytes(_PIXELS + 37 * number)}
        values["embedding"] = struct.pack(f"<{len(row['embedding'])}d", *row["embedding"])
        names = ", ".join(map(_quote, values))
        planted.execute(
            f"INSERT INTO {_TABLE} ({names}) VALUES ({', '.join('?' * len(values))})", tuple(values.values())
        )
    planted.commit()


def _literal(value: object) -> str:
    return f"'{value}'"


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _name(error: sqlite3.Error) -> str:
    return getattr(error, "sqlite_errorname", type(error).__name__)
