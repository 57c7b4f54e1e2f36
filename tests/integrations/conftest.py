from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import pytest
from pytest_httpserver import HTTPServer

from integrations.models import Connection, Stream, SyncRun
from integrations.models.run import RunTrigger
from integrations.operations import request_run, save_connection
from integrations.sync.runner import execute_run
from registration.models import Student, Term
from tests.integrations.feed import Feed
from tests.university import make_students, make_terms


class Sync(Protocol):
    def __call__(self, *, dry_run: bool = False) -> SyncRun: ...


@pytest.fixture
def terms(db: None) -> tuple[Term, Term]:
    return make_terms()


@pytest.fixture
def students(terms: tuple[Term, Term]) -> list[Student]:
    """Twelve students with empty accounts."""
    return make_students(12)


@pytest.fixture
def feed(httpserver: HTTPServer) -> Feed:
    return Feed(httpserver)


@pytest.fixture
def connection(students: list[Student], feed: Feed) -> Connection:
    return save_connection(feed.document())[0]


@pytest.fixture
def stream(connection: Connection) -> Stream:
    return connection.streams.get()


@pytest.fixture
def sync(stream: Stream) -> Sync:
    """Run the whole road once, here and now."""

    def run(*, dry_run: bool = False) -> SyncRun:
        fresh = Stream.objects.select_related("connection").get(pk=stream.pk)
        return execute_run(request_run(fresh, RunTrigger.COMMAND, dry_run=dry_run).pk)

    return run


@pytest.fixture
def balance() -> Callable[[int], int]:
    """The balance of the student of this number, in cents."""

    def of(number: int) -> int:
        return Student.objects.get(number=f"S{number:07d}").billing_account.totals().balance

    return of
