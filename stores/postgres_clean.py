"""Destroying what a PostgreSQL server keeps of deleted rows: dead tuples, samples of the planner, the write-ahead log.

Each of the three was found to hold whole faces after a plain VACUUM (FULL). PostgreSQL renames segments of its log and
overwrites them later, so for the moment of cleaning it is told to remove them instead, and the log is moved on
until no segment is left that was there before. Source: PostgreSQL 16, measured.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from psycopg import sql

from schemas.postgres import Connection, first
from stores.tables import StoreError

_LOCK = 0x6C65746865  # one cleaning at a time: all of them change the same setting
_SEGMENT = re.compile(r"[0-9A-F]{24}")
_SPARE_TURNS = 3


def clean(db: Connection, tables: Sequence[str]) -> None:
    """Clean `tables`, as SQL writes their names; `db` commits every statement. Raises StoreError for what is left."""
    if not first(db, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"):
        raise StoreError("cleaning needs a superuser: VACUUM FULL of pg_statistic, CHECKPOINT, wal_recycle")
    db.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
    _refuse_old_snapshots(db)
    for table in tables:
        # ANALYZE leaves an empty table the samples it had.
        db.execute(
            "DELETE FROM pg_statistic WHERE starelid = %s::regclass"
            " OR starelid IN (SELECT indexrelid FROM pg_index WHERE indrelid = %s::regclass)",
            (table, table),
        )
        db.execute(_sql(f"VACUUM (FULL, ANALYZE) {table}"))
    db.execute("VACUUM FULL pg_statistic")
    with _removing_segments(db):
        _move_log_on(db)


def beyond_reach(db: Connection) -> str | None:
    """What else is told everything the log of the server is told, if anything."""
    found = []
    if first(db, "SHOW archive_mode") != "off":
        found.append("an archive of its write-ahead log (archive_mode)")
    if count := first(db, "SELECT count(*) FROM pg_stat_replication"):
        found.append(f"{count} replicas")
    if count := first(db, "SELECT count(*) FROM pg_replication_slots"):
        found.append(f"{count} replication slots")
    return f"copies beyond reach: the server has {', '.join(found)}" if found else None


def _refuse_old_snapshots(db: Connection) -> None:
    """VACUUM FULL copies dead rows too as long as a transaction may see them."""
    own = first(db, "SELECT txid_current() % 4294967296")
    old = first(
        db,
        "SELECT (SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        " AND backend_type <> 'autovacuum worker' AND greatest(age(backend_xmin), age(backend_xid)) >"
        " age(%s::text::xid)) + (SELECT count(*) FROM pg_prepared_xacts)"
        " + (SELECT count(*) FROM pg_replication_slots WHERE age(xmin) > age(%s::text::xid))",
        (own, own),
    )
    if old:
        raise StoreError(f"{old} transactions began before the rows were deleted and still see them: end them first")


@contextmanager
def _removing_segments(db: Connection) -> Iterator[None]:
    """Have the server remove old segments of its log instead of using them again."""
    row = db.execute("SELECT setting, sourcefile FROM pg_settings WHERE name = 'wal_recycle'").fetchone()
    before, file = row or ("on", None)
    db.execute("ALTER SYSTEM SET wal_recycle = off")
    db.execute("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        if not db.closed:
            own = str(file or "").endswith("postgresql.auto.conf")
            db.execute(_sql(f"ALTER SYSTEM SET wal_recycle = {before}" if own else "ALTER SYSTEM RESET wal_recycle"))
            db.execute("SELECT pg_reload_conf()")


def _move_log_on(db: Connection) -> None:
    # The setting takes a moment to arrive, and a checkpoint without it gives an old segment a new name.
    db.execute("SELECT pg_sleep(0.5)")
    db.execute("CHECKPOINT")
    before = _segments(db)
    for _ in range(len(before) + _SPARE_TURNS):
        db.execute("SELECT pg_switch_wal()")
        db.execute("CHECKPOINT")
        if not before & _segments(db):
            return
    left = len(before & _segments(db))
    raise StoreError(
        f"{left} segments of the write-ahead log that may hold the rows are kept by a replication slot, wal_keep_size,"
        " a failing archive_command or a backup; free them, then run this again"
    )


def _segments(db: Connection) -> set[str]:
    return {name for (name,) in db.execute("SELECT name FROM pg_ls_waldir()") if _SEGMENT.fullmatch(name)}


def _sql(text: str) -> sql.SQL:
    return sql.SQL(text)
