"""How often something came lately, counted over all processes: at most so many within any so many seconds.

A window that slides, because one that starts anew each minute lets twice as many through around its edge. A count and its
verdict are one transaction in Redis, so that of any number at once exactly as many as may pass do.

Where no server counts (a command, a development server without `up`), each process counts for itself.
"""

from __future__ import annotations

import math
import secrets
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Final

import structlog

from apiauth.counters import Away, ask, counters

log = structlog.get_logger(__name__)

# How many names a process remembers when it counts for itself; beyond it, the oldest is forgotten.
REMEMBERED: Final = 10_000
_COMMANDS_A_WINDOW: Final = 4


@dataclass(frozen=True)
class Window:
    """At most `most` within any `seconds`, of what is counted under `name` (see `counters.key`)."""

    name: str
    most: int
    seconds: int


def seconds_to_wait(windows: Sequence[Window]) -> int:
    """How long until no window holds more than it may; 0: none does."""
    now = time.time()
    try:
        answers = ask(
            *(
                ("ZRANGEBYSCORE", window.name, f"({now - window.seconds}", "+inf", "WITHSCORES")
                for window in windows
            )
        )
        counted = [[float(moment) for moment in answer[1::2]] for answer in answers]
    except Away:
        counted = [_own.since(window.name, now - window.seconds) for window in windows]
    return _longest_wait(windows, counted, now)


def count(windows: Sequence[Window], name: str = "") -> int:
    """Count one more in each window, and return how long to wait if it was one too many in any; 0: it was not.

    `name` is what `take_back` knows it by.
    """
    now, name = time.time(), name or secrets.token_hex(8)
    try:
        counted = _count_for_all(windows, name, now)
    except Away:
        log.warning(
            "throttle.counting_alone", advice="No Redis or Valkey answers: each process counts for itself."
        )
        counted = [_own.add(window, name, now) for window in windows]
    return _longest_wait(windows, counted, now)


def take_back(windows: Sequence[Window], name: str) -> None:
    """Forget what was counted under `name`: it was none of what the windows count."""
    for window in windows:
        _own.remove(window.name, name)
    try:
        ask(*(("ZREM", window.name, name) for window in windows))
    except Away:
        return  # it was counted by this process alone


def _count_for_all(windows: Sequence[Window], name: str, now: float) -> list[list[float]]:
    """Add one to every window and read them, as one transaction."""
    pipeline = counters().pipeline(transaction=True)
    for window in windows:
        pipeline.zremrangebyscore(window.name, "-inf", now - window.seconds)
        pipeline.zadd(window.name, {name: now})
        pipeline.expire(window.name, window.seconds)
        pipeline.zrange(window.name, 0, -1, withscores=True)
    answers = pipeline.execute()
    read = answers[_COMMANDS_A_WINDOW - 1 :: _COMMANDS_A_WINDOW]
    return [[moment for _, moment in answer] for answer in read]


def _longest_wait(windows: Sequence[Window], counted: list[list[float]], now: float) -> int:
    return max(_wait(window, moments, now) for window, moments in zip(windows, counted, strict=True))


def _wait(window: Window, moments: list[float], now: float) -> int:
    """Seconds until no more than the most of the moments lie within the window; moments are in order."""
    if len(moments) <= window.most:
        return 0
    last_to_leave = moments[len(moments) - window.most - 1]
    return max(1, math.ceil(last_to_leave + window.seconds - now))


class _OwnCount:
    """What this process has counted."""

    def __init__(self) -> None:
        self._moments: OrderedDict[str, dict[str, float]] = OrderedDict()
        self._lock = Lock()

    def since(self, window: str, start: float) -> list[float]:
        with self._lock:
            return [moment for moment in self._moments.get(window, {}).values() if moment > start]

    def add(self, window: Window, name: str, now: float) -> list[float]:
        with self._lock:
            before = self._moments.pop(window.name, {}).items()
            kept = {each: moment for each, moment in before if moment > now - window.seconds}
            self._moments[window.name] = {**kept, name: now}
            if len(self._moments) > REMEMBERED:
                self._moments.popitem(last=False)
            return list(self._moments[window.name].values())

    def remove(self, window: str, name: str) -> None:
        with self._lock:
            self._moments.get(window, {}).pop(name, None)


_own: Final = _OwnCount()
