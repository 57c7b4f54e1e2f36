"""A run's life: one at a time, held by a lease, never half applied, and only what was planned and certified."""

from __future__ import annotations

import datetime
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
import time_machine
from django.db import connection as database
from django.utils import timezone
from werkzeug import Request, Response

from audit.models import AuditEvent
from integrations import tasks
from integrations.due_work import start_due_runs
from integrations.models import Alert, Change, Connection, RunLease, Stream, SyncLink, SyncRun
from integrations.models.run import RunStatus, RunStep, RunTrigger
from integrations.operations import (
    AlreadyRunning,
    NotSyncable,
    archive_connection,
    request_run,
    save_connection,
)
from integrations.sync.certificate import Certificate, CertificateBroken, Tally
from integrations.sync.lease import LeaseLost, take
from integrations.sync.runner import execute_run
from integrations.sync.verification import verify_ledger
from registration.models import LedgerEntry, Student, Term
from tests.database_roles import as_owner
from tests.integrations.conftest import Balance, Ledger, Load, Sync, sync_stream
from tests.integrations.feed import MAPPING, UNGUARDED, Feed, award
from tests.refusals import refused_by
from tests.university import make_students, make_terms

LEASE = datetime.timedelta(seconds=30)


def during(feed: Feed, what: Callable[[], object], *, page: int = 2) -> None:
    """Do something while the run waits for this page of the feed, from another thread, as another process would."""
    done = threading.Event()

    def answer(request: Request) -> Response:
        if request.args.get("page") == str(page) and not done.is_set():
            done.set()
            try:
                what()
            finally:
                database.close()
        return Response(json.dumps(feed.page(request)))

    feed.answer = answer


def tables() -> dict[str, list[Any]]:
    """Everything that a run may change for good."""
    return {
        "ledger": list(LedgerEntry.objects.order_by("id").values()),
        "links": [
            {name: bytes(value) if isinstance(value, memoryview) else value for name, value in row.items()}
            for row in SyncLink.objects.order_by("id").values()
        ],
    }


@pytest.fixture
def road(transactional_db: None, feed: Feed) -> Stream:
    """The stream of a connection in a database that other threads can see; two awards are on bills."""
    make_terms()
    make_students(3)
    stream = save_connection(feed.document())[0].streams.get()
    feed.page_size = 1
    feed.awards = [award(1), award(2)]
    assert sync_stream(stream).status == "applied"
    feed.awards = [award(1, amount="1.00"), award(2, amount="2.00")]
    return stream


# --- one at a time ----------------------------------------------------------------------------------------


def test_a_stream_has_one_live_run_at_most(stream: Stream) -> None:
    first = request_run(stream, RunTrigger.COMMAND)
    with pytest.raises(
        AlreadyRunning, match=f"Run {first.pk} of financial-aid/aid_awards is queued"
    ) as caught:
        request_run(stream, RunTrigger.ADMIN)
    assert caught.value.run == first
    for status in ("queued", "running"):
        SyncRun.objects.filter(pk=first.pk).update(status=status)
        with refused_by("sync_run_one_live_for_a_stream"):
            SyncRun.objects.create(stream=stream, trigger="command", started_by="x")
    assert SyncRun.objects.count() == 1


def test_a_run_that_is_over_makes_room_for_the_next(feed: Feed, sync: Sync) -> None:
    assert [sync().status for _ in range(3)] == ["applied"] * 3


def test_two_connections_may_run_at_once(feed: Feed, stream: Stream) -> None:
    other = save_connection(feed.document(slug="other"))[0].streams.get()
    request_run(stream, RunTrigger.COMMAND)
    request_run(other, RunTrigger.COMMAND)
    assert SyncRun.objects.live().count() == 2


def test_a_run_is_taken_once(stream: Stream) -> None:
    run = request_run(stream, RunTrigger.COMMAND)
    lease = take(run.pk)
    assert lease is not None
    assert take(run.pk) is None
    assert execute_run(run.pk).status == "running"
    assert not Change.objects.exists()


