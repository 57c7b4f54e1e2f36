"""Bulk loading: COPY on PostgreSQL, executemany on SQLite, behind one function."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final, TypeVar

from django.db import connection

T = TypeVar("T")
CHUNK: Final = 500


def bulk_load(table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write `rows` into `table` in the transaction at hand. Values are those of the driver: JSON as text, bytes as
    bytes, None as NULL. Table and columns are names of our own, never input."""
    names = ", ".join(columns)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with cursor.cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
        else:
            places = ", ".join(["%s"] * len(columns))
            cursor.executemany(f"INSERT INTO {table} ({names}) VALUES ({places})", list(rows))


def commit_without_waiting() -> None:
    """Let the transaction at hand commit before it is on disk. A crash of the database server may then take the last such
    commits away, the newest first and each as a whole: only for what is made again by whoever goes on from there."""
    if connection.vendor == "postgresql":
        execute("SET LOCAL synchronous_commit = off", [])


@contextmanager
def id_set(name: str, ids: Iterable[int]) -> Iterator[str]:
    """Yield the name of a temporary table with one column `id` that holds `ids`, for the block's length."""
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TEMPORARY TABLE {name} (id bigint PRIMARY KEY)")
    try:
        bulk_load(name, ["id"], ((value,) for value in ids))
        yield name
    finally:
        # After a failed statement PostgreSQL takes the table away with the transaction.
        if not connection.needs_rollback:
            with connection.cursor() as cursor:
                cursor.execute(f"DROP TABLE {name}")


def execute(sql: str, params: Sequence[Any]) -> int:
    """Run one statement and return how many rows it wrote."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        written: int = cursor.rowcount
        return written


def in_chunks(items: Iterable[T]) -> Iterator[list[T]]:
    """Yield `items` in lists of a size that any database takes in one `IN`."""
    iterator = iter(items)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk
