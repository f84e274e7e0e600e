"""Queries of a PostgreSQL server: tables are named `schema.table`, and quoted when they become part of one."""

from typing import Any

import psycopg
from psycopg import sql

Connection = psycopg.Connection[tuple[Any, ...]]


def compose(text: str, *tables: str) -> sql.Composed:
    """A query with the names of tables in place of its `{}`."""
    return sql.SQL(text).format(*map(identifier, tables))


def identifier(table: str) -> sql.Identifier:
    """The name of a table as a part of a query."""
    return sql.Identifier(*table.split(".", 1))


def quoted(table: str) -> str:
    """The name of a table as text that SQL reads, for `::regclass`."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in table.split(".", 1))


def first(db: Connection, query: str | sql.Composed, values: tuple[Any, ...] = ()) -> Any:  # noqa: ANN401
    """The first value that a query gives, None if it gives no row."""
    row = db.execute(sql.SQL(query) if isinstance(query, str) else query, values or None).fetchone()
    return row[0] if row else None


def name_of(error: psycopg.Error) -> str:
    """What an error may be called: the server's own words may quote a value."""
    return error.sqlstate or type(error).__name__
