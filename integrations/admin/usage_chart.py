"""The usage of a consumer, drawn by the server: bars of days, and the same numbers as a table."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Final

from django.db.models import Sum
from django.db.models.functions import TruncDate
from django.utils import timezone

from apiauth.models import Consumer, ConsumerUsage

DAYS: Final = 14
BAR_WIDTH: Final = 24
STEP: Final = 32
HEIGHT: Final = 96


@dataclass(frozen=True)
class Bar:
    """One day: its count, and where its bar stands in the drawing, in its units."""

    day: datetime.date
    requests: int
    x: int
    y: int
    height: int


@dataclass(frozen=True)
class Chart:
    """The bars of DAYS days, today's last."""

    bars: list[Bar]
    busiest: int

    @property
    def width(self) -> int:
        return STEP * DAYS - (STEP - BAR_WIDTH)

    @property
    def total(self) -> int:
        return sum(bar.requests for bar in self.bars)


def usage_chart(consumer: Consumer) -> Chart:
    """The chart of a consumer, in one statement."""
    today = timezone.localdate()
    days = [today - datetime.timedelta(days=back) for back in range(DAYS - 1, -1, -1)]
    midnight = timezone.make_aware(datetime.datetime.combine(days[0], datetime.time()))
    found = (
        ConsumerUsage.objects.filter(consumer=consumer, hour_at__gte=midnight)
        .annotate(day=TruncDate("hour_at"))
        .order_by()
        .values_list("day")
        .annotate(total=Sum("requests"))
    )
    counts: dict[datetime.date, int] = dict(found)
    busiest = max(counts.values(), default=0)
    return Chart([_bar(place, day, counts.get(day, 0), busiest) for place, day in enumerate(days)], busiest)


def _bar(place: int, day: datetime.date, requests: int, busiest: int) -> Bar:
    """A day with any request shows, however small beside the busiest."""
    height = max(2, round(requests * HEIGHT / busiest)) if requests else 0
    return Bar(day, requests, place * STEP, HEIGHT - height, height)