@pytest.mark.parametrize("obstacle", ["disabled", "archived", "undeclared"])
def test_what_is_switched_off_is_not_synced(load: Load, stream: Stream, obstacle: str) -> None:
    if obstacle == "disabled":
        load(enabled=False)
    elif obstacle == "archived":
        archive_connection(stream.connection)
    else:
        load(datasets={})
    with pytest.raises(NotSyncable, match="switch it on"):
        request_run(Stream.objects.get(pk=stream.pk), RunTrigger.ADMIN)
    assert not SyncRun.objects.exists()


@pytest.mark.parametrize("obstacle", ["disabled", "archived", "undeclared"])
def test_a_queued_run_of_what_was_switched_off_meanwhile_applies_nothing(
    feed: Feed, load: Load, stream: Stream, obstacle: str
) -> None:
    feed.awards = [award(1)]
    run = request_run(stream, RunTrigger.ADMIN)
    if obstacle == "disabled":
        load(enabled=False)
    elif obstacle == "archived":
        archive_connection(Connection.objects.get())
    else:
        load(datasets={})
    run = execute_run(run.pk)
    assert run.status == "failed"
    assert "switched off" in run.reason
    assert feed.requests == []
    assert not LedgerEntry.objects.exists()


# --- when ------------------------------------------------------------------------------------------------


def test_a_new_connection_is_due_at_once_and_then_every_24_hours(stream: Stream) -> None:
    now = timezone.now()
    assert start_due_runs() == 1
    SyncRun.objects.update(status="applied", finished_at=now)
    assert start_due_runs() == 0
    with time_machine.travel(now + datetime.timedelta(hours=23, minutes=59)):
        assert start_due_runs() == 0
    with time_machine.travel(now + datetime.timedelta(hours=24, seconds=5)):
        assert tasks.start_due_syncs() == 1
        assert start_due_runs() == 0
    run = SyncRun.objects.live().get()
    assert (run.trigger, run.started_by) == ("schedule", "schedule")


def test_a_sync_that_is_due_while_another_runs_follows_when_that_is_over(stream: Stream) -> None:
    run = request_run(stream, RunTrigger.COMMAND)
    assert start_due_runs() == 0
    SyncRun.objects.filter(pk=run.pk).update(status="applied", finished_at=timezone.now())
    assert start_due_runs() == 1


def test_nothing_is_due_where_only_a_person_starts_it(load: Load) -> None:
    load(schedule="manual")
    with time_machine.travel(timezone.now() + datetime.timedelta(days=400)):
        assert start_due_runs() == 0


def test_a_person_may_sync_at_any_time_and_the_run_says_who(feed: Feed, sync: Sync) -> None:
    feed.awards = [award(1)]
    first, second = sync(), sync()
    assert (first.status, second.status) == ("applied", "applied")
    assert first.started_by == "system"
    assert first.started_at is not None
    assert first.finished_at is not None
    assert first.requested_at <= first.started_at <= first.finished_at


def test_the_worker_does_a_queued_run_and_a_ring_for_what_is_gone_does_nothing(
    feed: Feed, stream: Stream
) -> None:
    feed.awards = [award(1)]
    run = request_run(stream, RunTrigger.ADMIN)
    for _ in range(2):
        tasks.run_sync(run.pk)
    run.refresh_from_db()
    assert (run.status, run.created) == ("applied", 1)
    assert LedgerEntry.objects.count() == 1
    tasks.run_sync(run.pk + 1000)


# --- the lease --------------------------------------------------------------------------------------------


