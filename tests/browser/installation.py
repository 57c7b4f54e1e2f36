"""A whole installation for a browser to visit: web server, broker and worker, each a real process.

They use the database of the tests, so that a test can look at what a page has done; the worker alone executes runs.
There is no beat: nothing starts by itself.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from celery import Celery
from django.conf import settings
from django.db import connection

from config.instance import broker_socket, make_private_folder
from integrations.management.broker import broker_answers, broker_command
from integrations.management.parent_death import die_with_parent
from integrations.management.processes import free_port, http_status

START_SECONDS = 60
STOP_SECONDS = 10


@dataclass(frozen=True)
class Installation:
    """Where it is, and where its processes write what they do."""

    address: str
    logs: Path


@contextmanager
def running(folder: Path, reachable: str) -> Iterator[Installation]:
    """Start everything in `folder`, wait until it answers, and stop it at the end.

    `reachable` is the host:port of the systems that connections of the tests lead to.
    """
    instance = make_private_folder(folder / "instance")
    port, broker = free_port(), f"redis+socket://{broker_socket(instance)}"
    address = f"http://127.0.0.1:{port}"
    environment = {
        **{name: value for name, value in os.environ.items() if name != "REDIS_URL"},
        "INSTANCE_DIR": str(instance),
        "DATABASE_URL": database_url(),
        "BASE_URL": address,
        "ALLOW_PRIVATE_HOSTS": reachable,
        "SECRET_KEY": settings.SECRET_KEY,
        "CREDENTIAL_KEYS": ",".join(settings.CREDENTIAL_KEYS),
        "PYTHONUNBUFFERED": "1",
    }
    start = partial(_started, folder, environment)
    with contextlib.ExitStack() as processes:
        processes.enter_context(start("broker", broker_command(broker_socket(instance), instance)))
        _wait(lambda: broker_answers(broker), "broker", folder)
        processes.enter_context(
            start("worker", _python("-m", "celery", "-A", "config", "worker", *_WORKER, "-n", "browser@test"))
        )
        processes.enter_context(
            start("web", _python("-m", "gunicorn", "config.wsgi", *_WEB, "--bind", f"127.0.0.1:{port}"))
        )
        _wait(lambda: http_status(port, "/readyz") is not None, "web", folder)
        _wait(lambda: _worker_answers(broker), "worker", folder)
        yield Installation(address, folder)


_WORKER = ("--concurrency", "1", "--loglevel", "INFO", "--without-gossip", "--without-mingle")
_WEB = ("--worker-class", "gthread", "--threads", "4", "--no-control-socket", "--access-logfile", "-")


def database_url() -> str:
    """The address of the database that the tests use."""
    name = connection.settings_dict["NAME"]
    if connection.vendor == "sqlite":
        return f"sqlite:///{name}"
    return urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()


def _python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]


@contextmanager
def _started(folder: Path, environment: dict[str, str], name: str, command: list[str]) -> Iterator[None]:
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=settings.BASE_DIR,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=partial(die_with_parent, os.getpid()),  # noqa: PLW1509 - as the supervisor does
        )
    try:
        yield
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _worker_answers(broker: str) -> bool:
    with Celery(broker=broker, set_as_current=False) as caller:
        return bool(caller.control.ping(timeout=1))


def _wait(is_so: Callable[[], bool], name: str, folder: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not is_so():
        log = folder / f"{name}.log"
        assert time.monotonic() < deadline, f"{name} does not answer: {log.read_text()[-2000:]}"
        time.sleep(0.05)
