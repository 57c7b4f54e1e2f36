"""What the database refuses, and by which constraint or trigger it does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from django.apps import apps
from django.db import IntegrityError, connection, models, transaction
from django.db.migrations.loader import MigrationLoader

from audit.immutability import RefuseChanges

# The values of a row, found when they are needed.
Values = Callable[[], dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """One way to break a constraint: what to write over a row that is right in everything else.

    A value that is a function is called when the row is written, to find a row that it needs.
    """

    constraint: str
    model: type[models.Model]
    wrong: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.constraint}-{'-'.join(self.wrong)}"

    def wrong_values(self) -> dict[str, Any]:
        return resolved(self.wrong)


def resolved(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values, with each function among them called."""
    return {name: value() if callable(value) else value for name, value in values.items()}


def named_constraints(app_label: str) -> dict[str, type[models.Model]]:
    """Every check and unique constraint that the models of an app declare, by name."""
    return {
        constraint.name: model
        for model in apps.get_app_config(app_label).get_models()
        for constraint in model._meta.constraints
    }


def insert(model: type[models.Model], values: Mapping[str, Any]) -> models.Model:
    """Write one row past everything but the database: no save(), no clean(), no signal."""
    return model._default_manager.bulk_create([model(**values)])[0]


@contextmanager
def rolled_back() -> Iterator[None]:
    """Undo what happens inside: a transaction of the test, as the one around it is, and none of the product's."""
    block = transaction.atomic()
    block._from_testcase = True  # type: ignore[attr-defined]
    with block:
        yield
        transaction.set_rollback(True)


@contextmanager
def refused_by(constraint: str) -> Iterator[None]:
    """What happens inside is refused by the database, and by this constraint."""
    with pytest.raises(IntegrityError) as caught, transaction.atomic():
        yield
    assert broken_constraint(caught.value) == constraint


@contextmanager
def refused_as_unchangeable(table: str) -> Iterator[None]:
    """What happens inside is refused by the triggers that keep the table's rows as they are."""
    message = f"refused: rows of {table} are never changed or deleted"
    with pytest.raises(IntegrityError, match=message), transaction.atomic():
        yield


def broken_constraint(error: IntegrityError) -> str:
    """The name of the constraint that an IntegrityError tells of."""
    if connection.vendor == "postgresql":
        cause: Any = error.__cause__
        return str(cause.diag.constraint_name)
    kind, _, what = str(error).partition(" constraint failed: ")
    if kind == "CHECK":
        return what
    if index := re.fullmatch(r"index '(\w+)'", what):
        return index[1]
    return _unique_over(what.split(", "))


def _unique_over(columns: list[str]) -> str:
    """SQLite names the columns of a unique constraint, not the constraint."""
    for model in apps.get_models():
        for constraint in model._meta.constraints:
            if isinstance(constraint, models.UniqueConstraint) and constraint.fields:
                of = {field.name: field.column for field in model._meta.concrete_fields}
                if columns == [f"{model._meta.db_table}.{of[name]}" for name in constraint.fields]:
                    return constraint.name
    return f"unnamed constraint over {columns}"


# --- triggers ---------------------------------------------------------------------------------------------


@cache
def refusals_in_migrations() -> list[RefuseChanges]:
    """The last RefuseChanges of each table: a later migration may have made its triggers anew."""
    loader = MigrationLoader(None)  # from the files alone
    newest = {
        operation.table: operation
        for _, migration in sorted(loader.disk_migrations.items())
        for operation in migration.operations
        if isinstance(operation, RefuseChanges)
    }
    return list(newest.values())


def promised_triggers(refusal: RefuseChanges) -> set[str]:
    """The names of the triggers that a RefuseChanges makes on the database at hand."""
    statements = "\n".join(refusal.statements(connection.vendor))
    return set(re.findall(r"CREATE TRIGGER (\w+)", statements))


def present_triggers(table: str) -> set[str]:
    """The names of the triggers that a table has now, and that fire."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass AND NOT tgisinternal "
                "AND tgenabled <> 'D'",
                [table],
            )
        else:
            cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = %s", [table])
        return {name for (name,) in cursor.fetchall()}


# --- changes by hand ---------------------------------------------------------------------------------------


def execute(sql: str, *params: Any) -> int:
    """Run one statement past the ORM, as somebody at a SQL prompt would, and return how many rows it met."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return int(cursor.rowcount)


def copy_over_itself(table: str) -> str:
    """A statement that replaces the first row of a table by one with the same key, without saying UPDATE."""
    if connection.vendor == "postgresql":
        return f"INSERT INTO {table} SELECT * FROM {table} LIMIT 1 ON CONFLICT (id) DO UPDATE SET id = excluded.id"
    return f"INSERT OR REPLACE INTO {table} SELECT * FROM {table} LIMIT 1"
