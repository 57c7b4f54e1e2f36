"""How many requests a consumer may make in an hour: counted on the consumer and never on an address, exactly over all
processes, in one round trip that counts its usage too.

The hour slides: in no hour, whenever it begins, are more requests let through than the limit. One that starts anew by the
clock lets twice as many through around its edge. Requests are counted by buckets of ten seconds, so that a consumer with a
limit of a million takes no more memory than one with a thousand; a bucket is given back once all of it is an hour old.
Every authenticated request counts, whatever becomes of it, but one that is turned away by the limit itself: whoever goes on
knocking would never be let in again. Usage (apiauth/usage.py) counts those too.

Where no server counts, each process counts for itself: partners are served while Redis is away, the database is not flooded,
and for that while the limit is one for each process. A server that does not answer is asked again after some seconds, so that
not every request waits for it.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final

import structlog
from django.conf import settings
from django.http import HttpResponseBase
from rest_framework.exceptions import APIException

from apiauth.counters import Away, ask, key
from apiauth.usage import KEPT_HOURS, hour_key, last_used_key

log = structlog.get_logger(__name__)

WINDOW_SECONDS: Final = 3600
BUCKET_SECONDS: Final = 10
# How long a server that did not answer is left alone.
PAUSE_SECONDS: Final = 5
# How many consumers a process remembers when it counts for itself.
REMEMBERED: Final = 1_000

# One step in the server: nobody comes between looking and counting. `now` is never earlier than a bucket that is there
# already, so that a machine whose clock is late spends from the newest one. Returns whether the request may go on, how many
# were let through within the hour, and when (in seconds since 1970) so many are given back that another may.
_SCRIPT: Final = """
local window, usage, last_used = KEYS[1], KEYS[2], KEYS[3]
local consumer, now, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local hour, step, usage_kept = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]

redis.call('HINCRBY', usage, consumer, 1)
redis.call('EXPIRE', usage, usage_kept)
redis.call('HSET', last_used, consumer, math.floor(now))

local known = redis.call('HMGET', window, 'total', 'oldest', 'newest')
local bucket = math.floor(now / step) * step
local total, oldest, newest = tonumber(known[1] or 0), tonumber(known[2] or bucket), tonumber(known[3] or bucket)
bucket = math.max(bucket, newest)

while total > 0 and oldest + step + hour <= now do
    local count = redis.call('HGET', window, oldest)
    if count then
        total = total - tonumber(count)
        redis.call('HDEL', window, oldest)
    end
    oldest = oldest + step
end
if total == 0 then oldest = bucket end

local allowed, back = 0, oldest
if total < limit then
    allowed, total = 1, total + 1
    redis.call('HINCRBY', window, bucket, 1)
else
    local left = total
    while back <= bucket do
        left = left - tonumber(redis.call('HGET', window, back) or 0)
        if left < limit then break end
        back = back + step
    end
end
redis.call('HSET', window, 'total', total, 'oldest', oldest, 'newest', bucket)
redis.call('EXPIRE', window, hour + 2 * step)
return {allowed, total, back + step + hour}
"""


@dataclass(frozen=True)
class Standing:
    """How a consumer stands after a request: `limit` an hour, `remaining` of them, the next ones in `seconds`."""

    limit: int
    remaining: int
    seconds: int
    is_allowed: bool

    @property
    def headers(self) -> dict[str, str]:
        """For every authenticated answer, as draft-ietf-httpapi-ratelimit-headers-10 has them: q requests in w seconds; r
        of them remain, and after t seconds there are more."""
        return {
            "RateLimit-Policy": f'"hour";q={self.limit};w={WINDOW_SECONDS}',
            "RateLimit": f'"hour";r={self.remaining};t={self.seconds}',
        }


class LimitExceeded(APIException):
    """429: the limit of the hour is used up."""

    status_code = 429

    def __init__(self, standing: Standing) -> None:
        super().__init__(
            f"The {standing.limit:,} requests of this consumer's hour are used up. Wait {standing.seconds} seconds, as "
            f"Retry-After says, or ask the registrar's office for a higher limit."
        )
        self.wait = standing.seconds  # which the REST framework sends as Retry-After


def count_request(consumer_id: int, limit: int) -> Standing:
    """Count one request of a consumer that may make `limit` in an hour, and return how it stands."""
    now, server = time.time(), settings.COUNTERS_URL
    if _pauses.get(server, 0.0) <= time.monotonic():
        try:
            return _standing(_count_for_all(consumer_id, now, limit), now, limit)
        except Away:
            _pauses[server] = time.monotonic() + PAUSE_SECONDS
            log.warning(
                "rate_limit.counting_alone",
                advice="No Redis or Valkey answers: each process counts for itself.",
            )
    return _standing(_alone.count(key("limit", consumer_id), now, limit), now, limit)


def _count_for_all(consumer_id: int, now: float, limit: int) -> tuple[bool, int, float]:
    keys = (key("limit", consumer_id), hour_key(now), last_used_key())
    values = (consumer_id, now, limit, WINDOW_SECONDS, BUCKET_SECONDS, KEPT_HOURS * 3600)
    ((allowed, total, back_at),) = ask(("EVAL", _SCRIPT, len(keys), *keys, *values))
    return bool(allowed), int(total), float(back_at)


def _standing(counted: tuple[bool, int, float], now: float, limit: int) -> Standing:
    allowed, total, back_at = counted
    return Standing(limit, max(0, limit - total), max(1, math.ceil(back_at - now)), allowed)


class _OwnCount:
    """The requests that this process has let through: the same buckets."""

    def __init__(self) -> None:
        self._windows: OrderedDict[str, OrderedDict[int, int]] = OrderedDict()
        self._lock = Lock()

    def count(self, name: str, now: float, limit: int) -> tuple[bool, int, float]:
        with self._lock:
            buckets = self._windows.setdefault(name, OrderedDict())
            self._windows.move_to_end(name)
            if len(self._windows) > REMEMBERED:
                self._windows.popitem(last=False)
            return _count_in(buckets, now, limit)


def _count_in(buckets: OrderedDict[int, int], now: float, limit: int) -> tuple[bool, int, float]:
    ended = BUCKET_SECONDS + WINDOW_SECONDS
    for start in [start for start in buckets if start + ended <= now]:
        del buckets[start]
    total = sum(buckets.values())
    if is_allowed := total < limit:
        bucket = int(now // BUCKET_SECONDS) * BUCKET_SECONDS
        buckets[bucket] = buckets.get(bucket, 0) + 1
        return is_allowed, total + 1, min(buckets) + ended
    left = total
    for start, count in buckets.items():
        left -= count
        if left < limit:
            return is_allowed, total, start + ended
    return is_allowed, total, now + ended


# Until when, on the clock of time.monotonic, a server that did not answer is left alone.
_pauses: Final[dict[str, float]] = {}
_alone: Final = _OwnCount()


def remember_standing(meta: dict[str, Any], standing: Standing) -> None:
    """Remember with the request how its consumer stands: every answer to it says so, also one that no view gives."""
    meta[_STANDING] = standing


def tell_standing(response: HttpResponseBase, meta: dict[str, Any]) -> None:
    """Put the headers on a request's answer; none where nobody proved who they are."""
    standing = meta.get(_STANDING)
    if isinstance(standing, Standing):
        for name, value in standing.headers.items():
            response.headers[name] = value


_STANDING: Final = "matricula.standing"
