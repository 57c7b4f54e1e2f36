"""Counts that all processes of an installation share, in Redis (or the embedded installation's Valkey).

They are kept for hours at most, and nothing is lost with them that must not be: what is on the trail or on a bill is in the
database. Whoever counts says what happens when the server is away.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

# A server that does not answer must not hold up a request for longer.
TIMEOUT_SECONDS: Final = 1

# What the client raises when the server is not there.
Away: Final = (redis.ConnectionError, redis.TimeoutError)


# Any: the client's own types stand for its asynchronous twin as well, so that each call would need a cast.
def counters() -> Any:
    """The client of the server that counts; made once for a process, and connected when it is first asked something."""
    return _client(settings.COUNTERS_URL)


def ask(*commands: tuple[Any, ...]) -> list[Any]:
    """What the server answers to some commands, in one round trip. Raises what `Away` names, or redis.ResponseError.

    The same as the client's, without what it adds to each command (retries, telemetry): half of its time, at each request.
    """
    pool = counters().connection_pool
    connection = pool.get_connection()
    try:
        connection.send_packed_command(connection.pack_commands(commands))
        return [connection.read_response() for _ in commands]
    except BaseException:
        connection.disconnect()  # an answer that is still to come would be taken for the next command's
        raise
    finally:
        pool.release(connection)


def key(*parts: object) -> str:
    """The name of a count: ours, since the broker's queues live on the same server."""
    return ":".join([settings.COUNTERS_PREFIX, *map(str, parts)])


@cache
def _client(url: str) -> redis.Redis:
    return redis.Redis.from_url(
        url,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        decode_responses=True,
        # A count that was made and whose answer was lost would be made twice.
        retry=Retry(NoBackoff(), 0),
    )
