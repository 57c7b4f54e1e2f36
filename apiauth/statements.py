"""One statement at a time, in one round trip: for requests that are answered by what a single statement reads."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from django.db import InterfaceError, OperationalError, connection

# A row as the driver gives it, which has every type that a column can have.
Row = tuple[Any, ...]


@dataclass(frozen=True)
class Statement:
    """SQL with `%s` where its parameters go. The text is ours alone; what callers send are parameters."""

    sql: str
    params: tuple[object, ...] = ()


def first_row(statement: Statement) -> Row | None:
    """The first row that a statement reads; None when it reads none.

    Django asks a connection that is kept whether it still works before it asks what it came for: a round trip more at each
    request. Here the statement itself shows it. A connection that turns out to be gone (the database was restarted) is made
    anew and asked once more, which is safe for what only reads.
    """
    connection.health_check_done = True  # type: ignore[attr-defined]  # of every backend; the stubs lack it
    try:
        return _ask(statement)
    except (OperationalError, InterfaceError):
        if connection.in_atomic_block or connection.is_usable():
            raise
        connection.close()
        return _ask(statement)


def _ask(statement: Statement) -> Row | None:
    with _cursor() as cursor:
        cursor.execute(statement.sql, _adapted(statement.params))
        row: Row | None = cursor.fetchone()
        return row


def _cursor() -> Any:
    """On PostgreSQL a cursor that sends parameters apart from the text, so that the server plans a text once for each
    connection: planning takes longer than reading a page does. Django's own cursors write the parameters into it."""
    if connection.vendor != "postgresql":
        return connection.cursor()
    connection.ensure_connection()
    cursor: Any = psycopg.Cursor(connection.connection)
    return (
        connection.make_debug_cursor(cursor) if connection.queries_logged else connection.make_cursor(cursor)
    )


def _adapted(params: Sequence[object]) -> Sequence[object]:
    """Instants as the database keeps them: SQLite has them as text without an offset."""
    if connection.vendor == "postgresql":
        return params
    return [
        connection.ops.adapt_datetimefield_value(each) if isinstance(each, datetime.datetime) else each
        for each in params
    ]


__all__: Final = ["Row", "Statement", "first_row"]
