"""What runs came to, day by day: figures in one statement over one index, and bars drawn by the server."""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Count, DateTimeField, F, Func, Q, Sum
from django.db.models.sql.compiler import SQLCompiler
from django.utils import timezone

from integrations.models import SyncRun
from integrations.models.run import RunStatus

DAYS: Final = 30
STEP: Final = 10
BAR_WIDTH: Final = 7
HEIGHT: Final = 60
# The series of each chart: what is counted, in words, and the tone that it is drawn in, the lowest of a bar first.
CHARTS: Final = (
    (
        "Runs",
        (
            ("applied", "Applied", "good"),
            ("other", "Held, dry and others", "warn"),
            ("failed", "Failed", "bad"),
        ),
    ),
    ("Records changed", (("changed", "Changed", "accent"),)),
    ("Records rejected", (("rejected", "Rejected", "warn"),)),
)
COUNTED: Final = tuple(name for _, series in CHARTS for name, _, _ in series)


@dataclass(frozen=True)
class RunDay:
    """One day of the office's time zone; the counts in the order of COUNTED."""

    day_on: datetime.date
    counts: tuple[int, ...]

    def count(self, name: str) -> int:
        return self.counts[COUNTED.index(name)]


@dataclass(frozen=True)
class Series:
    """What one tone of a chart shows, and its bars as one path."""

    name: str
    tone: str
    path: str


@dataclass(frozen=True)
class Chart:
    """Bars of days, each of one or more series that stand on one another."""

    name: str
    series: list[Series]
    total: int
    most: int

    width: int = STEP * DAYS - (STEP - BAR_WIDTH)
    height: int = HEIGHT

    @property
    def sentence(self) -> str:
        return f"{self.name} a day over the last {DAYS} days: {self.total:,} in all, {self.most:,} on the busiest day."


@dataclass(frozen=True)
class RunDays:
    """The last DAYS days, today last, with their charts."""

    days: list[RunDay]
    charts: list[Chart]

    @property
    def has_runs(self) -> bool:
        return any(any(day.counts) for day in self.days)

    @property
    def newest_first(self) -> list[RunDay]:
        return self.days[::-1]


def run_days(today: datetime.date) -> RunDays:
    """The days that end with `today`, in one statement."""
    days = count_days(today)
    return RunDays(days, [_chart(name, series, days) for name, series in CHARTS])


def count_days(today: datetime.date) -> list[RunDay]:
    """What ended on each day.

    Counted by the hour in the database and by the day here: a day is one of the office's time zone, and SQLite knows none. In a
    zone that is off by half an hour, so is the edge of its days.
    """
    first = today - datetime.timedelta(days=DAYS - 1)
    midnight = timezone.make_aware(datetime.datetime.combine(first, datetime.time()))
    # Nothing but what the index `sync_run_days` holds is named: no row is read.
    hours = (
        SyncRun.objects.filter(finished_at__gte=midnight)
        .order_by()
        .annotate(hour_at=StartOfHour("finished_at"))
        .values("hour_at")
        .annotate(
            applied=Count("finished_at", filter=Q(status=RunStatus.APPLIED)),
            failed=Count("finished_at", filter=Q(status=RunStatus.FAILED)),
            other=Count("finished_at", filter=~Q(status__in=[RunStatus.APPLIED, RunStatus.FAILED])),
            changed=Sum(
                F("created") + F("modified") + F("voided"), filter=Q(status=RunStatus.APPLIED), default=0
            ),
            rejected_records=Sum("rejected", default=0),
        )
        .values_list("hour_at", "applied", "other", "failed", "changed", "rejected_records")
    )
    sums: dict[datetime.date, list[int]] = defaultdict(lambda: [0] * len(COUNTED))
    for hour_at, *counts in hours:
        day = sums[timezone.localdate(hour_at)]
        for place, count in enumerate(counts):
            day[place] += count
    days = [first + datetime.timedelta(days=ahead) for ahead in range(DAYS)]
    return [RunDay(day, tuple(sums[day])) for day in days]


class StartOfHour(Func):
    """The hour of UTC that a moment lies in. Django's TruncHour is a call into Python for each row on SQLite."""

    output_field = DateTimeField()

    def as_sqlite(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        # SQLite keeps moments as text: its first 13 characters are day and hour.
        return self.as_sql(
            compiler, connection, template="(SUBSTR(%(expressions)s, 1, 13) || ':00:00')", **context
        )

    def as_postgresql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        return self.as_sql(
            compiler, connection, template="DATE_TRUNC('hour', %(expressions)s, 'UTC')", **context
        )


def _chart(name: str, series: Sequence[tuple[str, str, str]], days: list[RunDay]) -> Chart:
    totals = [sum(day.count(each) for each, _, _ in series) for day in days]
    most = max(totals)
    paths: list[list[str]] = [[] for _ in series]
    for place, day in enumerate(days):
        foot = HEIGHT
        for path, (each, _, _) in zip(paths, series, strict=True):
            height = _height(day.count(each), most)
            foot -= height
            if height:
                path.append(f"M{place * STEP} {max(foot, 0)}h{BAR_WIDTH}v{height}h-{BAR_WIDTH}z")
    drawn = [Series(words, tone, "".join(path)) for path, (_, words, tone) in zip(paths, series, strict=True)]
    return Chart(name, drawn, sum(totals), most)


def _height(count: int, most: int) -> int:
    """Anything at all shows, however small beside the busiest day."""
    return max(1, round(count * HEIGHT / most)) if count else 0
