"""The processes that `up` runs, each with its sign of health."""

from __future__ import annotations

import http.client
import socket
import sys
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import redis
from celery import current_app
from django.conf import settings
from kombu.exceptions import OperationalError

from integrations.management.broker import broker_answers, broker_command
from integrations.management.supervisor import Child

HOST = "127.0.0.1"
WEB_PROCESSES = 2
WEB_THREADS = 4
WORKER_PROCESSES = 2
HTTP_SECONDS = 5
PING_SECONDS = 1
# Gunicorn's own patience has to end before the supervisor's does.
WEB_DRAIN_SECONDS = 20
_WEB_HOOKS = "python:integrations.management.parent_death"


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        try:
            candidate.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    with socket.socket() as candidate:
        candidate.bind((HOST, 0))
        return int(candidate.getsockname()[1])


def broker() -> Child:
    return Child(
        "broker",
        broker_command(settings.BROKER_SOCKET, settings.INSTANCE_DIR),
        partial(broker_answers, settings.CELERY_BROKER_URL),
    )


def simulator(system: str, port: int, records: int) -> Child:
    asked = ("simulate", "--system", system, "--port", port, "--records", records)
    return Child(
        f"simulator-{system}",
        manage(*asked),
        # Whatever it answers: that it does is the sign.
        lambda: http_status(port, "/") is not None,
    )


def web(port: int, base_url: str) -> Child:
    host = urlsplit(base_url).netloc
    return Child(
        "web",
        _python(
            *("-m", "gunicorn", "config.wsgi", "--bind", f"{HOST}:{port}", "--config", _WEB_HOOKS),
            *("--workers", WEB_PROCESSES, "--worker-class", "gthread", "--threads", WEB_THREADS),
            *("--graceful-timeout", WEB_DRAIN_SECONDS, "--no-control-socket"),
        ),
        lambda: http_status(port, "/readyz", host) == http.client.OK,
    )


def worker(port: int) -> Child:
    # Named after the port, which one installation of a machine has and no other.
    node = f"worker-{port}@{socket.gethostname()}"
    return Child(
        "worker",
        _celery(
            *("worker", "--hostname", node, "--concurrency", WORKER_PROCESSES, "--loglevel", "INFO"),
            *("--without-gossip", "--without-mingle"),
        ),
        partial(celery_answers, node),
    )


def beat(port: int) -> Child:
    node = f"beat-{port}@{socket.gethostname()}"
    return Child(
        "beat",
        _celery("beat", "--enable-remote-control", "--hostname", node),
        partial(celery_answers, node),
    )


def http_status(port: int, path: str, host: str | None = None) -> int | None:
    """Return the status that a server of this machine answers with; None when it does not answer.

    Not by `requests`: that would ask the proxy that the environment may name.
    """
    connection = http.client.HTTPConnection(HOST, port, timeout=HTTP_SECONDS)
    try:
        connection.request("GET", path, headers={"Host": host or f"{HOST}:{port}", "Connection": "close"})
        response = connection.getresponse()
        response.read()  # to the end: a server that is cut off complains in its log
    except (OSError, http.client.HTTPException):
        return None
    else:
        return response.status
    finally:
        connection.close()


def celery_answers(node: str) -> bool:
    """Whether the Celery process of that name answers a ping through the broker."""
    try:
        with current_app.connection_for_write() as connection:
            return bool(
                current_app.control.ping(destination=[node], timeout=PING_SECONDS, connection=connection)
            )
    except (OperationalError, redis.RedisError, OSError):
        return False


def manage(*arguments: str | int) -> list[str]:
    """The command line of one of our own commands."""
    return _python(settings.BASE_DIR / "manage.py", *arguments)


def _celery(*arguments: str | int) -> list[str]:
    return _python("-m", "celery", "-A", "config", *arguments)


def _python(*arguments: str | int | Path) -> list[str]:
    return [sys.executable, *map(str, arguments)]
