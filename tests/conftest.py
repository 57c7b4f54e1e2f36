"""What every test shares: a database that can be emptied though parts of it refuse, and a feed over real HTTP."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from django.db import connection
from django.db.backends.base.operations import BaseDatabaseOperations
from pytest_django.fixtures import Settings

# Rows that migrations made: emptying the database between tests must not take them.
MADE_BY_MIGRATIONS = frozenset(
    {"auth_group", "auth_group_permissions", "auth_permission", "django_content_type"}
)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Let Django empty the database after a transactional test, as nobody may in production: the triggers that
    refuse it are set aside for that moment alone."""
    operations = type(connection.ops)
    original_sql, original_execute = operations.sql_flush, operations.execute_sql_flush

    def sql_flush(
        self: BaseDatabaseOperations, style: Any, tables: Sequence[str], **options: Any
    ) -> list[str]:
        return original_sql(
            self, style, [name for name in tables if name not in MADE_BY_MIGRATIONS], **options
        )

    def execute_sql_flush(self: BaseDatabaseOperations, sql_list: Sequence[str]) -> None:
        if connection.vendor == "postgresql":
            original_execute(
                self,
                [
                    "SET session_replication_role = replica",
                    *sql_list,
                    "SET session_replication_role = DEFAULT",
                ],
            )
            return
        with connection.cursor() as cursor:
            cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
            triggers = cursor.fetchall()
        drops, makes = [f"DROP TRIGGER {name}" for name, _ in triggers], [sql for _, sql in triggers]
        original_execute(self, [*drops, *sql_list, *makes])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operations, "sql_flush", sql_flush)
        patch.setattr(operations, "execute_sql_flush", execute_sql_flush)
        yield


@pytest.fixture(autouse=True)
def own_counts(settings: Settings) -> None:
    """Each test counts failures and calls for itself, though the server that counts is shared."""
    settings.COUNTERS_PREFIX = f"test-{secrets.token_hex(8)}"
