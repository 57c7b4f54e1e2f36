"""The rule of a schedule: every slot once, in order, by the clocks that people look at, whatever those do."""

from __future__ import annotations

import datetime
import zoneinfo
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from integrations.models.schedule import Blackout, Schedule, ScheduleRefused, instant_of

# Changes of an hour in both directions and at other hours, of half an hour, none, and a zone that skipped a whole day.
ZONES = [
    "America/Chicago",
    "Europe/Berlin",
    "Australia/Lord_Howe",
    "America/Havana",
    "Asia/Kolkata",
    "Pacific/Apia",
    "UTC",
]
MINUTE = datetime.timedelta(minutes=1)

zones = st.sampled_from(ZONES)
clock_times = st.datetimes(
    datetime.datetime.fromisoformat("2011-01-01"), datetime.datetime.fromisoformat("2031-01-01")
)
moments = clock_times.map(lambda moment: moment.replace(tzinfo=datetime.UTC))
times = st.times().map(lambda time: time.replace(second=0, microsecond=0))
crons = st.sampled_from(
    ["0 2 * * *", "30 1,2,3 * * *", "*/15 * * * *", "0 0 1 * *", "15 2 * * sun", "5 0 29 2 *"]
)
blackouts = st.builds(
    Blackout, starts=times, ends=times, days=st.frozensets(st.integers(0, 6), min_size=1, max_size=6)
)


def utc(*parts: int) -> datetime.datetime:
    return datetime.datetime(*parts, tzinfo=datetime.UTC)  # type: ignore[arg-type, misc]


def daily(time: str, zone: str = "America/Chicago") -> Schedule:
    return Schedule(time_of_day=datetime.time.fromisoformat(time), time_zone=zone)


def slots(schedule: Schedule, start: datetime.datetime, count: int) -> list[datetime.datetime]:
    found = [start]
    for _ in range(count):
        after = schedule.slot_after(found[-1])
        assert after is not None
        found.append(after)
    return found[1:]


# --- clocks -------------------------------------------------------------------------------------------------


def test_a_local_time_that_is_skipped_is_its_slot_at_the_first_instant_after_the_change() -> None:
    # In Chicago 02:00 to 03:00 of 2026-03-08 does not exist: 08:00 UTC is 03:00.
    assert slots(daily("02:30"), utc(2026, 3, 7, 12), 3) == [
        utc(2026, 3, 8, 8, 0),
        utc(2026, 3, 9, 7, 30),
        utc(2026, 3, 10, 7, 30),
    ]


def test_a_local_time_that_comes_twice_is_its_slot_the_first_time() -> None:
    # In Chicago 01:00 to 02:00 of 2026-11-01 comes twice, at first as 06:00 UTC.
    assert slots(daily("01:30"), utc(2026, 10, 31, 12), 2) == [
        utc(2026, 11, 1, 6, 30),
        utc(2026, 11, 2, 7, 30),
    ]


def test_a_day_that_a_zone_skips_has_its_slot_when_the_next_one_begins() -> None:
    # Samoa had no 2011-12-30.
    assert slots(daily("02:00", "Pacific/Apia"), utc(2011, 12, 29, 11), 3) == [
        utc(2011, 12, 29, 12),
        utc(2011, 12, 30, 10),
        utc(2011, 12, 30, 12),
    ]


@given(zones, clock_times)
def test_every_local_time_has_one_instant_and_later_ones_never_an_earlier_one(
    name: str, local: datetime.datetime
) -> None:
    zone = zoneinfo.ZoneInfo(name)
    instant = instant_of(local, zone)
    assert instant == instant_of(local, zone)
    assert instant_of(local + MINUTE, zone) >= instant
    shown = instant.astimezone(zone).replace(tzinfo=None)
    # It is shown at that instant, or it was skipped and the clocks go on after it.
    assert shown == local or shown > local
    before = (instant - datetime.timedelta(microseconds=1)).astimezone(zone).replace(tzinfo=None)
    assert before < local


@given(zones.filter(lambda zone: zone != "Pacific/Apia"), times, moments)
def test_each_local_day_has_exactly_one_daily_slot(
    zone: str, time: datetime.time, moment: datetime.datetime
) -> None:
    found = slots(Schedule(time_of_day=time, time_zone=zone), moment, 5)
    assert all(before < after for before, after in pairwise(found))
    here = zoneinfo.ZoneInfo(zone)
    first = found[0].astimezone(here).date()
    days = [first + datetime.timedelta(days=number) for number in range(5)]
    assert found == [instant_of(datetime.datetime.combine(day, time), here) for day in days]


@given(zones, crons, moments, st.integers(0, 10**9))
def test_the_next_slot_is_the_same_from_every_moment_before_it(
    zone: str, cron: str, moment: datetime.datetime, microseconds: int
) -> None:
    schedule = Schedule(cron=cron, time_zone=zone)
    slot = schedule.slot_after(moment)
    assert slot is not None
    assert slot > moment
    between = min(
        moment + datetime.timedelta(microseconds=microseconds), slot - datetime.timedelta(microseconds=1)
    )
    assert schedule.slot_after(between) == slot
    assert schedule.has_slot(slot)


