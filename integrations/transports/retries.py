"""When a pull asks again, and after how long: exponential back-off with full jitter, or what the other system asks for.

Full jitter spreads callers that failed together over the whole interval, which clears a jam soonest (Marc Brooker,
"Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from math import ceil

from django.utils import timezone

from integrations.transports.errors import TransportError


@dataclass(frozen=True)
class Retries:
    """At most `attempts` in all; pauses from `first` seconds, doubling to `longest`, each shortened by chance.

    `bound` is the longest that one exchange waits between its attempts, all pauses together. A system that asks for
    more than that is asked by the next run, not by this one.
    """

    attempts: int = 3
    first: float = 1.0
    longest: float = 5.0
    bound: float = 60.0

    def pause_after(self, error: TransportError, attempt: int, waited: float) -> float | None:
        """Seconds to wait after attempt number `attempt` failed so, with `waited` behind us; None: do not ask again."""
        if not error.is_repeatable or attempt >= self.attempts:
            return None
        pause = error.retry_after
        if pause is None:
            pause = random.uniform(0, min(self.longest, self.first * 2 ** (attempt - 1)))  # noqa: S311 - no secret
        return pause if waited + pause <= self.bound else None


ONE_TRY = Retries(attempts=1)


def seconds_until(retry_after: str) -> float | None:
    """Read a Retry-After header in either form (RFC 9110 section 10.2.3); None for what is neither.

    A moment that is past means now. Seconds are rounded up: a date has no fractions, and a little early is too early.
    """
    text = retry_after.strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return float(max(0, ceil((moment - timezone.now()).total_seconds())))
