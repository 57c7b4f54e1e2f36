"""Statements about many rows are joined by hashing, those about few are not, and what comes afterwards is as it was."""

from __future__ import annotations

from contextlib import AbstractContextManager

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from integrations.models import Stream
from registration.bulk import hash_joins
from registration.models import Student, Term
from registration.operations import housing_runs
from tests.integrations.conftest import sync_stream
from tests.integrations.rooms import HousingFeed, room

pytestmark = pytest.mark.django_db(transaction=True)


def loops_are_on() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SHOW enable_nestloop")
        return bool(cursor.fetchone() == ("on",))


def test_joins_are_as_they_were_after_the_block() -> None:
    with (
        transaction.atomic(),
        CaptureQueriesContext(
            connection,
        ) as asked,
    ):
        with hash_joins():
            inside = connection.vendor != "postgresql" or not loops_are_on()
        after = connection.vendor != "postgresql" or loops_are_on()
    assert (inside, after) == (True, True)
    assert any("enable_nestloop" in query["sql"] for query in asked) == (connection.vendor == "postgresql")


@pytest.mark.parametrize("many", [3, 4])
def test_a_sync_of_many_rooms_is_joined_by_hashing(
    office: HousingFeed,
    students: list[Student],
    terms: tuple[Term, Term],
    monkeypatch: pytest.MonkeyPatch,
    many: int,
) -> None:
    """20,000 rooms took six minutes with loops, and take seconds without."""
    monkeypatch.setattr(housing_runs, "_MANY", many)
    joined: list[None] = []
    hashed = hash_joins

    def counted() -> AbstractContextManager[None]:
        joined.append(None)
        return hashed()

    monkeypatch.setattr(housing_runs, "hash_joins", counted)
    stream: Stream = office.connect()
    office.rooms = [room(number) for number in range(1, 4)]
    assert sync_stream(stream).status == "applied"
    assert len(joined) == (2 if many == 3 else 0)  # once to see what fees would become, once to make it so