def test_a_lease_is_taken_renewed_and_lost(stream: Stream, settings: Any) -> None:
    settings.RUN_LEASE_SECONDS = 30
    run = request_run(stream, RunTrigger.COMMAND)
    lease = take(run.pk)
    assert lease is not None
    taken = RunLease.objects.get()
    assert taken.expires_at - taken.heartbeat_at == LEASE
    assert str(run.pk) in str(taken)
    later = timezone.now() + datetime.timedelta(seconds=20)
    with time_machine.travel(later, tick=False):
        lease.renew()
    assert RunLease.objects.get().expires_at == later + LEASE
    for change in ({"fence": 2}, {"fence": 1}):
        RunLease.objects.update(**change)
        SyncRun.objects.update(
            **({"status": "cancelled", "finished_at": timezone.now()} if change["fence"] == 1 else {})
        )
        with pytest.raises(LeaseLost):
            lease.renew()
        with pytest.raises(LeaseLost):
            lease.lock()


def test_a_run_whose_fence_has_moved_on_applies_nothing(road: Stream, feed: Feed) -> None:
    before = tables()
    during(feed, lambda: RunLease.objects.update(fence=2))
    run = sync_stream(road)
    assert run.status == "running"
    assert tables() == before


def test_a_run_that_was_cancelled_while_it_read_applies_nothing(road: Stream, feed: Feed) -> None:
    before = tables()
    during(
        feed,
        lambda: SyncRun.objects.live().update(status=RunStatus.CANCELLED, finished_at=timezone.now()),
    )
    assert sync_stream(road).status == "cancelled"
    assert tables() == before


# --- the connection is edited meanwhile -------------------------------------------------------------------

