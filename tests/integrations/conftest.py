from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import pytest
import time_machine
from django.contrib.auth.models import Group
from django.test import Client
from pytest_httpserver import HTTPServer

from apiauth.models import User
from audit.context import Actor, acting
from integrations.admin import today
from integrations.decisions import approve_run
from integrations.models import Connection, Stream, SyncRun
from integrations.models.run import RunTrigger
from integrations.operations import request_run, save_connection
from integrations.sync.runner import execute_run
from integrations.sync.verification import verify_ledger
from integrations.transports.http import HttpTransport
from integrations.transports.line import ConnectionLine
from registration.models import LedgerEntry, Student, Term
from tests.integrations.feed import Feed
from tests.integrations.rooms import HousingFeed, bill_everybody
from tests.registration.bills import noon
from tests.university import make_students, make_terms


class Sync(Protocol):
    def __call__(self, *, dry_run: bool = False, approve: bool = False) -> SyncRun: ...


# Loads the feed's document, with these parts changed.
Load = Callable[..., Connection]
Balance = Callable[[int], int]
# The entries of a student, oldest first: kind, state, minor units.
Ledger = Callable[[int], list[tuple[str, str, int]]]


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between two attempts, in seconds, which nobody spends waiting."""
    pauses: list[float] = []
    monkeypatch.setattr(HttpTransport, "wait", pauses.append)
    monkeypatch.setattr(ConnectionLine, "wait", pauses.append)
    return pauses


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
def load(connection: Connection, feed: Feed) -> Load:
    def with_changes(**changes: Any) -> Connection:
        return save_connection(feed.document(**changes))[0]

    return with_changes


@pytest.fixture
def stream(connection: Connection) -> Stream:
    return connection.streams.get()


def sync_stream(stream: Stream, *, dry_run: bool = False) -> SyncRun:
    """Run the whole road once, here and now."""
    fresh = Stream.objects.select_related("connection").get(pk=stream.pk)
    return execute_run(request_run(fresh, RunTrigger.COMMAND, dry_run=dry_run).pk)


def approved(held: SyncRun, **options: Any) -> SyncRun:
    """Approve a held plan as a person does, and carry it out."""
    with acting(Actor(kind="user", name="rita")):
        follower = approve_run(held, checksum=held.plan_checksum, reason="seen", **options)
    return execute_run(follower.pk)


@pytest.fixture
def sync(stream: Stream) -> Sync:
    """Sync the feed once, here and now; `approve` stands for a person who approves a plan that is held."""

    def run(*, dry_run: bool = False, approve: bool = False) -> SyncRun:
        done = sync_stream(stream, dry_run=dry_run)
        return approved(done) if approve and done.status == "held" else done

    return run


@pytest.fixture
def balance() -> Balance:
    """The balance of the student of this number, in cents."""

    def of(number: int) -> int:
        return Student.objects.get(number=f"S{number:07d}").billing_account.totals().balance

    return of


@pytest.fixture
def ledger() -> Ledger:
    """The entries of the student of this number, oldest first: kind, state, minor units."""

    def of(number: int) -> list[tuple[str, str, int]]:
        entries = LedgerEntry.objects.filter(account__student__number=f"S{number:07d}").order_by("id")
        return list(entries.values_list("kind", "state", "amount_minor"))

    return of


def signed_in(username: str, *, role: str) -> Client:
    """A browser in which a person with this role has signed in."""
    user = User.objects.create_user(username, f"{username}@example.edu", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def all_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beat, workers and broker as in an installation that works: a test has none of them."""
    monkeypatch.setattr(today, "diagnose", list)


@pytest.fixture
def administrator(db: None) -> Client:
    return signed_in("ada", role="Administrator")


@pytest.fixture
def advisor(db: None) -> Client:
    return signed_in("vera", role="Advisor")


@pytest.fixture
def auditor(db: None) -> Client:
    return signed_in("otto", role="Auditor")


# --- housing ----------------------------------------------------------------------------------------------

# Syncs the housing office, and sees that nothing is wrong anywhere afterwards.
SyncRooms = Callable[[], SyncRun]


@pytest.fixture
def office(httpserver: HTTPServer) -> HousingFeed:
    return HousingFeed(httpserver)


@pytest.fixture
def fall(students: list[Student], terms: tuple[Term, Term]) -> Iterator[Term]:
    """Fall in its first week: all twelve students hold a seat and are charged as living off campus."""
    with time_machine.travel(noon(8, 25)):
        bill_everybody(terms[0])
        yield terms[0]


@pytest.fixture
def housing(fall: Term, office: HousingFeed) -> Stream:
    return office.connect()


@pytest.fixture
def sync_rooms(housing: Stream) -> SyncRooms:
    def run() -> SyncRun:
        done = sync_stream(housing)
        assert verify_ledger().faults == []
        return done

    return run
