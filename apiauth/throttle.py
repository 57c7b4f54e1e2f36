"""Failed client authentications: whoever fails more than 10 times in a minute waits, right secret or wrong.

They are counted twice, by (client, address) and by address, so that guessing the secrets of one client and guessing through
many are both slow, and so that nobody can lock a partner out from elsewhere: at its own address a client is untouched by
what others do to its name. A window that slides, because one that starts anew each minute lets twice as many through around
its edge. The count and its verdict are one transaction in Redis: of any number of failures at once, 10 are told "wrong
secret", the others to wait.

Where no server counts (a command, a development server without `up`), each process counts for itself.
"""

from __future__ import annotations

import hashlib
import math
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import Final

import structlog

from apiauth.counters import Away, ask, counters, key
from apiauth.networks import source_of

log = structlog.get_logger(__name__)

LIMIT: Final = 10
WINDOW_SECONDS: Final = 60
# How many keys a process remembers when it counts for itself; beyond it, the oldest is forgotten.
REMEMBERED: Final = 10_000


@dataclass(frozen=True)
class Attempt:
    """Somebody at an endpoint who says to be a client."""

    endpoint: str
    client_id: str
    address: str

    @property
    def keys(self) -> tuple[str, str]:
        """What its failures count toward. The name is digested: it is the caller's, and may be anything."""
        name, source = (
            hashlib.sha256(self.client_id.encode(errors="replace")).hexdigest()[:32],
            source_of(self.address),
        )
        return key("failed", self.endpoint, name, source), key("failed", self.endpoint, source)


def seconds_to_wait(attempt: Attempt) -> int:
    """How long the attempt must wait before it is looked at; 0: not at all."""
    now = time.time()
    try:
        since = f"({now - WINDOW_SECONDS}"
        answers = ask(*(("ZRANGEBYSCORE", name, since, "+inf", "WITHSCORES") for name in attempt.keys))
        counted = [[float(moment) for moment in answer[1::2]] for answer in answers]
    except Away:
        counted = [_own.since(name, now - WINDOW_SECONDS) for name in attempt.keys]
    return max(_wait(moments, now) for moments in counted)


def count_failure(attempt: Attempt) -> int:
    """Count a failure, and return how long to wait if it was one too many; 0: it was not."""
    now = time.time()
    try:
        counted = _count_for_all(attempt, now)
    except Away:
        log.warning(
            "throttle.counting_alone", advice="No Redis or Valkey answers: each process counts for itself."
        )
        counted = [_own.add(name, now) for name in attempt.keys]
    return max(_wait(moments, now) for moments in counted)


def _count_for_all(attempt: Attempt, now: float) -> list[list[float]]:
    """Add the failure to both counts and read them, as one transaction."""
    pipeline = counters().pipeline(transaction=True)
    for name in attempt.keys:
        pipeline.zremrangebyscore(name, "-inf", now - WINDOW_SECONDS)
        pipeline.zadd(name, {secrets.token_hex(8): now})
        pipeline.expire(name, WINDOW_SECONDS)
        pipeline.zrange(name, 0, -1, withscores=True)
    answers = pipeline.execute()
    return [[moment for _, moment in answers[place]] for place in (3, 7)]


def _wait(moments: list[float], now: float) -> int:
    """Seconds until no more than LIMIT of the moments lie within the window; moments are in order."""
    if len(moments) <= LIMIT:
        return 0
    last_to_leave = moments[len(moments) - LIMIT - 1]
    return max(1, math.ceil(last_to_leave + WINDOW_SECONDS - now))


class _OwnCount:
    """The failures that this process has seen."""

    def __init__(self) -> None:
        self._moments: OrderedDict[str, list[float]] = OrderedDict()
        self._lock = Lock()

    def since(self, name: str, start: float) -> list[float]:
        with self._lock:
            return [moment for moment in self._moments.get(name, []) if moment > start]

    def add(self, name: str, now: float) -> list[float]:
        with self._lock:
            kept = [moment for moment in self._moments.pop(name, []) if moment > now - WINDOW_SECONDS]
            self._moments[name] = [*kept, now]
            if len(self._moments) > REMEMBERED:
                self._moments.popitem(last=False)
            return list(self._moments[name])


_own: Final = _OwnCount()
