"""Refusals on the trail, without letting whoever is refused fill it.

The first refusal of one kind from one source in a minute is written at once. Those that follow in that minute are counted,
and the count is written once the minute is over, by a worker: two events a minute at most, for each kind and source, whatever
an attacker sends. Where no server counts, each refusal is written: nothing is left out, and nothing is bounded.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import orjson
from django.db import transaction

import audit
from apiauth.counters import Away, counters, key
from apiauth.models import Consumer
from apiauth.networks import source_of
from audit import Actor
from audit.context import acting, current_context
from audit.models import JsonValue

WINDOW_SECONDS: Final = 60
KEPT_SECONDS: Final = 86_400


class Kind(StrEnum):
    """Why somebody was refused. The values are on the trail and stay."""

    NO_CREDENTIALS = "no_credentials"
    UNKNOWN_CLIENT = "unknown_client"
    WRONG_SECRET = "wrong_secret"
    THROTTLED = "throttled"
    SUSPENDED = "suspended"
    REVOKED = "revoked"
    EXPIRED = "expired"  # a consumer past its last day
    NETWORK = "network"
    MALFORMED = "malformed"
    SCOPE = "scope"
    UNKNOWN_TOKEN = "unknown_token"
    EXPIRED_TOKEN = "expired_token"
    TOKEN_IN_ADDRESS = "token_in_address"
    ANOTHER_S_TOKEN = "another_s_token"


@dataclass(frozen=True)
class Refusal:
    """One kind of refusal from one source: what is counted together. `consumer` is 0 when nobody is known."""

    action: str
    kind: Kind
    consumer: int
    source: str


def record_refusal(action: str, kind: Kind, consumer: Consumer | None = None, **detail: JsonValue) -> None:
    """Write a refusal to the trail, or count it with the others of its minute.

    `action` is the event's ("token.refused"), `consumer` whom the refused said or proved to be, `detail` facts of the first
    of them. The caller's address is the request's.
    """
    address = current_context().address
    refused = Refusal(action, kind, consumer.pk if consumer else 0, source_of(address))
    if _is_first_of_its_minute(refused):
        _write(refused, address, consumer, detail)


def tell_counted_refusals() -> int:
    """Write what was counted in minutes that are over, and return how many events that made.

    A worker that dies between writing and forgetting writes a count twice; nobody is refused by it.
    """
    told = 0
    for window in _finished_windows():
        counts = counters().hgetall(key("refusals", window))
        with transaction.atomic():
            for refused, times in _repeated(counts):
                start = datetime.datetime.fromtimestamp(window * WINDOW_SECONDS, datetime.UTC)
                consumer = Consumer.objects.filter(pk=refused.consumer).first()
                _write(refused, refused.source, consumer, {"times": times, "minute": start.isoformat()})
                told += 1
        counters().pipeline().delete(key("refusals", window)).srem(key("refusals"), window).execute()
    return told


def _is_first_of_its_minute(refused: Refusal) -> bool:
    window = int(time.time() // WINDOW_SECONDS)
    field = orjson.dumps([refused.action, refused.kind, refused.consumer, refused.source]).decode()
    try:
        pipeline = counters().pipeline(transaction=False)
        pipeline.hincrby(key("refusals", window), field, 1)
        pipeline.expire(key("refusals", window), KEPT_SECONDS)
        pipeline.sadd(key("refusals"), window)
        return bool(pipeline.execute()[0] == 1)
    except Away:
        return True


def _finished_windows() -> list[int]:
    now = int(time.time() // WINDOW_SECONDS)
    try:
        return sorted(int(window) for window in counters().smembers(key("refusals")) if int(window) < now)
    except Away:
        return []


def _repeated(counts: dict[str, str]) -> Iterator[tuple[Refusal, int]]:
    """Each refusal that came more than once, and how often beyond the first, which is written already."""
    for field, count in counts.items():
        action, kind, consumer, source = orjson.loads(field)
        if int(count) > 1:
            yield Refusal(action, Kind(kind), consumer, source), int(count) - 1


def _write(refused: Refusal, address: str, consumer: Consumer | None, detail: dict[str, JsonValue]) -> None:
    """One event. Its actor is nobody's name: whoever was refused has proved nothing."""
    context = current_context()
    with acting(
        Actor(kind="consumer", name="unproven caller"), request_id=context.request_id, address=address
    ):
        audit.record(
            refused.action, consumer or Consumer(pk=0), detail={"kind": refused.kind.value, **detail}
        )
