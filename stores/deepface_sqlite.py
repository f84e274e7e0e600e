"""DeepFace's SQLite database: rows deleted in place, its index built again, and the file rewritten without free pages.

Other programs may have the file open, and a renamed copy would lose what they write; so everything happens through
SQLite, in one transaction, and VACUUM clears what that leaves. The verifier looks at the file by itself.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.errors import ConflictError, InputError
from stores import deepface_index
from stores.contract import Inspect, Match, Positions, StoreFile
from stores.deepface_index import Criteria, Stale
from stores.deepface_rows import (
    AT_ONCE,
    INDEX,
    KEYS_AT_ONCE,
    TABLE,
    Column,
    Kind,
    find_ids,
    missing,
    refuse_unknown_key,
    to_batch,
)
from stores.keys import KeySet
from stores.tables import StoreError, TableStore, reject

_SIDE_FILES = ("-wal", "-shm", "-journal")
_PATIENCE = 10.0
"""Seconds to wait for another program's transaction."""


class DeepFaceSqlite(TableStore):
    """`path` is the database file, `key` the column of `embeddings` that names a face: `img_name`, `id`, one's own."""

    kind = "deepface"

    def __init__(self, path: str, key: str) -> None:
        if not Path(path).is_file():
            raise InputError(f"there is no SQLite database {path!r}; write the path that DeepFace was given")
        # SQLite names its logs after the real file.
        self.file, self.path, self.key = Path(path).resolve(), path, key

    def units(self) -> list[str]:
        """One: the table of embeddings, with the index that goes with it."""
        return [TABLE]

    def size(self) -> int:
        """The file and its logs."""
        return sum(_state(file)[0] for file in [self.file, *map(self._beside, _SIDE_FILES)])

    def _beside(self, ending: str) -> Path:
        return self.file.with_name(self.file.name + ending)

    def identify(self, unit: str) -> StoreFile:
        """The file, its write-ahead log, and what the table's counters say."""
        with self._reading() as db:
            return self._identify(unit, db)

    def _identify(self, unit: str, db: sqlite3.Connection) -> StoreFile:
        # The file must not be opened and closed beside SQLite: POSIX would drop the locks of this process on it.
        size, changed = _state(self.file)
        log = _state(self._beside("-wal"))
        counters = [db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("schema_version", "page_count")]
        rows, last = db.execute(f"SELECT count(*), max(id) FROM {TABLE}").fetchone()
        return StoreFile(unit, size, changed, " ".join(map(str, [*counters, last, *(log if log[0] else (0, 0))])), rows)

    def find(self, unit: str, keys: KeySet) -> Positions:
        """The ids of the rows; reads two columns."""
        with self._reading() as db:
            return self._find(db, keys)

    def _find(self, db: sqlite3.Connection, keys: KeySet) -> Positions:
        refuse_unknown_key(TABLE, self.key, (column.name for column in _columns(db)))
        cursor = db.execute(f"SELECT id, {_quote(self.key)} FROM {TABLE} ORDER BY id")
        return (find_ids(iter(lambda: cursor.fetchmany(KEYS_AT_ONCE), []), keys),)

    def delete(self, match: Match, keys: KeySet, inspect: Inspect | None) -> None:
        """Delete the rows and build again each index that holds one of them, in one transaction."""
        with self._writing() as db:
            if self._identify(match.file.path, db) != match.file:
                raise ConflictError("the database changed since it was located: locate it again")
            (ids,) = self._find(db, keys)
            if not np.array_equal(ids, match.positions[0]):
                raise ConflictError("the rows changed since they were located: locate them again")
            db.executemany(f"DELETE FROM {TABLE} WHERE id = ?", ((one,) for one in ids.tolist()))
            _renew(db)
            reject(inspect, _rows(db))

    def clean(self, unit: str) -> None:
        """Rewrite the file without free space, empty the write-ahead log, renew what is derived from deleted rows."""
        with self._writing() as db:
            _renew(db)
        with self._open("rw") as db:
            db.execute("VACUUM")
            busy, *_ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if busy:
                raise StoreError("another program reads the database; its write-ahead log cannot be emptied meanwhile")
        if kept := [ending for ending in ("-wal", "-journal") if _state(self._beside(ending))[0]]:
            raise StoreError(f"another program writes to the database: its {kept[0]} file is not empty")

    def pending(self, unit: str) -> bool:
        """Whether anything was ever deleted, or an index or a log may know more rows than the table has.

        DeepFace never uses an id twice, so a gap in them tells of a deletion. What its pages still hold cannot be told
        without reading them all, and rewriting them costs no more.
        """
        if any(_state(self._beside(ending))[0] for ending in ("-wal", "-journal")):
            return True
        with self._reading() as db:
            if db.execute("PRAGMA freelist_count").fetchone()[0] or _find_stale(db):
                return True
            rows = db.execute(f"SELECT count(*) FROM {TABLE}").fetchone()[0]
            used = db.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (TABLE,)).fetchone()
            return used is not None and bool(rows < used[0])

    def janitor(self, ledger: Path) -> list[Path]:
        """Roll back what a killed writer left half done, too: reading alone may not, and would fail."""
        with self._open("rw") as db:
            db.execute("PRAGMA schema_version").fetchone()
        return super().janitor(ledger)

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that leaves no trace, not even the empty logs SQLite adds to a file in WAL mode."""
        with self.file.open("rb") as file:
            header = file.read(20)
        idle = header[18:20] == b"\2\2" and not self._beside("-wal").exists()
        with self._open("ro&immutable=1" if idle else "ro") as db:
            yield db

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction that nobody else writes during; readers may go on."""
        with self._open("rw") as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.rollback()
                raise
            db.execute("COMMIT")

    @contextmanager
    def _open(self, mode: str) -> Iterator[sqlite3.Connection]:
        address = f"{self.file.as_uri()}?mode={mode}"
        try:
            with closing(sqlite3.connect(address, uri=True, timeout=_PATIENCE, isolation_level=None)) as db:
                db.execute("PRAGMA secure_delete = ON")
                _check(db)
                yield db
        except sqlite3.Error as error:
            # The text of an error may quote a value; its name does not.
            name = getattr(error, "sqlite_errorname", type(error).__name__)
            raise StoreError(f"SQLite cannot do this: {name}{_ADVICE.get(name, '')}") from None
        except (pa.ArrowException, ValueError) as error:
            raise StoreError(f"{TABLE} holds a value DeepFace does not write ({type(error).__name__})") from None


