"""A PostgreSQL server, as the verifier asks it: where its files are, what is on disk, which files are one table's.

What the verifier sees is what is on disk, and a checkpoint puts everything there first.
"""

import struct
from contextlib import closing
from functools import lru_cache
from pathlib import Path

import psycopg

from schemas.postgres import Connection, compose, first, quoted

_QUIET = 4096
"""Bytes of log that an idle server may have written since a checkpoint."""


def connect(uri: str) -> Connection:
    """A connection that commits every statement and tells times as the purge is told them."""
    settings = "-c timezone=UTC -c client_min_messages=error"
    return psycopg.connect(uri, autocommit=True, options=settings, connect_timeout=10)


@lru_cache
def data_directory(uri: str, data: str) -> Path:
    """The folder `data`, or where the server says its files are. FileNotFoundError unless these are that server's."""
    with closing(connect(uri)) as db:
        folder = Path(data or str(first(db, "SHOW data_directory")))
        identifier = first(db, "SELECT system_identifier FROM pg_control_system()")
    # A database cluster's number, which every server draws for itself, opens its control file.
    if (folder / "global/pg_control").read_bytes()[:8] != struct.pack("<Q", identifier):
        raise FileNotFoundError(2, "this is the data directory of another server")
    return folder


@lru_cache
def compresses_log(uri: str) -> bool:
    """Whether the server compresses pages in its write-ahead log."""
    with closing(connect(uri)) as db:
        return bool(first(db, "SHOW wal_compression") != "off")


def flush(db: Connection) -> None:
    """Have everything written to the files that is in the server's memory only, unless that is next to nothing.

    Whoever reads a catalogue tidies its pages. It is read here first, or that would be written while files are
    examined.
    """
    catalogue = "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 11"
    for (table,) in db.execute(catalogue).fetchall():
        db.execute(compose(f"SELECT count(*) FROM {table}"))
    if int(first(db, "SELECT pg_current_wal_insert_lsn() - checkpoint_lsn FROM pg_control_checkpoint()")) > _QUIET:
        db.execute("CHECKPOINT")


def files_of(db: Connection, table: str) -> list[str]:
    """The files of a table, of the table of its long values, and of the indexes of both."""
    query = (
        "WITH tables AS (SELECT oid FROM pg_class WHERE oid = %s::regclass"
        " UNION SELECT reltoastrelid FROM pg_class WHERE oid = %s::regclass AND reltoastrelid <> 0)"
        " SELECT pg_relation_filepath(oid) FROM tables UNION"
        " SELECT pg_relation_filepath(indexrelid) FROM pg_index WHERE indrelid IN (SELECT oid FROM tables)"
    )
    return [path for (path,) in db.execute(query, (quoted(table), quoted(table)))]