EDITS: dict[str, Callable[[Feed], dict[str, Any]]] = {
    "mapping": lambda feed: {
        "datasets": {"aid_awards": feed.dataset(mapping={**MAPPING, "fund_name": "fund.code"})}
    },
    "parameters": lambda feed: {"datasets": {"aid_awards": feed.dataset(params={"year": "2027"})}},
    "path": lambda feed: {"datasets": {"aid_awards": feed.dataset(path="/v2/awards")}},
    "address": lambda feed: {"base_url": f"{feed.base_url}/v2"},
    "credential": lambda _: {"auth": {"type": "bearer", "token": "another"}},
    "guards": lambda _: {"guards": {"max_modified_count": 0, "max_modified_share": 0}},
    "switched off": lambda _: {"enabled": False},
    "dataset taken out": lambda _: {"datasets": {}},
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_a_connection_that_was_edited_during_the_run_applies_nothing(
    road: Stream, feed: Feed, edit: Callable[[Feed], dict[str, Any]]
) -> None:
    before = tables()
    during(feed, lambda: save_connection(feed.document(**edit(feed))))
    run = sync_stream(road)
    assert (run.status, run.created, run.modified, run.voided) == ("failed", 0, 0, 0)
    assert "was changed or switched off while this run was waiting or reading" in run.reason
    assert tables() == before


def test_a_connection_that_was_archived_during_the_run_applies_nothing(road: Stream, feed: Feed) -> None:
    before = tables()
    during(feed, lambda: archive_connection(Connection.objects.get()))
    assert sync_stream(road).status == "failed"
    assert tables() == before


def test_loading_the_same_document_during_the_run_disturbs_nobody(road: Stream, feed: Feed) -> None:
    during(feed, lambda: save_connection(feed.document()))
    run = sync_stream(road)
    assert (run.status, run.modified) == ("applied", 2)


def test_a_term_that_changes_its_code_during_the_run_does_not_lose_an_entry(road: Stream, feed: Feed) -> None:
    before = tables()
    during(feed, lambda: Term.objects.filter(code="2026FA").update(code="2026XX"), page=3)
    run = sync_stream(road)
    assert run.status == "failed"
    assert tables() == before
    assert verify_ledger().faults == []


# --- dry runs ---------------------------------------------------------------------------------------------


def test_a_dry_run_changes_nothing_and_shows_what_it_would_do(
    feed: Feed, sync: Sync, balance: Balance
) -> None:
    feed.awards = [award(number) for number in range(1, 5)]
    sync()
    before = tables()
    feed.awards = [
        award(1, amount="1.00"),
        award(2, state="cancelled"),
        award(3),
        award(9),
        award(8, amount="x"),
    ]
    run = sync(dry_run=True)
    assert (run.status, run.is_dry_run) == ("previewed", True)
    assert (run.read, run.created, run.modified, run.voided, run.absent) == (5, 1, 1, 2, 1)
    assert (run.unchanged, run.rejected) == (1, 1)
    assert tables() == before
    actions = dict(run.changes.values_list("key", "action"))
    assert actions == {"A0001#1": "modify", "A0002#1": "void", "A0004#1": "void", "A0009#1": "create"}
    assert (balance(1), balance(9)) == (-10_000, 0)
    real = sync()
    assert (real.status, real.created, real.modified, real.voided) == ("applied", 1, 1, 2)
    assert (balance(1), balance(9)) == (-100, -10_000)


def test_a_dry_run_as_the_very_first_leaves_the_first_sync_as_it_would_have_been(
    feed: Feed, sync: Sync
) -> None:
    feed.awards = [award(1)]
    assert sync(dry_run=True).created == 1
    assert not SyncLink.objects.exists()
    run = sync()
    assert (run.status, run.created) == ("applied", 1)


# --- guards -----------------------------------------------------------------------------------------------

GUARDS: dict[str, tuple[dict[str, Any], list[Any], str]] = {
    "first load": ({"first_load": "hold"}, [], "first load"),
    "voids by number": ({"max_void_count": 1}, [award(3)], "void 2 of 3"),
    "voids by share": ({"max_void_share": 0.5}, [award(3)], "void 2 of 3"),
    "voids by both": ({"max_void_share": 0.5, "max_void_count": 1}, [award(3)], "void 2 of 3"),
    "modifications": (
        {"max_modified_share": 0.1, "max_modified_count": 1},
        [award(1, amount="1"), award(2, amount="1"), award(3)],
        "modify 2 of 3",
    ),
    "gross change": (
        {"max_gross_change": "149.99"},
        [award(1, amount="150"), award(2, amount="0.00"), award(3)],
        "150.00 USD",
    ),
    "gross change by share": (
        {"max_gross_change_share": 0.49},
        [award(1, amount="150"), award(2), award(3)],
        "",
    ),
    "a single student": (
        {"max_student_change": "99.99"},
        [award(1, amount="200"), award(2), award(3)],
        "single student",
    ),
}


@pytest.mark.parametrize(
    ("guards", "awards", "words"),
    [GUARDS[name] for name in GUARDS if name not in ("first load", "gross change by share")],
    ids=[name for name in GUARDS if name not in ("first load", "gross change by share")],
)
def test_a_guard_that_the_document_names_holds_the_plan_and_alerts(
    feed: Feed, load: Load, sync: Sync, guards: dict[str, Any], awards: list[Any], words: str
) -> None:
    feed.awards = [award(number) for number in range(1, 4)]
    sync()
    load(guards={**UNGUARDED, **guards})
    before = tables()
    feed.awards = awards
    assert sync(dry_run=True).reason
    run = sync()
    assert run.status == "held"
    assert words in run.reason
    assert tables() == before
    assert Alert.objects.open().get().text == run.reason
    assert len(run.plan_checksum) == 64
    load()
    assert sync().status == "applied"
    assert not Alert.objects.open().exists()


def test_a_first_load_is_held_where_the_document_says_so(feed: Feed, load: Load, sync: Sync) -> None:
    load(guards={})
    assert sync().status == "applied"
    feed.awards = [award(1)]
    run = sync()
    assert run.status == "held"
    assert "first load" in run.reason
    assert not LedgerEntry.objects.exists()


@pytest.mark.parametrize(
    "guards",
    [
        {"max_void_share": 0.9, "max_void_count": 1},
        {"max_void_share": 0.1, "max_void_count": 2},
        {"max_void_count": 2},
        {"max_void_share": 0.7},
        {"max_gross_change": "200.00"},
        {"max_gross_change_share": 0.67},
        {"max_student_change": "100.00"},
    ],
)
def test_a_guard_trips_only_above_every_limit_that_it_names(
    feed: Feed, load: Load, sync: Sync, guards: dict[str, Any]
) -> None:
    feed.awards = [award(number) for number in range(1, 4)]
    sync()
    load(guards={**UNGUARDED, **guards})
    feed.awards = [award(3)]
    run = sync()
    assert (run.status, run.voided) == ("applied", 2), run.reason


def test_a_swap_between_students_does_not_hide_from_the_gross_change(
    feed: Feed, load: Load, sync: Sync
) -> None:
    feed.awards = [award(1), award(2)]
    sync()
    load(guards={**UNGUARDED, "max_gross_change": "50.00"})
    feed.awards = [award(1, amount="60.00"), award(2, amount="140.00")]
    run = sync()
    assert run.status == "held"
    assert "80.00 USD" in run.reason


# --- the certificate --------------------------------------------------------------------------------------


def test_the_certificate_of_a_run_adds_up_in_counts_and_in_money(feed: Feed, sync: Sync) -> None:
    feed.awards = [award(number, amount="10.00") for number in range(1, 7)]
    sync()
    feed.awards = [
        award(1, amount="15.00"),
        award(2, state="cancelled", amount="9.00"),
        award(3, amount="10.00"),
        award(3, amount="10.00"),
        award(4, amount="ten"),
        award(7, amount="2.50"),
        award(8, student={"number": "S9"}, amount="4.00"),
    ]
    run = sync()
    assert run.status == "applied", run.reason
    assert (run.read, run.created, run.modified, run.voided, run.absent) == (7, 1, 1, 3, 2)
    assert (run.unchanged, run.copies, run.rejected, run.held) == (1, 1, 2, 0)
    assert (run.live_before, run.live_after) == (6, 4)
    sums = run.certificate["sums"]
    assert run.certificate["currency"] == "USD"
    assert {
        name: sums[name] for name in ("read", "created", "modified", "voided", "live_before", "live_after")
    } == {
        "read": 250 + 1500 + 900 + 1000 + 1000 + 400,
        "created": 250,
        "modified": 1500,
        "voided": 3_000,
        "live_before": 6_000,
        "live_after": 250 + 1500 + 1000 + 1000,
    }


@pytest.mark.parametrize(
    "tamper",
    [
        "UPDATE integrations_synclink SET amount = amount + 1 WHERE key = 'A0001#1'",
        "UPDATE integrations_synclink SET live = FALSE, object_id = NULL WHERE key = 'A0001#1'",
        "DELETE FROM integrations_synclink WHERE key = 'A0001#1'",
        "INSERT INTO integrations_synclink (stream_id, key, raw_fingerprint, canonical_fingerprint, amount, live, "
        "scope) SELECT stream_id, 'stray', raw_fingerprint, canonical_fingerprint, 0, TRUE, scope FROM integrations_synclink",
        "UPDATE integrations_change SET amount_after = amount_after + 1 WHERE key = 'A0002#1'",
        "DELETE FROM integrations_change WHERE key = 'A0002#1'",
    ],
)
def test_what_is_tampered_with_between_plan_and_apply_fails_the_run_whole(
    feed: Feed, sync: Sync, ledger: Ledger, tamper: str
) -> None:
    """A trigger stands in for whoever tampers: it fires when the run passes from its plan to its guards."""
    feed.awards = [award(1)]
    sync()
    feed.awards = [award(1), award(2)]
    before = tables()
    with at_step(RunStep.GUARD, tamper):
        run = sync()
    assert run.status == "failed"
    assert "add up" in run.reason
    assert "fault of Matricula" in run.reason
    assert tables() == before or "synclink" in tamper
    assert ledger(2) == []
    assert not run.changes.exists()


class at_step:  # noqa: N801 - reads as the words that it stands for
    """While inside, the database itself runs a statement when a run enters a step."""

    def __init__(self, step: RunStep, statement: str) -> None:
        self.step, self.statement = step.value, statement

    def __enter__(self) -> None:
        when = f"WHEN (NEW.step = '{self.step}' AND OLD.step <> '{self.step}')"
        with as_owner(), database.cursor() as cursor:
            if database.vendor == "postgresql":
                cursor.execute(
                    "CREATE FUNCTION tamper() RETURNS trigger LANGUAGE plpgsql AS "
                    f"$$ BEGIN {self.statement}; RETURN NEW; END $$"
                )
                cursor.execute(
                    "CREATE TRIGGER tamper AFTER UPDATE ON integrations_syncrun "
                    f"FOR EACH ROW {when} EXECUTE FUNCTION tamper()"
                )
            else:
                cursor.execute(
                    "CREATE TRIGGER tamper AFTER UPDATE ON integrations_syncrun "
                    f"FOR EACH ROW {when} BEGIN {self.statement}; END"
                )

    def __exit__(self, *_: object) -> None:
        with as_owner(), database.cursor() as cursor:
            if database.vendor == "postgresql":
                cursor.execute("DROP FUNCTION tamper() CASCADE")
            else:
                cursor.execute("DROP TRIGGER tamper")


def test_a_certificate_says_which_equation_is_broken() -> None:
    good = Tally(read=10, created=2, modified=1, modified_before=1, cancelled=1, cancelled_before=1, absent=3)
    good.unchanged, good.copies, good.rejected, good.held, good.live_before = 2, 1, 2, 1, 9
    Certificate(good, Tally()).check_read()
    Certificate(good, Tally()).check_live(7, 0)
    for name in ("read", "created", "modified", "cancelled", "unchanged", "copies", "rejected", "held"):
        broken = Tally(**{**vars(good), name: getattr(good, name) + 1})
        with pytest.raises(CertificateBroken, match="not everything is accounted for in records"):
            Certificate(broken, Tally()).check_read()
        with pytest.raises(CertificateBroken, match="not everything is accounted for in money"):
            Certificate(Tally(), broken).check_read()
    for name in ("created", "modified", "modified_before", "cancelled_before", "absent", "live_before"):
        broken = Tally(**{**vars(good), name: getattr(good, name) + 1})
        with pytest.raises(CertificateBroken, match="does not add up in records"):
            Certificate(broken, Tally()).check_live(7, 0)
        with pytest.raises(CertificateBroken, match="does not add up in money"):
            Certificate(good, broken).check_live(7, 7)


# --- the trail --------------------------------------------------------------------------------------------


def test_one_event_stands_for_a_run_whatever_it_changed(feed: Feed, sync: Sync) -> None:
    feed.awards = [award(number) for number in range(1, 9)]
    run = sync()
    events = AuditEvent.objects.exclude(subject_type="integrations.connection").order_by("id")
    assert [event.action for event in events] == ["sync_run.requested", "sync_run.applied"]
    assert {event.subject_id for event in events} == {str(run.pk)}
    assert events[1].detail["created"] == 8


def test_each_change_keeps_what_was_and_what_is_and_whose_it_is(feed: Feed, sync: Sync) -> None:
    feed.awards = [award(1)]
    sync()
    feed.awards = [award(1, amount="80.00", state="accepted")]
    change = sync().changes.get()
    assert (change.action, change.amount_before, change.amount_after) == ("modify", 10_000, 8_000)
    assert change.before is not None
    assert change.after is not None
    assert (change.before["status"], change.after["status"]) == ("disbursed", "accepted")
    assert change.student == Student.objects.get(number="S0000001")
    assert LedgerEntry.objects.get(posted_change=change.pk).state == "anticipated"
    feed.awards = []
    change = sync().changes.get()
    assert (change.action, change.is_absent, change.amount_before, change.after) == (
        "void",
        True,
        8_000,
        None,
    )
    assert change.before is not None
    assert change.before["amount"] == 8_000