_ADVICE = {
    "SQLITE_BUSY": "; another program holds the database: let it finish, then run this again",
    "SQLITE_READONLY_ROLLBACK": "; a program died while it wrote: the next purge, or any writer, rolls that back",
    "SQLITE_NOTADB": "; this is no SQLite database, or an encrypted one",
}


def _check(db: sqlite3.Connection) -> None:
    columns = [name for _, name, *_ in db.execute(f"PRAGMA table_info({TABLE})")]
    if lacking := missing(columns):
        raise InputError(
            f"the database has no table {TABLE} of DeepFace's: {', '.join(lacking)} lacking;"
            " write the file that DeepFace.register was given"
        )


def _columns(db: sqlite3.Connection) -> list[Column]:
    kinds = {"face": Kind.PICTURE, "embedding": Kind.DOUBLES}
    return [
        Column(name, kinds.get(name) or (Kind.INTEGER if "INT" in declared.upper() else Kind.TEXT))
        for _, name, declared, *_ in db.execute(f"PRAGMA table_info({TABLE})")
    ]


def _rows(db: sqlite3.Connection) -> Iterator[pa.RecordBatch]:
    columns = _columns(db)
    names = ", ".join(_quote(column.name) for column in columns)
    cursor = db.execute(f"SELECT {names} FROM {TABLE} ORDER BY id")
    while rows := cursor.fetchmany(AT_ONCE):
        yield to_batch(columns, rows)


def _renew(db: sqlite3.Connection) -> None:
    """Build stale indexes again, drop those of nobody, and take samples of deleted values out of the statistics."""
    for old in _find_stale(db):
        if len(old.ids):
            built = deepface_index.build(old.data, old.ids, _vectors(db, old.criteria))
            db.execute(
                f"UPDATE {INDEX} SET index_data = ?, updated_at = CURRENT_TIMESTAMP WHERE id = ?", (built, old.row)
            )
        else:
            db.execute(f"DELETE FROM {INDEX} WHERE id = ?", (old.row,))
    if db.execute("SELECT 1 FROM sqlite_master WHERE name LIKE 'sqlite_stat_'").fetchone():
        db.execute("ANALYZE")


_MATCHING = deepface_index.matching("?")


def _find_stale(db: sqlite3.Connection) -> list[Stale]:
    """The indexes that hold rows which are not there."""
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (INDEX,)).fetchone():
        return []
    kept = db.execute(f"SELECT {deepface_index.COLUMNS} FROM {INDEX}").fetchall()
    ids = f"SELECT id FROM {TABLE} WHERE {_MATCHING} ORDER BY id"
    return deepface_index.find_stale(kept, lambda criteria: db.execute(ids, criteria))


def _vectors(db: sqlite3.Connection, criteria: Criteria) -> Iterator[npt.NDArray[np.float32]]:
    cursor = db.execute(f"SELECT embedding FROM {TABLE} WHERE {_MATCHING} ORDER BY id", criteria)
    while rows := cursor.fetchmany(1000):
        yield np.stack([np.frombuffer(one, "<f8") for (one,) in rows]).astype(np.float32)


def _state(file: Path) -> tuple[int, int]:
    """Size and time of change; zeros if there is no such file."""
    try:
        status = file.stat()
    except FileNotFoundError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
