"""Who the tests are to PostgreSQL: the runtime role, as in production; the tables' owner only where a test says so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg
from django.db import connection

from audit.database_roles import role_statements
from audit.immutability import ARCHIVIST
from tests.refusals import refusals_in_migrations

RUNTIME = "matricula_test_runtime"


def become_runtime() -> None:
    """Make the roles of docs/operations.md in the database at hand, by the product's own statements, and from now on
    connect with the runtime's rights: whatever production may not do fails in tests too."""
    settings = connection.settings_dict
    statements = role_statements(runtime=RUNTIME, database=settings["NAME"], owner=_owner())
    with connection.cursor() as cursor:
        # Roles are of the whole server, on which several test runs may begin at once.
        cursor.execute("SELECT pg_advisory_lock(1)")
        for statement in statements:
            cursor.execute(statement)
        # A superuser takes any role; another owner those that it is a member of.
        cursor.execute(f"GRANT {RUNTIME}, {ARCHIVIST} TO CURRENT_USER")
        cursor.execute("SELECT pg_advisory_unlock(1)")
    connection.close()
    # libpq sets the role at the start of every session: threads of a test have connections of their own.
    settings["OPTIONS"] = {**settings["OPTIONS"], "options": f"-c role={RUNTIME}"}


def become_owner() -> None:
    """Connect with the owner's rights again."""
    connection.close()
    connection.settings_dict["OPTIONS"].pop("options")


@contextmanager
def owning_connection() -> Iterator[psycopg.Connection]:
    """A connection of its own, with the rights of the tables' owner."""
    parameters = {**connection.get_connection_params(), "options": ""}
    for name in ("cursor_factory", "context", "prepare_threshold"):
        parameters.pop(name, None)
    with psycopg.connect(**parameters, autocommit=True) as owner:
        yield owner


def empty_as_owner(statements: Sequence[str]) -> None:
    """Run a flush's statements as the owner, past the triggers that refuse it to everybody else.

    An owner needs to be no superuser for that: it may switch the triggers of its own tables off. All of it is one
    transaction, so that they are never off for anybody else.
    """
    with owning_connection() as owner, owner.transaction():
        for statement in [*switched(off=True), *statements, *switched(off=False)]:
            owner.execute(statement.encode())


def switched(*tables: str, off: bool) -> list[str]:
    """The statements that switch what refuses changes off or on, for an owner; of every such table where none is named."""
    word = "DISABLE" if off else "ENABLE"
    refusing = [refusal.table for refusal in refusals_in_migrations()]
    return [f"ALTER TABLE {table} {word} TRIGGER USER" for table in tables or refusing]


@contextmanager
def as_owner() -> Iterator[None]:
    """Have the owner's rights on the connection at hand; on SQLite everybody has them."""
    if connection.vendor != "postgresql":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SET ROLE NONE")
        try:
            yield
        finally:
            if not connection.needs_rollback:  # otherwise the role goes with the transaction
                cursor.execute("RESET ROLE")


@contextmanager
def past_the_triggers(*tables: str) -> Iterator[None]:
    """Switch off what refuses changes, as the owner of a database can, and switch it on again."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with as_owner():
                cursor.execute(
                    "SET CONSTRAINTS ALL IMMEDIATE"
                )  # a table with checks outstanding is not altered
                for statement in switched(*tables, off=True):
                    cursor.execute(statement)
                yield
                for statement in switched(*tables, off=False):
                    cursor.execute(statement)
            return
        names = ", ".join(f"'{table}'" for table in tables)
        cursor.execute(
            f"SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name IN ({names})"
        )
        triggers = cursor.fetchall()
        for name, _ in triggers:
            cursor.execute(f"DROP TRIGGER {name}")
        yield
        for _, making in triggers:
            cursor.execute(making)


def _owner() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        return str(cursor.fetchone()[0])
