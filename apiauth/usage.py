"""How much each consumer calls: counted in Redis as it happens (apiauth/rate_limit.py), kept by the hour in the database by
a worker.

The count of an hour only grows, and what is written is the count itself and never a difference: a worker that is killed,
doubled or late writes the same numbers. Where no server counts, nothing is counted, and nobody is refused for it.
"""

from __future__ import annotations

import datetime
import time
from typing import Final

from django.db import transaction
from django.db.models import Q

from apiauth.counters import Away, counters, key
from apiauth.models import Consumer, ConsumerUsage

HOUR_SECONDS: Final = 3600
# How long a worker may be away before an hour's count is lost.
KEPT_HOURS: Final = 48


def hour_key(now: float) -> str:
    """The name of the counts of the hour of `now`, in seconds since 1970: consumer to requests."""
    return key("usage", int(now) // HOUR_SECONDS)


def last_used_key() -> str:
    """The name of the moments at which each consumer called last."""
    return key("last-used")


def requests_this_hour(consumer_id: int) -> int | None:
    """How many requests it has made since the hour began; None when no server counts."""
    try:
        return int(counters().hget(hour_key(time.time()), consumer_id) or 0)
    except Away:
        return None


def store_usage() -> int:
    """Write the counts of the hours that are kept to the database, and return how many rows that made or changed."""
    this_hour = int(time.time()) // HOUR_SECONDS
    hours = range(this_hour - KEPT_HOURS + 1, this_hour + 1)
    pipeline = counters().pipeline(transaction=False)
    for hour in hours:
        pipeline.hgetall(hour_key(hour * HOUR_SECONDS))
    pipeline.hgetall(last_used_key())
    try:
        *counts, last_used = pipeline.execute()
    except Away:
        return 0
    with transaction.atomic():
        _store_last_used(last_used)
        return sum(_store_hour(hour, found) for hour, found in zip(hours, counts, strict=True) if found)


def _store_hour(hour: int, counts: dict[str, str]) -> int:
    """A count that is smaller than what is written already comes from a server that has started anew: it is left."""
    hour_at = datetime.datetime.fromtimestamp(hour * HOUR_SECONDS, datetime.UTC)
    known = dict(ConsumerUsage.objects.filter(hour_at=hour_at).values_list("consumer_id", "requests"))
    present = set(Consumer.objects.filter(pk__in=counts).values_list("pk", flat=True))
    rows = [
        ConsumerUsage(consumer_id=int(pk), hour_at=hour_at, requests=int(count))
        for pk, count in counts.items()
        if int(pk) in present and int(count) > known.get(int(pk), 0)
    ]
    ConsumerUsage.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["consumer", "hour_at"], update_fields=["requests"]
    )
    return len(rows)


def _store_last_used(moments: dict[str, str]) -> None:
    for pk, moment in moments.items():
        used_at = datetime.datetime.fromtimestamp(int(moment), datetime.UTC)
        older = Q(last_used_at__isnull=True) | Q(last_used_at__lt=used_at)
        Consumer.objects.filter(older, pk=pk).update(last_used_at=used_at)
