"""Set-based writes to the ledger: one statement for a whole run, whatever its size."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import connection, models
from django.db.models import Max

from registration.models import BillingAccount, LedgerEntry

# What a `posting` selection yields, in this order, dates as ISO texts; the trail's columns are added here.
POSTED_COLUMNS = (
    "id",
    "account_id",
    "term_id",
    "kind",
    "adjusts",
    "state",
    "amount_minor",
    "currency",
    "code",
    "description",
    "effective_on",
    "posted_change",
)


@dataclass(frozen=True)
class Selection:
    """A SELECT statement and its parameters, built by our own code: never from input."""

    sql: str
    params: Sequence[Any]


def reserve_ids(model: type[models.Model], count: int) -> range | list[int]:
    """Return `count` ids for rows of a model that nobody else will be given. An unused one is a harmless gap."""
    table = model._meta.db_table
    if count == 0:
        return []
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # The sequence is looked up once, not for each number.
            cursor.execute(
                "SELECT nextval(owned.sequence) FROM (SELECT pg_get_serial_sequence(%s, 'id')::regclass AS sequence "
                "OFFSET 0) AS owned, generate_series(1, %s)",
                [table, count],
            )
            return [value for (value,) in cursor.fetchall()]
        # SQLite gives out ids from the table sqlite_sequence (AUTOINCREMENT), whose row appears with the first
        # insert; the caller's IMMEDIATE transaction keeps other writers out.
        cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = %s", [table])
        row = cursor.fetchone()
        if row is None:
            highest = model._default_manager.aggregate(highest=Max("pk"))["highest"] or 0
            cursor.execute(
                "INSERT INTO sqlite_sequence (name, seq) VALUES (%s, %s)", [table, highest + count]
            )
            return range(highest + 1, highest + count + 1)
        cursor.execute("UPDATE sqlite_sequence SET seq = seq + %s WHERE name = %s", [count, table])
        return range(row[0] + 1, row[0] + count + 1)


def insert_entries(posting: Selection, *, run_id: int, at: datetime.datetime, by: str) -> int:
    """Insert every row that `posting` selects and return how many."""
    columns = ", ".join(POSTED_COLUMNS)
    # SQLite keeps dates as ISO texts, and its CAST to date would make a number of one.
    values = columns
    if connection.vendor == "postgresql":
        values = columns.replace("effective_on", "CAST(effective_on AS date)")
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {LedgerEntry._meta.db_table} "
            f"({columns}, posted_at, posted_by, posted_run, voided_by, void_reason) "
            f"SELECT {values}, %s, %s, CAST(%s AS bigint), '', '' FROM ({posting.sql}) AS posting",
            [connection.ops.adapt_datetimefield_value(at), by, run_id, *posting.params],
        )
        written: int = cursor.rowcount
        return written


def void_entries(
    voiding: Selection, *, run_id: int | None, at: datetime.datetime, by: str, reason: str
) -> int:
    """Void every live entry whose id `voiding` selects and return how many."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {LedgerEntry._meta.db_table} SET state = 'void', voided_from = state, voided_at = %s, "
            "voided_by = %s, voided_run = %s, void_reason = %s "
            f"WHERE state <> 'void' AND id IN ({voiding.sql})",
            [connection.ops.adapt_datetimefield_value(at), by, run_id, reason, *voiding.params],
        )
        written: int = cursor.rowcount
        return written


def open_accounts(owing: Selection, currency: str) -> int:
    """Open an account for every student_id that `owing` selects and that has none; return how many."""
    account = BillingAccount._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {account} (student_id, currency) SELECT DISTINCT owing.student_id, CAST(%s AS varchar(3)) "
            f"FROM ({owing.sql}) AS owing WHERE owing.student_id NOT IN (SELECT student_id FROM {account})",
            [currency, *owing.params],
        )
        opened: int = cursor.rowcount
        return opened


def insert_charges(owing: Selection, *, at: datetime.datetime, by: str) -> int:
    """Post a charge for every row that `owing` selects (registration.fees.fees_owed) and return how many."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {LedgerEntry._meta.db_table} (account_id, term_id, kind, adjusts, state, amount_minor, "
            "currency, code, description, effective_on, fee_item_id, basis, posted_at, posted_by, voided_by, "
            "void_reason, voided_from) SELECT student_id, term_id, 'charge', '', 'posted', amount_minor, currency, "
            "code, description, starts_on, fee_item_id, basis, %s, %s, '', '', '' "
            f"FROM ({owing.sql}) AS owing",
            [connection.ops.adapt_datetimefield_value(at), by, *owing.params],
        )
        posted: int = cursor.rowcount
        return posted


@contextmanager
def hash_joins() -> Iterator[None]:
    """Let PostgreSQL join whole sets by hashing, within a transaction and this block.

    Right after a large load a table has no statistics: the planner takes 18,000 rows for a handful and compares each
    with each. Measured so with 20,000 students: 56 s to assess them, and with hash joins 2 s; 374 s for what a first sync
    of their rooms does, and 3 s. SQLite builds an index by itself.
    """
    if connection.vendor != "postgresql":
        yield
        return
    _set("off")
    yield
    _set("DEFAULT")  # after a fault the transaction is rolled back, and these with it


def _set(value: str) -> None:
    # A loop that cannot be avoided counts as ten thousand million where loops are off, and the query is compiled to machine
    # code (jit_above_cost): a second for each statement, whatever its size.
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL enable_nestloop = {value}; SET LOCAL jit = {value}")
