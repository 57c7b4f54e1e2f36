"""A run whose process has died is taken over: it goes on from what still counts, and whoever overslept changes nothing."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import time_machine
from celery import current_app
from django.db import OperationalError
from django.utils import timezone
from kombu.exceptions import OperationalError as NoBroker
from pytest_django.fixtures import Settings
from werkzeug import Request, Response

from audit.context import Actor, acting
from audit.models import AuditEvent
from integrations import tasks
from integrations.decisions import replay_rejections
from integrations.models import (
    Alert,
    Change,
    RejectedRecord,
    RunLease,
    RunPage,
    Stream,
    SyncLink,
    SyncRun,
)
from integrations.models.run import RunTrigger
from integrations.operations import AlreadyRunning, request_run
from integrations.sync import failpoints, runner
from integrations.sync.failpoints import Failpoint
from integrations.sync.lease import MAX_TAKEOVERS, take
from integrations.sync.runner import execute_run
from integrations.sync.takeover import MAX_CURSOR_AGE, MAX_PLAN_AGE
from integrations.sync.verification import verify_ledger
from registration.models import LedgerEntry
from registration.operations import billing
from tests.integrations.conftest import Ledger, Load, approved, sync_stream
from tests.integrations.feed import MAPPING, UNGUARDED, Feed, award
from tests.processes import at_once

PAGINATIONS: dict[str, dict[str, Any]] = {
    "cursor": {"type": "cursor", "cursor": "cursor"},
    "next_url": {"type": "next_url", "next": "next"},
    "link_header": {"type": "link_header"},
    "page": {"type": "page"},
    "offset": {"type": "offset"},
}
# Where a process dies: the pages of these tests are three. The last point is behind the end.
ON_THE_ROAD = [point for point in Failpoint if point is not Failpoint.APPLIED]
BETWEEN_TRANSACTIONS = [
    point for point in ON_THE_ROAD if point not in (Failpoint.STAGING, Failpoint.PLANNING, Failpoint.LANDING)
]


class Killed(BaseException):
    """What ends a process without a word: nothing catches it, and the transaction at hand is rolled back."""


# Do this when a process passes by for the nth time.
AtPoint = Callable[[Failpoint, int, Callable[[], object]], None]


@pytest.fixture
def at_point(monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path) -> AtPoint:
    def arm(point: Failpoint, times: int, act: Callable[[], object]) -> None:
        left = [times]

        def pass_by(armed: Path) -> None:
            if armed.name == point:
                left[0] -= 1
                if left[0] == 0:
                    act()

        monkeypatch.setattr(failpoints, "_stop_where_armed", pass_by)
        settings.FAILPOINTS_DIR = str(tmp_path)

    return arm


def kill() -> None:
    raise Killed


def let_lapse() -> None:
    """As if the time of the lease were over."""
    RunLease.objects.update(expires_at=timezone.now() - datetime.timedelta(seconds=1))


def die(run: SyncRun) -> SyncRun:
    """Let a process take the run and die of it, where the test has armed a point, and the lease run out."""
    with pytest.raises(Killed):
        execute_run(run.pk)
    let_lapse()
    run.refresh_from_db()
    return run


def take_over(run: SyncRun) -> SyncRun:
    before = RunLease.objects.get(pk=run.pk).fence
    done = execute_run(run.pk)
    if not done.is_live and done.status != "failed":
        assert RunLease.objects.get(pk=run.pk).fence == before + 1
    return done


def started_over() -> list[str]:
    """Why runs have begun anew."""
    events = AuditEvent.objects.filter(action="sync_run.started_over").order_by("id")
    return list(events.values_list("reason", flat=True))


def asked(feed: Feed) -> list[str]:
    """What was asked for: the page, cursor or offset of each request."""
    return [
        request.args.get("cursor") or request.args.get("offset") or request.args.get("page") or "first"
        for request in feed.requests
    ]


@pytest.fixture
def paged(feed: Feed, load: Load) -> Callable[..., Stream]:
    """The stream with one record a page and this pagination, ten awards on bills, and a feed that has moved on: 1 and 2 are
    other amounts, 3 and 4 are gone, 11 and 12 are new, 5 cannot be used any more, the others are as they were."""

    def make(pagination: str = "cursor", **changes: Any) -> Stream:
        dataset = feed.dataset(pagination=PAGINATIONS[pagination], **changes)
        stream = load(datasets={"aid_awards": dataset}).streams.get()
        feed.page_size = 4
        feed.awards = [award(number) for number in range(1, 11)]
        assert sync_stream(stream).status == "applied"
        feed.awards = [
            award(1, amount="1.00"),
            award(2, amount="2.00"),
            award(5, amount="a lot"),
            *(award(number) for number in range(6, 13)),
        ]
        feed.requests.clear()
        return Stream.objects.select_related("connection").get(pk=stream.pk)

    return make


def check_applied_once(run: SyncRun) -> None:
    """What the feed of `paged` says is on the bills, once, with one Change and one event for it."""
    assert run.status == "applied", (run.reason, run.technical)
    assert (run.read, run.created, run.modified, run.voided, run.absent) == (10, 2, 2, 2, 2)
    assert (run.unchanged, run.copies, run.rejected, run.held) == (5, 0, 1, 0)
    live = LedgerEntry.objects.exclude(state="void").order_by("account__student__number")
    assert list(live.values_list("account__student__number", "amount_minor")) == [
        ("S0000001", 100),
        ("S0000002", 200),
        *((f"S{number:07d}", 10_000) for number in range(5, 13)),
    ]
    assert (
        sorted(run.changes.values_list("action", flat=True)) == ["create"] * 2 + ["modify"] * 2 + ["void"] * 2
    )
    assert RejectedRecord.objects.filter(run=run).count() == 1
    assert verify_ledger().faults == []
    events = AuditEvent.objects.filter(subject_type="integrations.syncrun", subject_id=str(run.pk))
    assert list(events.filter(action="sync_run.applied").values_list("detail__modified", flat=True)) == [2]


# --- wherever it dies -------------------------------------------------------------------------------------


@pytest.mark.parametrize("pagination", ["cursor", "page"])
@pytest.mark.parametrize("point", ON_THE_ROAD)
def test_wherever_the_process_dies_the_run_is_finished_as_if_it_had_not(
    paged: Callable[..., Stream], at_point: AtPoint, point: Failpoint, pagination: str
) -> None:
    stream = paged(pagination)
    before = list(SyncLink.objects.order_by("id").values_list("key", "live", "amount"))
    run = request_run(stream, RunTrigger.COMMAND)
    at_point(point, 2 if point in (Failpoint.STAGING, Failpoint.STAGED) else 1, kill)
    die(run)
    assert run.status == "running"
    assert list(SyncLink.objects.order_by("id").values_list("key", "live", "amount")) == before
    check_applied_once(take_over(run))
    event = AuditEvent.objects.get(action="sync_run.taken_over")
    assert (event.subject_id, event.detail["fence"]) == (str(run.pk), 2)


def test_a_process_that_dies_after_applying_has_finished(
    paged: Callable[..., Stream], at_point: AtPoint
) -> None:
    run = request_run(paged(), RunTrigger.COMMAND)
    at_point(Failpoint.APPLIED, 1, kill)
    die(run)
    assert take(run.pk) is None
    check_applied_once(execute_run(run.pk))


@pytest.mark.parametrize("point", BETWEEN_TRANSACTIONS)
@pytest.mark.parametrize("pagination", ["cursor", "page"])
def test_a_process_that_overslept_changes_nothing(
    paged: Callable[..., Stream], at_point: AtPoint, point: Failpoint, pagination: str
) -> None:
    run = request_run(paged(pagination), RunTrigger.COMMAND)
    finished: list[SyncRun] = []

    def sleep_while_another_finishes() -> None:
        let_lapse()
        finished.append(execute_run(run.pk))

    at_point(point, 1, sleep_while_another_finishes)
    woken = execute_run(run.pk)
    assert [done.status for done in finished] == ["applied"]
    check_applied_once(woken)
    assert Alert.objects.count() == 0


@pytest.mark.parametrize("point", BETWEEN_TRANSACTIONS)
def test_a_process_that_overslept_does_not_fail_the_run_under_the_hands_of_another(
    paged: Callable[..., Stream], at_point: AtPoint, point: Failpoint
) -> None:
    run = request_run(paged(), RunTrigger.COMMAND)

    def sleep_while_another_begins() -> None:
        let_lapse()
        assert take(run.pk) is not None
        raise ValueError  # whatever it meets when it wakes

    at_point(point, 1, sleep_while_another_begins)
    assert execute_run(run.pk).status == "running"
    assert Alert.objects.count() == 0


# --- what still counts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("pagination", ["cursor", "next_url", "link_header"])
def test_cursors_and_next_addresses_are_gone_on_with(
    paged: Callable[..., Stream], feed: Feed, at_point: AtPoint, pagination: str
) -> None:
    run = request_run(paged(pagination), RunTrigger.COMMAND)
    at_point(Failpoint.STAGED, 2, kill)
    die(run)
    feed.requests.clear()
    check_applied_once(take_over(run))
    assert asked(feed) == ["8"]
    assert started_over() == []


@pytest.mark.parametrize("pagination", ["page", "offset"])
def test_page_numbers_and_offsets_start_the_extract_again(
    paged: Callable[..., Stream], feed: Feed, at_point: AtPoint, pagination: str
) -> None:
    run = request_run(paged(pagination), RunTrigger.COMMAND)
    at_point(Failpoint.STAGED, 2, kill)
    die(run)
    feed.awards.insert(0, feed.awards.pop())  # so that what had been read lies elsewhere
    feed.requests.clear()
    check_applied_once(take_over(run))
    assert asked(feed)[0] in ("1", "0", "first")
    assert started_over() == ["Its pages are numbered: records may have moved from one to another since."]


def test_a_cursor_that_has_grown_old_is_not_used(
    paged: Callable[..., Stream], feed: Feed, at_point: AtPoint
) -> None:
    run = request_run(paged(), RunTrigger.COMMAND)
    at_point(Failpoint.STAGED, 2, kill)
    die(run)
    RunPage.objects.filter(run=run).update(read_at=timezone.now() - MAX_CURSOR_AGE)
    feed.requests.clear()
    check_applied_once(take_over(run))
    assert asked(feed) == ["first", "4", "8"]
    assert started_over() == ["Its next page was named too long ago."]


def test_a_cursor_that_the_source_has_forgotten_starts_the_extract_again(
    paged: Callable[..., Stream], feed: Feed, at_point: AtPoint
) -> None:
    run = request_run(paged(), RunTrigger.COMMAND)
    at_point(Failpoint.STAGED, 2, kill)
    die(run)
    normal, forgotten = feed.page, [True]

    def answer(request: Request) -> Response:
        if request.args.get("cursor") == "8" and forgotten:
            forgotten.clear()
            return Response('{"error": "no such cursor"}', status=410)
        return Response(json.dumps(normal(request)), content_type="application/json")

    feed.answer = answer
    feed.requests.clear()
    check_applied_once(take_over(run))
    assert asked(feed) == ["8", "first", "4", "8"]
    assert "410" in started_over()[0]


def test_a_source_that_is_down_at_the_takeover_fails_the_run_and_keeps_nothing_of_it(
    paged: Callable[..., Stream], feed: Feed, at_point: AtPoint
) -> None:
    run = request_run(paged(), RunTrigger.COMMAND)
    at_point(Failpoint.STAGED, 2, kill)
    die(run)
    feed.answer = lambda _: Response("", status=503)
    done = take_over(run)
    assert done.status == "failed"
    assert "page 3" in done.reason
    assert not Change.objects.filter(run=run).exists()
    assert not RunPage.objects.filter(run=run).exists()


@pytest.mark.parametrize("point", [Failpoint.CONFIRMED, Failpoint.GUARDED, Failpoint.LANDING])
@pytest.mark.parametrize("pagination", ["cursor", "page"])
def test_a_young_plan_is_applied_from_the_plan(
    paged: Callable[..., Stream], feed: Feed, at_point: AtPoint, point: Failpoint, pagination: str
) -> None:
    run = request_run(paged(pagination), RunTrigger.COMMAND)
    at_point(point, 1, kill)
    die(run)
    feed.awards, feed.answer = [], lambda _: Response("", status=500)
    feed.requests.clear()
    check_applied_once(take_over(run))
    assert feed.requests == []


def test_absences_that_were_not_confirmed_yet_are_confirmed_by_whoever_takes_over(
    paged: Callable[..., Stream], feed: Feed, at_point: AtPoint
) -> None:
    run = request_run(paged("page"), RunTrigger.COMMAND)
    at_point(Failpoint.PLANNED, 1, kill)
    die(run)
    feed.awards.append(award(3))
    feed.requests.clear()
    done = take_over(run)
    assert (done.status, done.absent) == ("applied", 1)
    assert len(feed.requests) > 0


def test_an_old_plan_is_abandoned_and_the_source_read_again(
    paged: Callable[..., Stream], feed: Feed, at_point: AtPoint
) -> None:
    run = request_run(paged(), RunTrigger.COMMAND)
    at_point(Failpoint.GUARDED, 1, kill)
    die(run)
    RunLease.objects.update(planned_at=timezone.now() - MAX_PLAN_AGE)
    feed.awards[0] = award(1, amount="1.23")
    done = take_over(run)
    assert (done.status, done.modified) == ("applied", 2)
    assert LedgerEntry.objects.exclude(state="void").filter(amount_minor=123).count() == 1
    assert started_over() == ["Its plan is older than an hour."]


def test_what_was_read_with_another_state_of_the_connection_does_not_count(
    paged: Callable[..., Stream], feed: Feed, load: Load, at_point: AtPoint
) -> None:
    stream = paged()
    run = request_run(stream, RunTrigger.COMMAND)
    at_point(Failpoint.GUARDED, 1, kill)
    die(run)
    load(
        datasets={
            "aid_awards": feed.dataset(
                pagination=PAGINATIONS["cursor"], mapping={**MAPPING, "fund_name": "fund.code"}
            )
        }
    )
    done = take_over(run)
    assert (done.status, done.modified) == ("applied", 7), done.reason
    assert started_over() == ["The connection was changed since it was read."]


def test_a_connection_that_was_switched_off_since_is_not_applied(
    paged: Callable[..., Stream], load: Load, at_point: AtPoint
) -> None:
    run = request_run(paged(), RunTrigger.COMMAND)
    at_point(Failpoint.GUARDED, 1, kill)
    die(run)
    load(enabled=False)
    done = take_over(run)
    assert done.status == "failed"
    assert "switched off" in done.reason


@pytest.mark.parametrize("point", [Failpoint.STAGED, Failpoint.EXTRACTED, Failpoint.GUARDED])
def test_a_bill_that_was_edited_by_hand_since_is_a_conflict_and_no_absence(
    paged: Callable[..., Stream], at_point: AtPoint, ledger: Ledger, point: Failpoint
) -> None:
    """Record 6 was known and so not staged; once its entry is edited it has to be looked at."""
    run = request_run(paged(), RunTrigger.COMMAND)
    at_point(point, 3 if point is Failpoint.STAGED else 1, kill)
    die(run)
    billing.void(LedgerEntry.objects.get(account__student__number="S0000006"), reason="by hand")
    done = take_over(run)
    assert done.status == "held"
    assert done.changes.get(key="A0006#1").conflict is not None
    assert not done.changes.filter(key="A0006#1", is_absent=True).exists()
    assert len(started_over()) == 1


def test_the_watermark_stays_where_it_was(feed: Feed, load: Load, at_point: AtPoint) -> None:
    incremental = {"param": "since", "field": "updated_at"}
    dataset = feed.dataset(pagination=PAGINATIONS["cursor"], incremental=incremental)
    stream = load(datasets={"aid_awards": dataset}).streams.get()
    feed.page_size = 1
    feed.awards = [award(1), award(2)]
    sync_stream(stream)
    stream.refresh_from_db()
    before = stream.watermark
    assert before
    feed.awards = [
        award(1, amount="3.00", updated_at="2026-10-01T00:00:00Z"),
        award(2, amount="4.00", updated_at="2026-10-02T00:00:00Z"),
    ]
    run = request_run(Stream.objects.get(pk=stream.pk), RunTrigger.COMMAND)
    at_point(Failpoint.STAGED, 1, kill)
    die(run)
    done = take_over(run)
    stream.refresh_from_db()
    assert (done.status, done.modified, done.is_complete, stream.watermark) == ("applied", 2, False, before)


# --- runs of every kind -----------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ON_THE_ROAD)
def test_a_dry_run_is_taken_over_and_changes_nothing(
    paged: Callable[..., Stream], at_point: AtPoint, point: Failpoint
) -> None:
    before = list(LedgerEntry.objects.order_by("id").values())
    run = request_run(paged(), RunTrigger.COMMAND, dry_run=True)
    before = list(LedgerEntry.objects.order_by("id").values())
    if point in (Failpoint.GUARDED, Failpoint.LANDING):
        point = Failpoint.CONFIRMED  # a dry run ends before those
    at_point(point, 1, kill)
    die(run)
    done = take_over(run)
    assert (done.status, done.created, done.modified, done.voided) == ("previewed", 2, 2, 2)
    assert list(LedgerEntry.objects.order_by("id").values()) == before


@pytest.mark.parametrize("point", ON_THE_ROAD)
def test_a_run_that_carries_out_an_approval_is_taken_over_within_its_ceiling(
    paged: Callable[..., Stream], load: Load, feed: Feed, at_point: AtPoint, point: Failpoint
) -> None:
    stream = paged()
    load(
        guards={**UNGUARDED, "max_modified_count": 1, "max_modified_share": 0.1},
        datasets={"aid_awards": feed.dataset(pagination=PAGINATIONS["cursor"])},
    )
    held = sync_stream(stream)
    assert held.status == "held"
    feed.awards.append(award(4, amount="4.00"))  # not what was approved
    at_point(point, 1, kill)
    with pytest.raises(Killed):
        approved(held)
    let_lapse()
    follower = SyncRun.objects.get(carries_out=held)
    done = take_over(follower)
    assert (done.status, done.modified, done.created, done.absent) == ("applied", 2, 2, 1), done.reason
    assert done.held == 1


def test_a_held_plan_is_held_once(
    paged: Callable[..., Stream], load: Load, feed: Feed, at_point: AtPoint
) -> None:
    stream = paged()
    load(
        guards={**UNGUARDED, "max_modified_count": 1, "max_modified_share": 0.1},
        datasets={"aid_awards": feed.dataset(pagination=PAGINATIONS["cursor"])},
    )
    run = request_run(stream, RunTrigger.COMMAND)
    at_point(Failpoint.CONFIRMED, 1, kill)
    die(run)
    done = take_over(run)
    assert done.status == "held"
    assert len(done.plan_checksum) == 64
    assert Alert.objects.get().times == 1


def test_a_replay_is_taken_over_from_the_first_record_that_it_takes_again(
    feed: Feed, stream: Stream, load: Load, at_point: AtPoint
) -> None:
    feed.awards = [award(number, state="odd") for number in range(1, 4)]
    assert sync_stream(stream).rejected == 3
    mapping = {**MAPPING, "status": {"path": "state", "lookup": {"odd": "disbursed"}}}
    load(datasets={"aid_awards": feed.dataset(mapping=mapping)})
    with acting(Actor(kind="user", name="rita")):
        replay = replay_rejections(RejectedRecord.objects.all(), reason="mended")
    at_point(Failpoint.STAGED, 1, kill)
    die(replay)
    feed.answer = lambda _: Response("", status=500)
    done = take_over(replay)
    assert (done.status, done.created) == ("applied", 3), done.reason
    assert RejectedRecord.objects.open().count() == 0


# --- who takes over ---------------------------------------------------------------------------------------


def test_the_sweeper_rings_for_a_run_whose_lease_has_run_out_and_for_no_other(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung: list[int] = []
    monkeypatch.setattr("integrations.operations.ring", rung.append)
    run = request_run(stream, RunTrigger.COMMAND)
    take(run.pk)
    tasks.sweep_runs()
    assert rung == []
    with time_machine.travel(timezone.now() + datetime.timedelta(seconds=31)):
        tasks.sweep_runs()
    assert rung == [run.pk]


def test_a_ring_that_nobody_answers_holds_up_nobody(
    stream: Stream, settings: Settings, tmp_path: Path
) -> None:
    url = f"redis+socket://{tmp_path / 'nobody.sock'}"
    with current_app.connection_for_write(url) as connection:
        start = time.monotonic()
        with pytest.raises(NoBroker):
            current_app.send_task("integrations.tasks.run_sync", [1], connection=connection)
    assert time.monotonic() - start < 1


def test_the_worker_that_is_rung_takes_the_run_over(paged: Callable[..., Stream], at_point: AtPoint) -> None:
    run = request_run(paged(), RunTrigger.SCHEDULE)
    at_point(Failpoint.STAGED, 1, kill)
    die(run)
    tasks.run_sync(run.pk)
    run.refresh_from_db()
    check_applied_once(run)


def test_a_run_is_taken_over_by_one_only_and_not_before_its_lease_has_run_out(stream: Stream) -> None:
    run = request_run(stream, RunTrigger.COMMAND)
    first = take(run.pk)
    assert take(run.pk) is None
    let_lapse()
    second = take(run.pk)
    assert (first and first.fence, second and second.fence) == (1, 2)
    assert take(run.pk) is None


@pytest.mark.django_db(transaction=True)
def test_of_eight_processes_that_would_take_a_silent_run_over_one_does(stream: Stream) -> None:
    run = request_run(stream, RunTrigger.COMMAND)
    take(run.pk)
    let_lapse()
    said = at_once(
        8,
        setup="from integrations.sync.lease import take",
        act=f"lease = take({run.pk}); print(lease.fence if lease else 0)",
    )
    assert sorted(map(int, said)) == [0] * 7 + [2]
    assert AuditEvent.objects.filter(action="sync_run.taken_over").count() == 1


def test_whoever_asks_beside_a_live_run_is_told_who_holds_it(stream: Stream) -> None:
    run = request_run(stream, RunTrigger.COMMAND)
    take(run.pk)
    holder = RunLease.objects.get().holder
    with pytest.raises(AlreadyRunning, match=f"{holder} holds it, and was alive at .* UTC"):
        request_run(stream, RunTrigger.COMMAND)


def test_a_run_over_which_process_after_process_dies_fails_and_says_so(
    paged: Callable[..., Stream], at_point: AtPoint
) -> None:
    stream = paged()
    before = list(LedgerEntry.objects.order_by("id").values())
    run = request_run(stream, RunTrigger.COMMAND)
    for _ in range(MAX_TAKEOVERS + 1):
        at_point(Failpoint.TAKEN, 1, kill)
        die(run)
    done = execute_run(run.pk)
    assert done.status == "failed"
    assert "6 processes in turn have died or stalled over it" in done.reason
    assert "Nothing was applied" in done.reason
    assert Alert.objects.open().get().run == run
    assert list(LedgerEntry.objects.order_by("id").values()) == before
    assert sync_stream(stream).status == "applied"


def test_a_run_whose_database_went_away_is_left_to_be_taken_over(
    paged: Callable[..., Stream], at_point: AtPoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = request_run(paged(), RunTrigger.COMMAND)
    closed: list[bool] = []
    monkeypatch.setattr(runner, "connection", type("Lost", (), {"close": lambda _: closed.append(True)})())

    def lose_the_database() -> None:
        raise OperationalError("the server closed the connection unexpectedly")

    at_point(Failpoint.STAGED, 2, lose_the_database)
    assert execute_run(run.pk).status == "running"
    assert closed == [True]
    assert Alert.objects.count() == 0
    let_lapse()
    check_applied_once(take_over(run))


def test_a_last_page_that_the_announced_total_contradicts_is_never_kept(
    feed: Feed, load: Load, at_point: AtPoint
) -> None:
    """Were it kept, a process that dies then would leave what looks like the end of a whole feed."""
    pagination = {"type": "cursor", "cursor": "cursor", "total": "total"}
    stream = load(datasets={"aid_awards": feed.dataset(pagination=pagination)}).streams.get()
    pages = iter([{"data": [award(1)], "cursor": "2", "total": 3}, {"data": [award(2)], "total": 3}])
    feed.answer = lambda _: Response(json.dumps(next(pages)))
    at_point(Failpoint.STAGING, 2, kill)
    run = execute_run(request_run(stream, RunTrigger.COMMAND).pk)
    assert run.status == "failed"
    assert "announced 3 records and 2 came" in run.reason


def test_nothing_is_left_of_a_plan_that_was_started_over(
    paged: Callable[..., Stream], at_point: AtPoint
) -> None:
    run = request_run(paged("page"), RunTrigger.COMMAND)
    at_point(Failpoint.STAGED, 3, kill)
    die(run)
    assert RunPage.objects.filter(run=run).count() == 3
    done = take_over(run)
    numbers = list(RunPage.objects.filter(run=done).order_by("number").values_list("number", flat=True))
    assert numbers == list(range(1, len(numbers) + 1))
    assert done.pages == len(numbers)


def test_no_process_stops_anywhere_in_an_ordinary_installation(settings: Settings) -> None:
    assert settings.FAILPOINTS_DIR is None
