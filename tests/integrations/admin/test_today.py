"""The front page says in figures and in words what runs came to, and costs the same however many there were."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest
import time_machine
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from pytest_django.fixtures import Settings

from integrations.admin.run_days import BAR_WIDTH, COUNTED, DAYS, HEIGHT, STEP, count_days, run_days
from integrations.admin.run_strip import RUNS_SHOWN, last_runs, strip_of, with_edges
from integrations.models import Connection, Stream, SyncRun
from integrations.models.run import RunStatus, RunTrigger

pytestmark = pytest.mark.django_db

NOW = datetime.datetime(2026, 11, 20, 12, tzinfo=datetime.UTC)
MakeRuns = Callable[..., None]


@pytest.fixture
def make_runs() -> MakeRuns:
    """Runs of a stream that ended at these moments, the oldest first."""

    def make(stream: Stream, *ends: datetime.datetime, status: str = "applied", **counts: Any) -> None:
        reason = "The feed did not answer." if status in ("failed", "held") else ""
        SyncRun.objects.bulk_create(
            SyncRun(
                stream=stream,
                status=status,
                trigger=RunTrigger.SCHEDULE,
                started_by="schedule",
                started_at=end,
                finished_at=end,
                reason=reason,
                read=sum(counts.values()),
                live_after=counts.get("created", 0),
                **counts,
            )
            for end in ends
        )

    return make


def connections_with_runs(number: int, runs: int, make_runs: MakeRuns, start: int = 0) -> None:
    for place in range(start, start + number):
        connection = Connection.objects.create(
            slug=f"feed-{place}", name=f"Feed {place}", connector="rest", base_url="https://feed.example.edu"
        )
        stream = Stream.objects.create(connection=connection, dataset="aid_awards", declared=True)
        now = timezone.now()
        make_runs(stream, *(now - datetime.timedelta(hours=back) for back in range(runs)))


def day(days: list[Any], on: str) -> dict[str, int]:
    found = next(each for each in days if each.day_on.isoformat() == on)
    return dict(zip(COUNTED, found.counts, strict=True))


def at(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC)


def test_days_say_what_ended_on_them(stream: Stream, make_runs: MakeRuns) -> None:
    make_runs(stream, at("2026-11-19 00:00"), at("2026-11-19 23:59"), created=2, rejected=1)
    make_runs(stream, at("2026-11-20 01:00"), status="failed", rejected=3)
    make_runs(stream, at("2026-11-20 02:00"), status="previewed", created=50)
    make_runs(stream, at("2026-10-01 02:00"))
    days = count_days(NOW.date())
    assert len(days) == DAYS
    assert day(days, "2026-11-19") == {"applied": 2, "other": 0, "failed": 0, "changed": 4, "rejected": 2}
    assert day(days, "2026-11-20") == {"applied": 0, "other": 1, "failed": 1, "changed": 0, "rejected": 3}
    assert sum(sum(each.counts) for each in days) == 13


@pytest.mark.parametrize(
    ("zone", "moment", "on"),
    [
        ("America/Chicago", "2026-11-20 05:59", "2026-11-19"),
        ("America/Chicago", "2026-11-20 06:00", "2026-11-20"),
        ("Asia/Tokyo", "2026-11-18 15:00", "2026-11-19"),
    ],
)
def test_a_day_is_one_of_the_office_s_time_zone(
    stream: Stream, make_runs: MakeRuns, settings: Settings, zone: str, moment: str, on: str
) -> None:
    settings.TIME_ZONE = zone
    make_runs(stream, at(moment))
    with timezone.override(zone):
        assert day(count_days(NOW.date()), on)["applied"] == 1


def test_bars_stand_on_one_another_and_the_busiest_reaches_the_top(
    stream: Stream, make_runs: MakeRuns
) -> None:
    make_runs(stream, *[at("2026-11-20 01:00")] * 2)
    make_runs(stream, *[at("2026-11-20 01:00")] * 2, status="failed")
    make_runs(stream, at("2026-11-19 01:00"))
    runs = run_days(NOW.date()).charts[0]
    applied, _, failed = runs.series
    today, half = STEP * (DAYS - 1), HEIGHT // 2
    bar = f"h{BAR_WIDTH}v{half}h-{BAR_WIDTH}z"
    assert f"M{today} {half}{bar}" in applied.path
    assert failed.path == f"M{today} 0{bar}"
    assert (runs.total, runs.most) == (5, 4)
    assert "5 in all, 4 on the busiest day" in runs.sentence


def test_a_strip_shows_the_last_runs_and_says_them_in_words(stream: Stream, make_runs: MakeRuns) -> None:
    make_runs(stream, *[NOW] * 31)
    make_runs(stream, NOW, status="failed")
    found = last_runs(list(with_edges(Stream.objects.all())))[stream.pk]
    assert len(found.statuses) == RUNS_SHOWN
    assert found.statuses[0] == RunStatus.FAILED
    assert found.newest == SyncRun.objects.order_by("-pk").values_list("pk", flat=True)[0]
    strip = strip_of(found.statuses)
    assert strip.sentence == "The last 30 runs: 29 applied, 1 failed."
    tones = dict(strip.paths)
    assert tones["bad"].startswith(f"M{STEP * (RUNS_SHOWN - 1)} 0")  # the newest stands at the right
    assert tones["good"].count("M") == 29


def test_strips_of_two_feeds_are_their_own(make_runs: MakeRuns) -> None:
    connections_with_runs(2, 40, make_runs)
    one, other = last_runs(list(with_edges(Stream.objects.all()))).values()
    assert len(one.statuses) == len(other.statuses) == RUNS_SHOWN
    assert one.newest != other.newest


def test_the_page_draws_both_and_has_the_same_as_a_table(
    administrator: Client, stream: Stream, make_runs: MakeRuns
) -> None:
    with time_machine.travel(NOW, tick=False):
        make_runs(stream, NOW, created=1234)
        page = administrator.get(reverse("admin:index")).content.decode()
    assert 'aria-label="The one run: 1 applied."' in page
    assert "Records changed a day over the last 30 days: 1,234 in all" in page
    assert '<td>2026-11-20</td><td class="number">1</td>' in page
    assert page.count("<tr><td>20") == DAYS


def test_the_front_page_costs_as_many_statements_however_many_feeds_and_runs(
    administrator: Client, make_runs: MakeRuns
) -> None:
    connections_with_runs(2, 3, make_runs)
    administrator.get(reverse("admin:index"))
    with CaptureQueriesContext(database) as few:
        administrator.get(reverse("admin:index"))
    connections_with_runs(8, 40, make_runs, start=2)
    with CaptureQueriesContext(database) as many:
        administrator.get(reverse("admin:index"))
    assert len(many) == len(few)


def test_the_days_are_counted_off_the_index_alone(stream: Stream, make_runs: MakeRuns) -> None:
    make_runs(stream, NOW)
    with CaptureQueriesContext(database) as asked:
        count_days(NOW.date())
    [statement] = [each["sql"] for each in asked]
    if database.vendor == "sqlite":
        with database.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}")
            plan = " ".join(str(row) for row in cursor.fetchall())
        assert "USING COVERING INDEX sync_run_days" in plan
    else:
        with database.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute(f"EXPLAIN {statement}")
            plan = " ".join(str(row) for row in cursor.fetchall())
        assert "sync_run_days" in plan
