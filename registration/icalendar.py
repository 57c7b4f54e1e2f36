"""Days of a calendar as an iCalendar object (RFC 5545), for programs that keep people's calendars.

An event keeps its UID for as long as its row is there, so that a calendar that subscribes moves it when its day is moved and
does not show it twice.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

MEDIA_TYPE: Final = "text/calendar"
PRODUCT: Final = "-//Matricula//Partner API 1//EN"
# RFC 5545, 3.1: a line has 75 octets at most without its end; what is longer goes on in the next, behind a blank.
MAX_LINE_BYTES: Final = 75
_ESCAPES: Final = (("\\", "\\\\"), (";", "\\;"), (",", "\\,"), ("\r\n", "\\n"), ("\n", "\\n"), ("\r", "\\n"))
# RFC 5545, 3.1: no control character but the tab stands in a text.
_CONTROL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass(frozen=True)
class DayEvent:
    """A day or a run of days, both ends included. `uid` names the event for ever; `changed_at` is when it changed last."""

    uid: str
    summary: str
    category: str
    starts_on: datetime.date
    ends_on: datetime.date
    changed_at: datetime.datetime


def calendar_bytes(name: str, events: Iterable[DayEvent]) -> bytes:
    """The iCalendar object of events, in their order: UTF-8, lines that end in CR LF and are folded."""
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        f"PRODID:{PRODUCT}",
        "CALSCALE:GREGORIAN",
        f"NAME:{escaped(name)}",  # RFC 7986, 5.1
        f"X-WR-CALNAME:{escaped(name)}",  # what calendar programs had before it, and still read
    ]
    for event in events:
        lines += _event_lines(event)
    return b"".join(folded(line) for line in [*lines, "END:VCALENDAR"])


def escaped(text: str) -> str:
    """Text as the value of a property (RFC 5545, 3.3.11)."""
    text = _CONTROL.sub("", text)
    for plain, escape in _ESCAPES:
        text = text.replace(plain, escape)
    return text


def folded(line: str) -> bytes:
    """A content line with its end, folded between characters and never within one (RFC 5545, 3.1)."""
    parts: list[bytes] = []
    part = b""
    for character in line:
        encoded = character.encode()
        if len(part) + len(encoded) > MAX_LINE_BYTES:
            parts.append(part)
            part = b" "
        part += encoded
    return b"\r\n".join([*parts, part]) + b"\r\n"


def _event_lines(event: DayEvent) -> list[str]:
    after = event.ends_on + datetime.timedelta(
        days=1
    )  # DTEND is the first day that is no longer part of it (3.6.1)
    return [
        "BEGIN:VEVENT",
        f"UID:{escaped(event.uid)}",
        f"DTSTAMP:{event.changed_at.astimezone(datetime.UTC):%Y%m%dT%H%M%SZ}",
        f"DTSTART;VALUE=DATE:{event.starts_on:%Y%m%d}",
        f"DTEND;VALUE=DATE:{after:%Y%m%d}",
        f"SUMMARY:{escaped(event.summary)}",
        f"CATEGORIES:{escaped(event.category)}",
        "TRANSP:TRANSPARENT",  # a holiday makes nobody busy
        "END:VEVENT",
    ]
