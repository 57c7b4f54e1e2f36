"""What is sent as a calendar is one to whoever reads by RFC 5545, whatever a registrar has typed."""

from __future__ import annotations

import datetime

from hypothesis import given
from hypothesis import strategies as st

from registration.icalendar import MAX_LINE_BYTES, DayEvent, calendar_bytes, escaped, folded

NOON = datetime.datetime(2026, 8, 1, 12, tzinfo=datetime.UTC)
FIRST = datetime.date(2026, 11, 26)


def event(summary: str = "Thanksgiving") -> DayEvent:
    last = FIRST + datetime.timedelta(days=1)
    return DayEvent("calendar-event-7@registration.example.edu", summary, "holiday", FIRST, last, NOON)


def unfolded(content: bytes) -> list[str]:
    """The content lines of an object, as RFC 5545, 3.1 has a reader undo folding."""
    return content.replace(b"\r\n ", b"").decode().removesuffix("\r\n").split("\r\n")


def unescaped(text: str) -> str:
    read, rest = "", iter(text)
    for character in rest:
        read += {"n": "\n"}.get(escape := next(rest), escape) if character == "\\" else character
    return read


def test_an_event_is_days_with_the_end_outside() -> None:
    assert unfolded(calendar_bytes("Fall 2026", [event()])) == [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//Matricula//Partner API 1//EN",
        "CALSCALE:GREGORIAN",
        "NAME:Fall 2026",
        "X-WR-CALNAME:Fall 2026",
        "BEGIN:VEVENT",
        "UID:calendar-event-7@registration.example.edu",
        "DTSTAMP:20260801T120000Z",
        "DTSTART;VALUE=DATE:20261126",
        "DTEND;VALUE=DATE:20261128",
        "SUMMARY:Thanksgiving",
        "CATEGORIES:holiday",
        "TRANSP:TRANSPARENT",
        "END:VEVENT",
        "END:VCALENDAR",
    ]


def test_what_has_a_meaning_in_a_value_is_escaped() -> None:
    assert escaped("a;b,c\\d\r\ne\x07") == "a\\;b\\,c\\\\d\\ne"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_comes_back_whole_and_makes_no_line_of_its_own(text: str) -> None:
    content = calendar_bytes("Fall", [event(text)])
    assert all(len(line) <= MAX_LINE_BYTES for line in content.split(b"\r\n"))
    lines = unfolded(content)
    assert len(lines) == 16
    kept = "".join(each for each in text if each in "\t\n\r" or not (each < " " or each == "\x7f"))
    assert unescaped(lines[11].removeprefix("SUMMARY:")) == kept.replace("\r\n", "\n").replace("\r", "\n")


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_a_line_is_folded_between_characters(text: str) -> None:
    parts = folded(text).split(b"\r\n")
    assert parts[-1] == b""
    assert all(len(part.decode().encode()) <= MAX_LINE_BYTES for part in parts)
    assert b"".join([parts[0], *(part.removeprefix(b" ") for part in parts[1:])]).decode() == text
