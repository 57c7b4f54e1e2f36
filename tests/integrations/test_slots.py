"""A slot has one run: with two beats, with none for an hour, with clocks that are changed, with machines that pause."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

import pytest
import time_machine
from django.db import IntegrityError, transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integrations.due_work import start_due_runs
from integrations.models import Connection, Stream, SyncRun
from integrations.models.run import RunTrigger
from integrations.operations import request_run, reschedule
from integrations.sync.silence import notice_silent_feeds
from tests.integrations.conftest import Load
from tests.processes import at_once

pytestmark = pytest.mark.django_db
MIDNIGHT = datetime.datetime(2026, 10, 31, 5, tzinfo=datetime.UTC)  # in Chicago
MINUTE, HOUR = datetime.timedelta(minutes=1), datetime.timedelta(hours=1)
DAILY = {"daily_at": "02:00", "time_zone": "America/Chicago"}


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(MIDNIGHT, tick=False) as clock:
        yield clock


def ring(clock: time_machine.Traveller, moment: datetime.datetime) -> int:
    """Beat rings at this moment, and whatever starts has ended before the next ring."""
    clock.move_to(moment)
    started = start_due_runs()
    SyncRun.objects.live().update(status="failed", reason="Why", finished_at=timezone.now())
    return started


def slots() -> list[datetime.datetime | None]:
    return list(SyncRun.objects.order_by("pk").values_list("slot_at", flat=True))


@pytest.mark.django_db(transaction=True)
def test_of_eight_beats_at_one_moment_one_starts_the_run(load: Load) -> None:
    load(schedule={"every_minutes": 5})
    said = at_once(
        8,
        setup="from integrations.tasks import start_due_syncs",
        act="print(start_due_syncs())",
    )
    assert sorted(map(int, said)) == [0] * 7 + [1]
    assert SyncRun.objects.count() == 1
    stream = Stream.objects.get()
    assert stream.next_slot_at is not None
    assert stream.next_slot_at - SyncRun.objects.get().requested_at > 4 * MINUTE


def test_a_daily_sync_waits_for_its_time_and_runs_once_a_day(
    clock: time_machine.Traveller, load: Load
) -> None:
    load(schedule=DAILY)
    # Rung every ten minutes for three days, over the night in which clocks go back.
    started = [MIDNIGHT + number * 10 * MINUTE for number in range(3 * 144) if ring(clock, MIDNIGHT + number * 10 * MINUTE)]  # fmt: skip
    assert started == [
        datetime.datetime(2026, 10, 31, 7, tzinfo=datetime.UTC),
        datetime.datetime(2026, 11, 1, 8, tzinfo=datetime.UTC),
        datetime.datetime(2026, 11, 2, 8, tzinfo=datetime.UTC),
    ]
    assert slots() == started


@pytest.mark.parametrize(
    "schedule", [{"every_minutes": 5}, {"cron": "*/5 * * * *"}, {"every_minutes": 5, "jitter_minutes": 2}]
)
def test_after_an_hour_without_a_beat_there_is_one_catch_up(
    clock: time_machine.Traveller, load: Load, schedule: dict[str, object]
) -> None:
    load(schedule=schedule)
    ring(clock, MIDNIGHT + 8 * MINUTE)
    assert [ring(clock, MIDNIGHT + HOUR + 9 * MINUTE + second * MINUTE / 60) for second in range(50)].count(
        1
    ) == 1
    assert ring(clock, MIDNIGHT + HOUR + 18 * MINUTE) == 1
    assert len(set(slots())) == len(slots())


def test_a_slot_whose_moment_finds_the_last_run_at_work_is_made_up_for_when_that_has_ended(
    clock: time_machine.Traveller, load: Load
) -> None:
    stream = load(schedule=DAILY).streams.get()
    clock.move_to(MIDNIGHT + HOUR)
    run = request_run(stream, RunTrigger.ADMIN)
    for hours in (2, 3, 4):
        clock.move_to(MIDNIGHT + hours * HOUR)
        assert start_due_runs() == 0
    SyncRun.objects.filter(pk=run.pk).update(status="failed", reason="Why", finished_at=timezone.now())
    assert [start_due_runs(), start_due_runs()] == [1, 0]
    assert slots() == [None, MIDNIGHT + 2 * HOUR]


def test_a_clock_that_is_set_back_over_a_slot_does_not_run_it_again(
    clock: time_machine.Traveller, load: Load
) -> None:
    load(schedule=DAILY)
    assert ring(clock, MIDNIGHT + 2 * HOUR) == 1
    assert ring(clock, MIDNIGHT + HOUR) == 0
    assert ring(clock, MIDNIGHT + 2 * HOUR + MINUTE) == 0
    assert ring(clock, MIDNIGHT + 27 * HOUR) == 1  # tomorrow has an hour more


@pytest.mark.parametrize("schedule", [DAILY, {"every_minutes": 1440}])
def test_a_clock_that_was_years_ahead_does_not_stop_a_feed_for_years(
    clock: time_machine.Traveller, load: Load, schedule: dict[str, object]
) -> None:
    load(schedule=schedule)
    assert ring(clock, MIDNIGHT + 4000 * 24 * HOUR) == 1
    ring(clock, MIDNIGHT + MINUTE)
    assert sum(ring(clock, MIDNIGHT + hours * HOUR) for hours in range(1, 28)) == 1


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    schedule=st.sampled_from(
        [
            {"every_minutes": 30},
            {"every_minutes": 30, "jitter_minutes": 15},
            {"cron": "0,30 * * * *", "time_zone": "America/Chicago"},
            {**DAILY, "jitter_minutes": 60, "blackouts": [{"from": "01:30", "to": "02:30"}]},
        ]
    ),
    steps=st.lists(st.integers(-90, 240), min_size=3, max_size=25),
)
def test_whatever_the_clock_does_no_slot_has_two_runs_and_no_ring_starts_a_second_one(
    load: Load, schedule: dict[str, object], steps: list[int]
) -> None:
    moment = MIDNIGHT
    with transaction.atomic(), time_machine.travel(moment, tick=False) as clock:
        load(schedule=schedule)
        for minutes in steps:
            moment += minutes * MINUTE
            ring(clock, moment)
            assert ring(clock, moment) == 0
            stream = Stream.objects.select_related("connection").get()
            assert stream.next_run_at is not None
            # It never waits longer than for the slot after the latest that it had, jitter and blackout counted in.
            latest = max([moment, *filter(None, slots())])
            after = stream.slot_after(latest)
            assert after is not None
            assert moment < stream.next_run_at <= stream.start_of(after)
        assert len(set(slots())) == len(slots())
        transaction.set_rollback(True)


def test_the_database_refuses_a_second_run_of_a_slot(stream: Stream) -> None:
    ended = {"status": "failed", "reason": "Why", "finished_at": MIDNIGHT}
    SyncRun.objects.create(stream=stream, trigger="schedule", started_by="x", slot_at=MIDNIGHT, **ended)
    with pytest.raises(IntegrityError), transaction.atomic():
        SyncRun.objects.create(stream=stream, trigger="schedule", started_by="x", slot_at=MIDNIGHT, **ended)


# --- blackouts ----------------------------------------------------------------------------------------------


def test_runs_of_a_blackout_are_one_run_after_it_and_a_person_may_sync_all_the_same(
    clock: time_machine.Traveller, load: Load
) -> None:
    office_hours = [{"from": "08:00", "to": "18:00"}]
    connection = load(
        schedule={"every_minutes": 60, "time_zone": "America/Chicago", "blackouts": office_hours}
    )
    started = [hour for hour in range(24) if ring(clock, MIDNIGHT + hour * HOUR)]
    assert started == [*range(8), *range(18, 24)]
    clock.move_to(MIDNIGHT + 36 * HOUR)
    assert request_run(connection.streams.get(), RunTrigger.ADMIN).slot_at is None


def test_a_run_that_was_missed_does_not_start_in_a_blackout_that_has_begun_meanwhile(
    clock: time_machine.Traveller, load: Load
) -> None:
    load(schedule={**DAILY, "blackouts": [{"from": "06:00", "to": "09:00"}]})
    assert [ring(clock, MIDNIGHT + hour * HOUR) for hour in (1, 7, 8, 9, 10)] == [0, 0, 0, 1, 0]
    assert slots() == [MIDNIGHT + 2 * HOUR]


def test_no_feed_is_silent_for_its_blackout_or_its_jitter(clock: time_machine.Traveller, load: Load) -> None:
    weekend = [{"days": ["sat", "sun"]}]  # midnight is that of a Saturday
    connection = load(
        schedule={
            "every_minutes": 60,
            "time_zone": "America/Chicago",
            "blackouts": weekend,
            "jitter_minutes": 20,
        }
    )
    Connection.objects.filter(pk=connection.pk).update(created_at=MIDNIGHT - MINUTE)
    clock.move_to(MIDNIGHT + 49 * HOUR + 20 * MINUTE)  # Monday begins after 49 hours: clocks went back
    assert notice_silent_feeds() == 0
    clock.move_to(MIDNIGHT + 50 * HOUR)
    assert notice_silent_feeds() == 1


def test_a_feed_of_working_days_is_silent_half_a_day_after_its_time_and_not_at_the_weekend(
    clock: time_machine.Traveller, load: Load
) -> None:
    connection = load(schedule={"cron": "0 2 * * 1-5", "time_zone": "America/Chicago"})
    Connection.objects.filter(pk=connection.pk).update(created_at=MIDNIGHT - 22 * HOUR)  # Friday at 02:00
    due = MIDNIGHT + 51 * HOUR  # Monday at 02:00
    clock.move_to(due + 12 * HOUR)
    assert notice_silent_feeds() == 0
    clock.move_to(due + 12 * HOUR + MINUTE)
    assert notice_silent_feeds() == 1


# --- another schedule, another release ------------------------------------------------------------------------


def test_another_schedule_counts_from_now_and_the_same_one_keeps_what_is_due(
    clock: time_machine.Traveller, load: Load
) -> None:
    load(schedule=DAILY)
    clock.move_to(MIDNIGHT + 3 * HOUR)  # 02:00 is past, and nobody has looked
    load(schedule=DAILY, name="Another name")
    assert Stream.objects.get().next_slot_at == MIDNIGHT + 2 * HOUR
    load(schedule={**DAILY, "daily_at": "04:00"})
    assert Stream.objects.get().next_slot_at == MIDNIGHT + 4 * HOUR
    load(schedule="manual")
    assert Stream.objects.get().next_slot_at is None
    assert Stream.objects.get().next_run_at is None


def test_what_the_release_before_this_one_chose_is_mended(clock: time_machine.Traveller, load: Load) -> None:
    connection = load(schedule=DAILY)
    # It knows intervals alone: having started a stream without one, it lets it wait for nothing.
    Stream.objects.update(next_run_at=None)
    assert ring(clock, MIDNIGHT + 2 * HOUR) == 0
    assert ring(clock, MIDNIGHT + 27 * HOUR) == 1
    Connection.objects.update(every_minutes=60, time_of_day=None)
    Stream.objects.update(next_slot_at=None, next_run_at=MIDNIGHT + 28 * HOUR)
    assert ring(clock, MIDNIGHT + 27 * HOUR + MINUTE) == 0
    assert ring(clock, MIDNIGHT + 28 * HOUR) == 1
    reschedule(Connection.objects.get(pk=connection.pk))
    assert Stream.objects.get().next_slot_at == MIDNIGHT + 29 * HOUR


def test_a_schedule_that_the_machine_cannot_read_keeps_no_other_stream_from_its_run(
    clock: time_machine.Traveller, load: Load
) -> None:
    load(schedule=DAILY)
    other = load(slug="other", schedule=DAILY)
    Connection.objects.exclude(pk=other.pk).update(time_zone="Atlantis/Capital")
    assert ring(clock, MIDNIGHT + 2 * HOUR) == 1
