"""Due work is found in the database; beat and brokers only ring."""

from __future__ import annotations

import datetime

import pytest
import time_machine
from django.utils import timezone

from integrations import operations
from integrations.due_work import start_due_runs
from integrations.models import Connection, RunLease, Stream, SyncRun
from integrations.models.run import RunTrigger
from integrations.operations import request_run
from integrations.sync.lease import take
from integrations.tasks import run_sync, start_due_syncs, sweep_runs
from tests.integrations.conftest import Sync
from tests.integrations.feed import Feed, award

pytestmark = pytest.mark.django_db


def test_a_new_connection_is_due_at_once_and_then_a_day_later(stream: Stream) -> None:
    assert start_due_runs() == 1
    stream.refresh_from_db()
    assert stream.next_run_at is not None
    assert stream.next_run_at - timezone.now() > datetime.timedelta(hours=23, minutes=59)


def test_two_beats_start_one_run(stream: Stream) -> None:
    assert [start_due_syncs(), start_due_syncs()] == [1, 0]
    assert SyncRun.objects.count() == 1


def test_at_least_every_24_hours(stream: Stream, sync: Sync) -> None:
    start_due_runs()
    run_sync(SyncRun.objects.get().pk)
    with time_machine.travel(timezone.now() + datetime.timedelta(hours=24, seconds=1)):
        assert start_due_runs() == 1


def test_a_switched_off_connection_is_not_due(stream: Stream, connection: Connection) -> None:
    Connection.objects.filter(pk=connection.pk).update(enabled=False)
    assert start_due_runs() == 0


def test_a_worker_brings_a_queued_run_to_its_end_once(stream: Stream, feed: Feed) -> None:
    feed.awards = [award(1)]
    run = request_run(stream, RunTrigger.SCHEDULE)
    run_sync(run.pk)
    run_sync(run.pk)
    run.refresh_from_db()
    assert (run.status, run.created) == ("applied", 1)
    assert run.changes.count() == 1


def test_a_run_whose_process_died_is_rung_for_once_its_lease_is_over_and_goes_on(
    stream: Stream, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung: list[int] = []
    monkeypatch.setattr(operations, "ring", rung.append)
    feed.awards = [award(1)]
    run = request_run(stream, RunTrigger.SCHEDULE)
    assert take(run.pk)
    rung.clear()
    sweep_runs()
    assert rung == []
    RunLease.objects.update(expires_at=timezone.now() - datetime.timedelta(seconds=1))
    sweep_runs()
    assert rung == [run.pk]
    run_sync(run.pk)
    run.refresh_from_db()
    assert run.status == "applied"
