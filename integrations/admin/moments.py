"""Moments in words that a person of the office reads at a glance, with the instant that programs mean by them."""

from __future__ import annotations

import datetime

from integrations.models import Stream
from integrations.models.schedule import zone_of


def moment_in_words(moment: datetime.datetime, now: datetime.datetime, time_zone: str) -> str:
    """A moment by the clocks of a time zone and in UTC, such as "tomorrow 02:00 America/Chicago (07:00 UTC)"."""
    zone = zone_of(time_zone)
    local, today = moment.astimezone(zone), now.astimezone(zone).date()
    words = f"{_day(local.date(), today)} {local:%H:%M} {time_zone}"
    if local.utcoffset() == datetime.timedelta():
        return words
    universal = moment.astimezone(datetime.UTC)
    day = "" if universal.date() == local.date() else f"{universal:%a} "
    return f"{words} ({day}{universal:%H:%M} UTC)"


def _day(day: datetime.date, today: datetime.date) -> str:
    near = {-1: "yesterday", 0: "today", 1: "tomorrow"}
    return near.get((day - today).days, f"{day:%a %Y-%m-%d}")


def next_run_in_words(stream: Stream, now: datetime.datetime) -> str:
    """When a stream's next scheduled run starts."""
    if not stream.connection.enabled:
        return "switched off"
    if stream.next_run_at is None:
        return "when somebody asks"
    if stream.next_run_at <= now:
        return "due now"
    return moment_in_words(stream.next_run_at, now, stream.connection.schedule.time_zone)
