"""When a stream is due: slots by rule, in the time of people's clocks, kept out of blackouts.

A *slot* is a nominal moment, such as 02:00 in Chicago on the first of November; a run is for one slot. When it starts
is the slot, later by its jitter, and then out of any blackout. Both are functions of the rule alone, so that whoever
computes them, however often, comes to the same.

Wall-clock rules: a local time that a clock change skips is its slot at the first instant after the change; one that comes
twice is its slot the first time only.
"""

from __future__ import annotations

import datetime
import zoneinfo
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final, Literal

import xxhash
from cronsim import CronSim, CronSimError

MIN_INTERVAL_MINUTES: Final = 5
MAX_INTERVAL_MINUTES: Final = 365 * 24 * 60
MINUTES_OF_A_DAY: Final = 24 * 60
CRON_FIELDS: Final = 5
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: Final[tuple[Day, ...]] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SECOND: Final = datetime.timedelta(seconds=1)
_DAY: Final = datetime.timedelta(days=1)


class ScheduleRefused(ValueError):
    """A schedule that cannot be kept; the text says why."""


@lru_cache
def zone_of(name: str) -> zoneinfo.ZoneInfo:
    """The time zone of this IANA name. Raises ScheduleRefused when there is none."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ScheduleRefused(f"there is no time zone {name!r}; write it as America/Chicago or UTC") from None


def instant_of(local: datetime.datetime, zone: zoneinfo.ZoneInfo) -> datetime.datetime:
    """The instant at which clocks of the zone show `local` (naive) for the first time, or, where a clock change skips
    it, the first instant after that change."""
    by_old_offset, by_new_offset = (
        local.replace(tzinfo=zone, fold=fold).astimezone(datetime.UTC) for fold in (0, 1)
    )
    if by_old_offset.astimezone(zone).replace(tzinfo=None) == local:
        return by_old_offset
    # A time that is skipped (PEP 495: by the old offset it lies after the change, by the new one before it).
    before, after = by_new_offset, by_old_offset
    offset = before.astimezone(zone).utcoffset()
    while after - before > _SECOND:
        middle = before + (after - before) // 2
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after.replace(microsecond=0)


@dataclass(frozen=True)
class Blackout:
    """From when to when, by the clocks of the schedule's zone, no scheduled run starts. One that ends before it begins
    ends on the next day; `days` (0 is Monday) are those on which it begins."""

    starts: datetime.time = datetime.time(0)
    ends: datetime.time = datetime.time(0)
    days: frozenset[int] = frozenset(range(7))

    def end_around(self, moment: datetime.datetime, zone: zoneinfo.ZoneInfo) -> datetime.datetime | None:
        """When the window that `moment` lies in ends; None when it lies in none."""
        today = moment.astimezone(zone).date()
        for day in (today - _DAY, today):
            if day.weekday() not in self.days:
                continue
            last_day = day if self.starts < self.ends else day + _DAY
            begin = instant_of(datetime.datetime.combine(day, self.starts), zone)
            end = instant_of(datetime.datetime.combine(last_day, self.ends), zone)
            if begin <= moment < end:
                return end
        return None

    def minutes(self) -> Iterator[int]:
        """The minutes of a week that it takes, counted from Monday."""
        start = self.starts.hour * 60 + self.starts.minute
        length = (self.ends.hour * 60 + self.ends.minute - start) % MINUTES_OF_A_DAY or MINUTES_OF_A_DAY
        for day in self.days:
            for minute in range(length):
                yield (day * MINUTES_OF_A_DAY + start + minute) % (7 * MINUTES_OF_A_DAY)

    def as_json(self) -> dict[str, Any]:
        """As a connection document writes it."""
        days = [DAYS[day] for day in sorted(self.days)] if len(self.days) < len(DAYS) else []
        return {
            "from": f"{self.starts:%H:%M}",
            "to": f"{self.ends:%H:%M}",
            **({"days": days} if days else {}),
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Blackout:
        return cls(
            datetime.time.fromisoformat(kept["from"]),
            datetime.time.fromisoformat(kept["to"]),
            frozenset(DAYS.index(day) for day in kept.get("days", DAYS)),
        )


@dataclass(frozen=True)
class Schedule:
    """One of an interval, a time of each day and a cron expression; none of them: only when somebody asks."""

    every_minutes: int | None = None
    time_of_day: datetime.time | None = None
    cron: str = ""
    time_zone: str = "UTC"
    jitter_minutes: int = 0
    blackouts: Sequence[Blackout] = ()

    @property
    def is_manual(self) -> bool:
        return not (self.every_minutes or self._expression)

    def check(self) -> None:
        """Raise ScheduleRefused when the schedule cannot be kept."""
        zone_of(self.time_zone)
        if sum(part is not None for part in (self.every_minutes, self.time_of_day, self.cron or None)) > 1:
            raise ScheduleRefused(
                "a schedule is an interval, a time of day or a cron expression: one of them"
            )
        if self.cron:
            _check_cron(self.cron)
        if (
            not self.is_manual
            and not MIN_INTERVAL_MINUTES <= self.shortest_gap_minutes <= MAX_INTERVAL_MINUTES
        ):
            raise ScheduleRefused(
                f"a connection syncs at most every {MIN_INTERVAL_MINUTES} minutes and at least once a year"
            )
        if not self.is_manual and 2 * self.jitter_minutes > self.shortest_gap_minutes:
            raise ScheduleRefused(
                f"the jitter is at most half of the shortest time between two syncs, {self.shortest_gap_minutes} minutes"
            )
        covered = {minute for blackout in self.blackouts for minute in blackout.minutes()}
        if len(covered) == len(DAYS) * MINUTES_OF_A_DAY:
            raise ScheduleRefused("the blackouts leave no minute of the week")

    @cached_property
    def shortest_gap_minutes(self) -> int:
        """The shortest time between two slots, by the clock."""
        if self.every_minutes:
            return self.every_minutes
        cron = CronSim(self._expression, datetime.datetime(2000, 1, 1))  # noqa: DTZ001 - only its fields are looked at
        times = sorted(60 * hour + minute for hour in cron.hours for minute in cron.minutes)
        return min(
            after - before
            for before, after in zip(times, [*times[1:], times[0] + MINUTES_OF_A_DAY], strict=True)
        )

    def slot_after(
        self, moment: datetime.datetime, anchor: datetime.datetime | None = None
    ) -> datetime.datetime | None:
        """The first slot after `moment`; None where only a person starts runs. The slots of an interval are counted
        from `anchor`, one of them (`moment` where none is known)."""
        if self.every_minutes:
            interval = datetime.timedelta(minutes=self.every_minutes)
            origin = anchor or moment
            return origin + ((moment - origin) // interval + 1) * interval
        if not self._expression:
            return None
        zone = zone_of(self.time_zone)
        local = moment.astimezone(zone).replace(tzinfo=None)
        slots = (instant_of(each, zone) for each in CronSim(self._expression, local))
        return next((slot for slot in slots if slot > moment), None)

    def has_slot(self, moment: datetime.datetime) -> bool:
        """Whether a slot lies at `moment`. Those of an interval may lie anywhere."""
        return bool(self.every_minutes) or self.slot_after(moment - _SECOND) == moment

    def start_of(self, slot: datetime.datetime, salt: str = "") -> datetime.datetime:
        """When the run for a slot may start: later by a jitter, which `salt` makes another for each stream, and after
        any blackout."""
        spread = 60 * self.jitter_minutes
        number = xxhash.xxh3_64_intdigest(f"{salt}@{slot.timestamp():.0f}".encode())
        return self.end_of_blackout(slot + number % (spread + 1) * _SECOND)

    def end_of_blackout(self, moment: datetime.datetime) -> datetime.datetime:
        """The first instant from `moment` on that lies in no blackout: mostly `moment` itself."""
        zone = zone_of(self.time_zone)
        while ends := [end for each in self.blackouts if (end := each.end_around(moment, zone))]:
            moment = max(ends)
        return moment

    @property
    def _expression(self) -> str:
        """A time of each day as cron writes it, or the cron expression."""
        if self.time_of_day is not None:
            return f"{self.time_of_day.minute} {self.time_of_day.hour} * * *"
        return self.cron

    def __str__(self) -> str:
        """In words, such as "every day at 02:00 America/Chicago"."""
        rule = (
            f"every {self.every_minutes:,} minutes" if self.every_minutes
            else f"every day at {self.time_of_day:%H:%M} {self.time_zone}" if self.time_of_day is not None
            else f"{_explained(self.cron)} {self.time_zone}" if self.cron
            else "when somebody asks"
        )  # fmt: skip
        return rule + (f", within {self.jitter_minutes:,} minutes" if self.jitter_minutes else "")


def _check_cron(expression: str) -> None:
    if len(expression.split()) != CRON_FIELDS:
        raise ScheduleRefused(
            f"{expression!r} is no cron expression: minute, hour, day of the month, month and day of the week, as in "
            "0 2 * * 1-5"
        )
    try:
        next(CronSim(expression, datetime.datetime(2000, 1, 1)))  # noqa: DTZ001 - any moment will do
    except (CronSimError, StopIteration) as error:
        why = str(error) or "it never comes"
        raise ScheduleRefused(f"{expression!r} is no cron expression: {why}") from None


def _explained(expression: str) -> str:
    """A cron expression in words, as "at 02:00 on Monday through Friday"."""
    words = CronSim(expression, datetime.datetime(2000, 1, 1)).explain()  # noqa: DTZ001 - only its fields are looked at
    return words[:1].lower() + words[1:]
