"""What a request costs: one statement, one round trip to the server that counts, and as much far down a list as at its top."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from redis import Connection

from apiauth.statements import Statement, first_row
from registration.models import Course, Section, Term

ROUTES = [
    "/api/v1/terms/",
    "/api/v1/terms/2026FA/",
    "/api/v1/courses/",
    "/api/v1/courses/{course}/",
    "/api/v1/sections/",
    "/api/v1/sections/?page_size=3&search=math&term=2026FA",
    "/api/v1/sections/{section}/",
    "/api/v1/sections/?nonsense=1",
    "/api/v1/sections/0/",
]


@pytest.fixture
def round_trips(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The commands that were sent to the server that counts, each one a round trip."""
    sent: list[str] = []
    send: Any = Connection.send_packed_command

    def spy(self: Connection, command: Any, *args: Any, **options: Any) -> None:
        sent.append(str(command)[:60])
        send(self, command, *args, **options)

    monkeypatch.setattr("redis.connection.AbstractConnection.send_packed_command", spy)
    return sent


@pytest.mark.django_db
@pytest.mark.parametrize("route", ROUTES)
def test_a_request_is_one_statement_and_one_round_trip(
    read: Any,
    catalogue: tuple[Term, Term],
    route: str,
    round_trips: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address = route.format(course=Course.objects.first().pk, section=Section.objects.first().pk)  # type: ignore[union-attr]
    read(address)  # connections are made at the first request of a process
    round_trips.clear()
    asked: list[None] = []
    monkeypatch.setattr(type(connections["default"]), "is_usable", lambda *_: asked.append(None))
    with CaptureQueriesContext(connection) as statements:
        read(address)
    assert len(statements) == 1
    assert asked == []  # nor is the connection asked whether it still works
    assert len(round_trips) == 1


@pytest.mark.django_db(transaction=True)
def test_a_connection_that_was_lost_is_made_anew(read: Any, catalogue: tuple[Term, Term]) -> None:
    assert read("/api/v1/terms/").status_code == 200
    if connection.vendor == "postgresql":  # SQLite has nobody at the other end
        connection.connection.close()
    assert read("/api/v1/terms/").status_code == 200


@pytest.mark.django_db(transaction=True)
def test_a_statement_that_is_wrong_is_not_asked_again() -> None:
    before = first_row(Statement("SELECT 1"))
    kept = connection.connection
    with pytest.raises(Exception, match="nothing_of_ours"):
        first_row(Statement("SELECT * FROM nothing_of_ours"))
    assert (before, first_row(Statement("SELECT %s + 1", (1,)))) == ((1,), (2,))
    assert connection.connection is kept
