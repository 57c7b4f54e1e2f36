"""Two people at once: one decision is taken, the other is told."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from audit.context import Actor, acting
from integrations.decisions import Undecided, approve_run, cancel_run, refuse_run, undo_run
from integrations.models import Connection, SyncRun
from integrations.operations import save_connection
from integrations.sync.runner import execute_run
from integrations.sync.verification import verify_ledger
from registration.models import BillingAccount
from tests.integrations.conftest import sync_stream
from tests.integrations.feed import UNGUARDED, Feed, award
from tests.racing import race

pytestmark = pytest.mark.django_db(transaction=True)


def as_person(name: str, act: Callable[[], object]) -> Callable[[], object]:
    def decide() -> object:
        with acting(Actor(kind="user", name=name)):
            return act()

    return decide


def sync(connection: Connection) -> SyncRun:
    return sync_stream(connection.streams.get())


def test_a_plan_that_two_approve_at_once_is_carried_out_once(connection: Connection, feed: Feed) -> None:
    save_connection(feed.document(guards={**UNGUARDED, "first_load": "hold"}))
    feed.awards = [award(1)]
    held = sync(connection)

    def approve() -> object:
        return approve_run(held, checksum=held.plan_checksum, reason="seen")

    one, other = race(held, [as_person("ada", approve), as_person("bob", approve)])
    (follower,) = SyncRun.objects.filter(carries_out=held)
    refused = other if isinstance(one, SyncRun) else one
    assert isinstance(refused, Undecided)
    assert "approved" in str(refused)
    execute_run(follower.pk)
    assert BillingAccount.objects.get(student__number="S0000001").totals().posted_aid == 10_000


def test_of_an_approval_and_a_refusal_at_once_one_counts(connection: Connection, feed: Feed) -> None:
    save_connection(feed.document(guards={**UNGUARDED, "first_load": "hold"}))
    feed.awards = [award(1)]
    held = sync(connection)
    outcomes = race(
        held,
        [
            as_person("ada", lambda: approve_run(held, checksum=held.plan_checksum, reason="seen")),
            as_person("bob", lambda: refuse_run(held, reason="no")),
        ],
    )
    assert sum(isinstance(outcome, Undecided) for outcome in outcomes) == 1
    held.refresh_from_db()
    assert (held.status == "approved") == SyncRun.objects.filter(carries_out=held).exists()


def test_a_run_that_two_undo_at_once_is_taken_back_once(connection: Connection, feed: Feed) -> None:
    feed.awards = [award(1)]
    run = sync(connection)
    stream = connection.streams.get()

    def undo() -> object:
        return undo_run(run, reason="wrong")

    outcomes = race(stream, [as_person("ada", undo), as_person("bob", undo)])
    assert sum(isinstance(outcome, Undecided) for outcome in outcomes) == 1
    assert SyncRun.objects.filter(undoes=run, status="applied").count() == 1
    assert BillingAccount.objects.get(student__number="S0000001").totals().posted_aid == 0
    assert verify_ledger().faults == []


def test_a_run_that_two_cancel_at_once_is_cancelled_by_one(connection: Connection, feed: Feed) -> None:
    stream = connection.streams.get()
    run = SyncRun.objects.create(stream=stream, status="queued", trigger="command", started_by="ops")

    def cancel() -> object:
        return cancel_run(run, reason="wrong day")

    outcomes = race(run, [as_person("ada", cancel), as_person("bob", cancel)])
    assert sum(isinstance(outcome, Undecided) for outcome in outcomes) == 1
    run.refresh_from_db()
    assert run.status == "cancelled"
