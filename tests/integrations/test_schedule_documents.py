"""The schedule in a connection document and in its form: every kind there and back, and every fault in words."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse
from pydantic import ValidationError as DocumentFault

from integrations.admin.moments import moment_in_words, next_run_in_words
from integrations.documents import DocumentRefused
from integrations.models import Connection, Stream
from integrations.models.schedule import ScheduleRefused
from integrations.schedules import ScheduleDocument, blackout_lines, parse_blackout_lines, schedule_of
from tests.integrations.conftest import Load

NOON = datetime.datetime(2026, 9, 1, 12, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    "schedule",
    [
        "manual",
        {"every_minutes": 5},
        {"daily_at": "02:00"},
        {"daily_at": "00:00", "time_zone": "America/Chicago", "jitter_minutes": 30},
        {"cron": "*/5 * * * *", "time_zone": "Asia/Kolkata"},
        {"every_minutes": 60, "blackouts": [{"from": "22:00", "to": "02:00", "days": ["fri", "sat"]}]},
    ],
)
def test_each_kind_is_kept_and_exported_as_it_was_written(schedule: Any) -> None:
    connection = Connection()
    ScheduleDocument.model_validate(schedule).fill(connection)
    assert schedule_of(connection) == schedule


@pytest.mark.parametrize(
    ("schedule", "why"),
    [
        ({"cron": "*/4 * * * *"}, "at most every 5 minutes"),
        ({"cron": "58,0 23,0 * * *"}, "at most every 5 minutes"),
        ({"cron": "0 25 * * *"}, "no cron expression"),
        ({"cron": ""}, "cron"),
        ({"cron": None}, "cron has no value"),
        ({"daily_at": "2:00"}, "write a time of day as 02:00"),
        ({"daily_at": "24:00"}, "write a time of day as 02:00"),
        ({"daily_at": "02:00", "time_zone": "Chicago"}, "no time zone 'Chicago'"),
        ({"daily_at": "02:00", "cron": "0 2 * * *"}, "name one of them"),
        ({"manual": True, "jitter_minutes": 5}, "no other rule"),
        ({"every_minutes": 60, "jitter_minutes": 31}, "at most half"),
        ({"every_minutes": 60, "jitter_minutes": -1}, "greater than or equal to 0"),
        ({"every_minutes": 60, "blackouts": [{"from": "8"}]}, "write a time of day"),
        ({"every_minutes": 60, "blackouts": [{"days": []}]}, "at least 1"),
        ({"every_minutes": 60, "blackouts": [{"days": ["monday"]}]}, "'mon'"),
        ({"every_minutes": 60, "blackouts": [{}]}, "no minute of the week"),
        ({"hourly": True}, "hourly"),
        ("daily", "daily_at"),
    ],
)
def test_what_cannot_be_kept_is_refused_with_the_reason(schedule: Any, why: str) -> None:
    with pytest.raises(DocumentFault) as fault:
        ScheduleDocument.model_validate(schedule)
    assert why in str(fault.value)


@pytest.mark.django_db
def test_a_refused_schedule_leaves_the_connection_as_it_was_and_names_its_place(load: Load) -> None:
    load(schedule={"every_minutes": 60})
    with pytest.raises(DocumentRefused) as refused:
        load(schedule={"cron": "* * * * *"})
    assert refused.value.faults == [
        "schedule: a connection syncs at most every 5 minutes and at least once a year"
    ]
    assert Connection.objects.get().every_minutes == 60


def test_the_model_refuses_what_the_database_cannot_see() -> None:
    with pytest.raises(ValidationError, match="at most every 5 minutes"):
        Connection(every_minutes=None, cron="1,3 * * * *").clean()


def test_blackouts_are_typed_one_a_line() -> None:
    text = "08:00-18:00 mon tue\n22:00-02:00"
    blackouts: list[dict[str, Any]] = [
        {"from": "08:00", "to": "18:00", "days": ["mon", "tue"]},
        {"from": "22:00", "to": "02:00"},
    ]
    assert parse_blackout_lines(f"\n{text.upper()}  \n") == blackouts
    assert parse_blackout_lines("08:00 - 18:00, tue, mon\n22:00-02:00") == blackouts
    assert blackout_lines(blackouts) == text
    for wrong in ("8-18", "08:00-18:00 someday", "08:00-18:00 xyz", "25:00-26:00"):
        with pytest.raises(ScheduleRefused, match="is no blackout"):
            parse_blackout_lines(wrong)


# --- the form -------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_an_administrator_changes_the_schedule_and_reads_when_it_runs_next(
    administrator: Client, connection: Connection
) -> None:
    url = reverse("admin:integrations_connection_change", args=[connection.pk])
    form = {"name": "Aid", "enabled": "on", "every_minutes": "", "jitter_minutes": ""}
    sent = {**form, "time_of_day": "02:00", "time_zone": "America/Chicago", "blackouts": "08:00-18:00 mon"}
    assert administrator.post(url, sent).status_code == 302
    connection.refresh_from_db()
    assert schedule_of(connection) == {
        "daily_at": "02:00",
        "time_zone": "America/Chicago",
        "blackouts": [{"from": "08:00", "to": "18:00", "days": ["mon"]}],
    }
    assert "02:00 America/Chicago (0" in administrator.get(url).content.decode()
    listed = administrator.get(reverse("admin:integrations_connection_changelist")).content.decode()
    assert "every day at 02:00 America/Chicago" in listed

    for wrong, why in (
        ({"cron": "0 2 * * *"}, "one of them"),
        ({"time_of_day": "", "cron": "1,2 * * * *"}, "at most every 5 minutes"),
        ({"time_zone": "Chicago"}, "no time zone"),
        ({"blackouts": "never"}, "is no blackout"),
        ({"jitter_minutes": "1000"}, "at most half"),
    ):
        page = administrator.post(url, {**sent, **wrong})
        assert page.status_code == 200
        assert why in page.content.decode()


@pytest.mark.parametrize(
    ("moment", "zone", "words"),
    [
        (
            NOON + datetime.timedelta(hours=19),
            "America/Chicago",
            "tomorrow 02:00 America/Chicago (07:00 UTC)",
        ),
        (
            NOON + datetime.timedelta(hours=14),
            "America/Chicago",
            "today 21:00 America/Chicago (Wed 02:00 UTC)",
        ),
        (NOON + datetime.timedelta(hours=2), "UTC", "today 14:00 UTC"),
        (NOON + datetime.timedelta(days=3), "Asia/Kolkata", "Fri 2026-09-04 17:30 Asia/Kolkata (12:00 UTC)"),
    ],
)
def test_a_moment_is_said_by_the_clocks_of_the_office_and_in_utc(
    moment: datetime.datetime, zone: str, words: str
) -> None:
    assert moment_in_words(moment, NOON, zone) == words


def test_a_stream_says_when_it_runs_next_or_why_not() -> None:
    stream = Stream(connection=Connection())
    assert next_run_in_words(stream, NOON) == "when somebody asks"
    stream.next_run_at = NOON
    assert next_run_in_words(stream, NOON) == "due now"
    stream.connection.enabled = False
    assert next_run_in_words(stream, NOON) == "switched off"
