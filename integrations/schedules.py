"""The schedule as a connection document writes it, and as people type it into a form."""

from __future__ import annotations

import datetime
import re
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from integrations.models import Connection
from integrations.models.schedule import (
    DAYS,
    MAX_INTERVAL_MINUTES,
    MIN_INTERVAL_MINUTES,
    MINUTES_OF_A_DAY,
    Blackout,
    Day,
    Schedule,
    ScheduleRefused,
    zone_of,
)

MAX_BLACKOUTS: Final = 20
# The columns of a connection that its schedule is kept in.
SCHEDULE_COLUMNS: Final = ("every_minutes", "time_of_day", "cron", "time_zone", "jitter_minutes", "blackouts")
# Of these a document names one; where it names none, it is synced every day.
KINDS: Final = ("manual", "every_minutes", "daily_at", "cron")
_CLOCK: Final = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d")
_BLACKOUT_LINE: Final = re.compile(rf"({_CLOCK.pattern})\s*-\s*({_CLOCK.pattern})((?:[ ,]+[a-z]{{3}})*)")


def _clock(value: str) -> str:
    if not _CLOCK.fullmatch(value):
        raise ValueError("write a time of day as 02:00, from 00:00 to 23:59")
    return value


Clock = Annotated[str, AfterValidator(_clock)]


class BlackoutDocument(BaseModel):
    """From when to when no scheduled run starts, and on which days that begins."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    starts: Clock = Field(default="00:00", alias="from")
    ends: Clock = Field(default="00:00", alias="to")
    days: list[Day] = Field(default_factory=lambda: list(DAYS), min_length=1)

    def as_blackout(self) -> Blackout:
        return Blackout.from_json({"from": self.starts, "to": self.ends, "days": self.days})


class ScheduleDocument(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    manual: Literal[True] | None = None
    every_minutes: int | None = Field(default=None, ge=MIN_INTERVAL_MINUTES, le=MAX_INTERVAL_MINUTES)
    daily_at: Clock | None = None
    cron: str | None = Field(default=None, min_length=1, max_length=100)
    time_zone: str = Field(default="", max_length=64)
    jitter_minutes: int = Field(default=0, ge=0, le=MAX_INTERVAL_MINUTES)
    blackouts: list[BlackoutDocument] = Field(default_factory=list, max_length=MAX_BLACKOUTS)

    @model_validator(mode="before")
    @classmethod
    def _of_one_kind(cls, value: object) -> object:
        if value == "manual":
            return {"manual": True}
        if not isinstance(value, dict):
            raise ValueError(  # noqa: TRY004 - a TypeError would be no fault of the document to pydantic
                'write {"every_minutes": 1440}, {"daily_at": "02:00", "time_zone": "America/Chicago"}, '
                '{"cron": "0 2 * * 1-5"} or "manual"'
            )
        named = [kind for kind in KINDS if kind in value]
        if len(named) > 1:
            raise ValueError(f"{' and '.join(named)}: name one of them")
        if not named:
            return {**value, "every_minutes": MINUTES_OF_A_DAY}
        if value[named[0]] is None:
            raise ValueError(f"{named[0]} has no value")
        if named == ["manual"] and len(value) > 1:
            raise ValueError("what only starts by hand has no other rule")
        return value

    @model_validator(mode="after")
    def _can_be_kept(self) -> ScheduleDocument:
        if self.time_zone:
            zone_of(self.time_zone)
        self.as_schedule().check()
        return self

    def as_schedule(self) -> Schedule:
        return Schedule(
            every_minutes=self.every_minutes,
            time_of_day=datetime.time.fromisoformat(self.daily_at) if self.daily_at else None,
            cron=self.cron or "",
            time_zone=self.time_zone or "UTC",
            jitter_minutes=self.jitter_minutes,
            blackouts=tuple(blackout.as_blackout() for blackout in self.blackouts),
        )

    def fill(self, connection: Connection) -> None:
        """Write the schedule into the connection's columns."""
        schedule = self.as_schedule()
        connection.every_minutes, connection.time_of_day = schedule.every_minutes, schedule.time_of_day
        connection.cron, connection.time_zone = schedule.cron, self.time_zone
        connection.jitter_minutes = schedule.jitter_minutes
        connection.blackouts = [blackout.as_json() for blackout in schedule.blackouts]


def schedule_of(connection: Connection) -> dict[str, Any] | str:
    """The schedule of a connection as its document writes it."""
    kinds = {
        "every_minutes": connection.every_minutes,
        "daily_at": connection.time_of_day and f"{connection.time_of_day:%H:%M}",
        "cron": connection.cron,
    }
    rules = {
        "time_zone": connection.time_zone,
        "jitter_minutes": connection.jitter_minutes,
        "blackouts": connection.blackouts,
    }
    kind = {name: value for name, value in kinds.items() if value}
    return {**kind, **{name: value for name, value in rules.items() if value}} if kind else "manual"


def blackout_lines(blackouts: list[dict[str, Any]]) -> str:
    """Blackouts as people type them: one a line, such as "08:00-18:00 mon tue"."""
    return "\n".join(" ".join([f"{part['from']}-{part['to']}", *part.get("days", [])]) for part in blackouts)


def parse_blackout_lines(text: str) -> list[dict[str, Any]]:
    """Return the blackouts that these lines are. Raises ScheduleRefused and names the first line that is none."""
    found = []
    for line in filter(None, (line.strip().lower() for line in text.splitlines())):
        match = _BLACKOUT_LINE.fullmatch(line)
        days = re.findall(r"[a-z]{3}", match[3]) if match else []
        if not match or not set(days) <= set(DAYS):
            raise ScheduleRefused(f"{line!r} is no blackout: write 08:00-18:00, or 08:00-18:00 mon tue")
        found.append(Blackout.from_json({"from": match[1], "to": match[2], "days": days or DAYS}).as_json())
    if len(found) > MAX_BLACKOUTS:
        raise ScheduleRefused(f"there are {len(found)} blackouts, and {MAX_BLACKOUTS} are the most")
    return found