@given(st.integers(5, 100_000), moments, moments)
def test_the_slots_of_an_interval_lie_on_its_grid_whatever_the_clock_does(
    minutes: int, anchor: datetime.datetime, moment: datetime.datetime
) -> None:
    interval = minutes * MINUTE
    slot = Schedule(every_minutes=minutes).slot_after(moment, anchor)
    assert slot is not None
    assert moment < slot <= moment + interval
    assert (slot - anchor) % interval == datetime.timedelta()


# --- jitter and blackouts ---------------------------------------------------------------------------------------


@given(moments, st.integers(0, 60), st.text(max_size=5))
def test_a_run_starts_within_its_jitter_and_always_at_the_same_moment(
    slot: datetime.datetime, minutes: int, salt: str
) -> None:
    schedule = Schedule(every_minutes=120, jitter_minutes=minutes)
    start = schedule.start_of(slot, salt)
    assert slot <= start <= slot + minutes * MINUTE
    assert start == schedule.start_of(slot, salt)


def test_jitter_keeps_streams_from_starting_together() -> None:
    schedule = Schedule(every_minutes=120, jitter_minutes=60)
    assert len({schedule.start_of(utc(2026, 1, 1), str(number)) for number in range(50)}) > 40


@given(moments, zones, st.lists(blackouts, min_size=1, max_size=4))
def test_no_run_starts_in_a_blackout_and_none_later_than_it_must(
    slot: datetime.datetime, zone: str, several: list[Blackout]
) -> None:
    schedule = Schedule(every_minutes=60, time_zone=zone, blackouts=several)
    try:
        schedule.check()
    except ScheduleRefused:
        assume(False)
    start = schedule.start_of(slot)
    here = zoneinfo.ZoneInfo(zone)
    assert all(blackout.end_around(start, here) is None for blackout in several)
    assert start == slot or any(
        blackout.end_around(start - datetime.timedelta(microseconds=1), here) == start for blackout in several
    )


def test_a_blackout_over_midnight_belongs_to_the_day_on_which_it_begins() -> None:
    saturday = frozenset({5})
    schedule = Schedule(
        every_minutes=60,
        time_zone="America/Chicago",
        blackouts=[Blackout(datetime.time(22), datetime.time(2), saturday)],
    )
    # 2026-09-05 is a Saturday; Chicago is five hours behind.
    assert schedule.start_of(utc(2026, 9, 6, 2, 59)) == utc(2026, 9, 6, 2, 59)
    assert schedule.start_of(utc(2026, 9, 6, 3, 0)) == utc(2026, 9, 6, 7, 0)
    assert schedule.start_of(utc(2026, 9, 7, 3, 0)) == utc(2026, 9, 7, 3, 0)


# --- what cannot be kept ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "why"),
    [
        (Schedule(every_minutes=4), "at most every 5 minutes"),
        (Schedule(cron="* * * * *"), "at most every 5 minutes"),
        (Schedule(cron="0-59/4 * * * *"), "at most every 5 minutes"),
        (Schedule(cron="58,0 23,0 * * *"), "at most every 5 minutes"),
        (Schedule(cron="1,59 * * * *"), "at most every 5 minutes"),
        (Schedule(every_minutes=525_601), "at least once a year"),
        (Schedule(cron="0 2 30 2 *"), "no cron expression"),
        (Schedule(cron="* * * * * *"), "no cron expression"),
        (Schedule(cron="@daily"), "no cron expression"),
        (Schedule(every_minutes=60, cron="0 2 * * *"), "one of them"),
        (Schedule(every_minutes=60, time_zone="America/Springfield"), "no time zone"),
        (Schedule(every_minutes=60, time_zone="../../etc/passwd"), "no time zone"),
        (Schedule(every_minutes=60, jitter_minutes=31), "at most half"),
        (Schedule(cron="0 2 * * *", jitter_minutes=721), "at most half"),
        (Schedule(every_minutes=60, blackouts=[Blackout()]), "no minute of the week"),
    ],
)
def test_a_schedule_that_cannot_be_kept_is_refused_with_the_reason(schedule: Schedule, why: str) -> None:
    with pytest.raises(ScheduleRefused, match=why):
        schedule.check()


@pytest.mark.parametrize(
    "expression", ["*/5 * * * *", "0,55 * * * *", "0 2 * * 1-5", "0 0 29 2 *", "0 2 L * *"]
)
def test_what_can_be_kept_is_not_refused(expression: str) -> None:
    Schedule(cron=expression, time_zone="Asia/Kolkata").check()


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (Schedule(), "when somebody asks"),
        (Schedule(every_minutes=1440), "every 1,440 minutes"),
        (daily("02:00"), "every day at 02:00 America/Chicago"),
        (Schedule(cron="0 2 * * 1-5"), "at 02:00 on Monday through Friday UTC"),
        (Schedule(every_minutes=60, jitter_minutes=10), "every 60 minutes, within 10 minutes"),
    ],
)
def test_a_schedule_says_in_words_what_it_is(schedule: Schedule, words: str) -> None:
    assert str(schedule) == words
