"""A term's calendar, as JSON and as a calendar that people's programs read."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from registration.models import CalendarEvent, Term
from tests.registration.test_icalendar import unfolded
from tests.university import make_terms

pytestmark = pytest.mark.django_db

URL = "/api/v1/terms/2026FA/calendar/"
ICS = {"Accept": "text/calendar"}


@pytest.fixture(autouse=True)
def calendar(db: None) -> list[CalendarEvent]:
    fall, spring = make_terms()
    day = datetime.date
    return [
        CalendarEvent.objects.create(
            term=term, kind=kind, name=name, starts_on=day(2026, 11, first), ends_on=day(2026, 11, last)
        )
        for term, kind, name, first, last in (
            (fall, "holiday", "Thanksgiving <&>", 26, 27),
            (fall, "last_day_to_withdraw", "Last day to withdraw", 6, 6),
            (spring, "holiday", "Another term's", 1, 1),
        )
    ]


def test_the_days_in_order(read: Any, calendar: list[CalendarEvent]) -> None:
    body = read(URL).json()
    assert (body["code"], body["census_on"]) == ("2026FA", "2026-09-11")
    assert [(event["kind"], event["starts_on"], event["ends_on"]) for event in body["events"]] == [
        ("last_day_to_withdraw", "2026-11-06", "2026-11-06"),
        ("holiday", "2026-11-26", "2026-11-27"),
    ]
    assert body["events"][1]["name"] == "Thanksgiving <&>"
    assert body["events"][1]["id"] == calendar[0].pk
    assert list(read(f"{URL}?fields=events").json()) == ["events"]


@pytest.mark.parametrize(("address", "headers"), [(URL, ICS), (f"{URL}?format=ics", {})])
def test_as_icalendar(
    read: Any, calendar: list[CalendarEvent], address: str, headers: dict[str, str]
) -> None:
    answer = read(address, **headers)
    assert answer["Content-Type"] == "text/calendar; charset=utf-8"
    lines = unfolded(answer.content)
    assert lines.count("BEGIN:VEVENT") == 5
    assert [line for line in lines if line.startswith(("SUMMARY", "DTSTART"))] == [
        "DTSTART;VALUE=DATE:20260824",
        "SUMMARY:Fall 2026 begins",
        "DTSTART;VALUE=DATE:20260911",
        "SUMMARY:Fall 2026: census",
        "DTSTART;VALUE=DATE:20261218",
        "SUMMARY:Fall 2026 ends",
        "DTSTART;VALUE=DATE:20261106",
        "SUMMARY:Last day to withdraw",
        "DTSTART;VALUE=DATE:20261126",
        "SUMMARY:Thanksgiving <&>",
    ]
    assert f"UID:calendar-event-{calendar[0].pk}@127.0.0.1" in lines


def test_a_day_that_is_moved_keeps_its_uid_and_says_that_it_changed(
    read: Any, calendar: list[CalendarEvent]
) -> None:
    before = read(URL, **ICS)
    assert read(URL, **ICS, **{"If-None-Match": before["ETag"]}).status_code == 304
    CalendarEvent.objects.filter(pk=calendar[0].pk).update(starts_on=datetime.date(2026, 11, 25))
    after = read(URL, **ICS, **{"If-None-Match": before["ETag"]})
    assert after.status_code == 200
    uids = [
        [line for line in unfolded(answer.content) if line.startswith("UID")] for answer in (before, after)
    ]
    assert sorted(uids[0]) == sorted(uids[1])
    assert len(set(uids[0])) == 5


@pytest.mark.parametrize("headers", [{}, ICS])
def test_faults_are_problems_whatever_was_asked_for(read: Any, headers: dict[str, str]) -> None:
    for address, status in (
        ("/api/v1/terms/2020FA/calendar/", 404),
        (f"{URL}?format=xml", 400),
        (f"{URL}?formats=ics", 400),
    ):
        answer = read(address, **headers)
        assert (answer.status_code, answer["Content-Type"]) == (status, "application/problem+json")
        assert answer.json()["detail"]
    assert read(URL, Accept="application/xml").status_code == 406


def test_the_fields_of_an_icalendar_are_its_own(read: Any) -> None:
    assert read(f"{URL}?format=ics&fields=code").content == read(f"{URL}?format=ics").content
    assert Term.objects.count() == 2
