"""One statement at a time, in one round trip: for requests that are answered by what a single statement reads."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import psycopg
from django.db import DatabaseError, InterfaceError, NotSupportedError, connection, models

# A row as the driver gives it, which has every type that a column can have.
Row = tuple[Any, ...]
Found = TypeVar("Found", bound=models.Model)

# Django's own statements carry their values in their text, so that each is another one: none of them is ever prepared.
_NEVER_BY_ITSELF: Final = 2**31


@dataclass(frozen=True)
class Statement:
    """SQL with `%s` where its parameters go. The text is ours alone; what callers send are parameters."""

    sql: str
    params: tuple[object, ...] = ()


def first_row(statement: Statement) -> Row | None:
    """The first row that a statement reads; None when it reads none.

    Django asks a connection that is kept whether it still works before it asks what it came for: a round trip more at each
    request. Here the statement itself shows it. A connection that turns out to be gone (the database was restarted), or to
    remember a table as it was before a migration, is made anew and asked once more: safe for what only reads.
    """
    connection.health_check_done = True  # type: ignore[attr-defined]  # of every backend; the stubs lack it
    try:
        return _ask(statement)
    except (DatabaseError, InterfaceError) as error:
        if connection.in_atomic_block or not _is_of_the_connection(error):
            raise
        connection.close()
        return _ask(statement)


def written_row(statement: Statement) -> Row | None:
    """The row that a statement which writes returns; None when it wrote nothing. It is asked once: of a connection that is lost
    nobody knows what was done. What the request has read before shows that it works."""
    return _ask(statement)


def found(model: type[Found], columns: tuple[str, ...], row: Row) -> Found:
    """An instance with the columns that a statement read, in their order; any other is read when it is asked for."""
    read = dict(zip(columns, row, strict=True))
    # In the order of the model's own columns, which is what from_db takes them for.
    names = [field.attname for field in model._meta.concrete_fields if field.attname in read]
    return model.from_db(connection.alias, names, [_converted(model, name, read[name]) for name in names])


def _converted(model: type[models.Model], column: str, value: Any) -> Any:
    """A value as the model's field has it: SQLite keeps days and moments as text."""
    if connection.vendor == "postgresql" or value is None:
        return value
    expression = model._meta.get_field(column).cached_col  # type: ignore[union-attr]  # of every column
    for convert in connection.ops.get_db_converters(expression):
        value = convert(value, expression, connection)
    return value


def _is_of_the_connection(error: Exception) -> bool:
    """Whether the same statement may work on another connection. NotSupportedError is PostgreSQL's "cached plan must not
    change result type"."""
    return isinstance(error, NotSupportedError) or not connection.is_usable()


def _ask(statement: Statement) -> Row | None:
    with _cursor() as cursor:
        cursor.execute(statement.sql, _adapted(statement.params))
        row: Row | None = cursor.fetchone()
        return row


class _PreparingCursor(psycopg.Cursor[Row]):
    """Sends parameters apart from the text, and has the server plan a text once for each connection: planning a page of
    sections takes longer than reading it. A pooler in front of the database has to know prepared statements (PgBouncer
    does from 1.21 on: docs/operations.md)."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> _PreparingCursor:
        super().execute(query, params, prepare=True)
        return self


def _cursor() -> Any:
    if connection.vendor != "postgresql":
        return connection.cursor()
    connection.ensure_connection()
    if connection.connection.prepare_threshold is None:  # which forbids it
        connection.connection.prepare_threshold = _NEVER_BY_ITSELF
    cursor: Any = _PreparingCursor(connection.connection)
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
