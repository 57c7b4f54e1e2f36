"""What every test shares: a database that can be emptied though parts of it refuse, and a feed over real HTTP."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.db.backends.base.operations import BaseDatabaseOperations
from pytest_django.fixtures import Settings
from pytest_httpserver import HTTPServer

from integrations.outbox import doorbell
from tests.database_roles import become_owner, become_runtime, empty_as_owner

CHAOS = Path(__file__).parent / "chaos"
# Rows that migrations made: emptying the database between tests must not take them.
MADE_BY_MIGRATIONS = frozenset(
    {"auth_group", "auth_group_permissions", "auth_permission", "django_content_type"}
)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes minutes and mostly waits: at the end of a half it would keep one process alone."""
    items.sort(key=lambda item: CHAOS not in item.path.parents)


@pytest.fixture(autouse=True)
def heads_of_its_own(settings: Any) -> Iterator[None]:
    """Each test exports the trail's heads into a folder of its own: a head tells of one chain."""
    folder = Path(tempfile.gettempdir()) / f"matricula-heads-{uuid.uuid4().hex}"
    settings.AUDIT_HEAD_DIR = folder
    yield
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Run the tests with the rights of production's runtime role on PostgreSQL, and let Django empty the database after a
    transactional test as nobody may in production: another connection, the owner's, does it past the triggers. On SQLite
    they are set aside for that moment."""
    if connection.vendor == "postgresql":
        with django_db_blocker.unblock():
            become_runtime()
    yield from _emptied_past_the_triggers()
    if connection.vendor == "postgresql":
        with django_db_blocker.unblock():
            become_owner()  # who may drop the database


def _emptied_past_the_triggers() -> Iterator[None]:
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
            empty_as_owner(sql_list)
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


@pytest.fixture
def httpserver(httpserver: HTTPServer, settings: Any) -> HTTPServer:
    """The server of a test stands on this machine, where connections reach only what is listed."""
    settings.ALLOW_PRIVATE_HOSTS = [*settings.ALLOW_PRIVATE_HOSTS, f"{httpserver.host}:{httpserver.port}"]
    return httpserver


@pytest.fixture
def endless_sessions(settings: Any) -> None:
    """For tests whose clock goes on by days: whoever has signed on stays so."""
    settings.SESSION_IDLE_MINUTES = 60 * 24 * 365
    settings.SESSION_HOURS = 24 * 365
    settings.SESSION_COOKIE_AGE = 60 * 60 * settings.SESSION_HOURS


@pytest.fixture(autouse=True)
def own_counts(settings: Settings) -> None:
    """Each test counts failures and calls for itself, though the server that counts is shared."""
    settings.COUNTERS_PREFIX = f"test-{secrets.token_hex(8)}"


@pytest.fixture(autouse=True)
def rings(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """How often the workers would have been rung for: in this process there is nobody to hear it."""
    rings: list[None] = []
    monkeypatch.setattr(doorbell, "ring", lambda: rings.append(None))
    return rings
