"""Requests: as many as a server can take, by wrk; or a few, one after the other, to see that it answers at all."""

from __future__ import annotations

import http.client
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import orjson

from integrations.management.benchmarks.servers import LOAD_CORE, pinned

CONNECTIONS: Final = 8
_SCRIPT: Final = Path(__file__).with_name("load.lua")
_TIMEOUT_SECONDS: Final = 30


@dataclass(frozen=True)
class Load:
    """What is asked of a server: addresses in turn, each with the same header, and as a form where there is one."""

    paths: list[str]
    authorization: str = field(repr=False)
    form: str = ""


@dataclass(frozen=True)
class Measured:
    """What came of it."""

    requests: int
    rps: float
    failed: int


def drive(base: str, load: Load, seconds: int) -> Measured:
    """Load a server with CONNECTIONS at once for some seconds. `wrk` has to be installed."""
    with _paths(load) as paths:
        environment = {"BENCH_PATHS": paths, "BENCH_AUTHORIZATION": load.authorization}
        if load.form:
            environment["BENCH_FORM"] = load.form
        done = subprocess.run(  # noqa: S603  a command of our own
            [
                *pinned(LOAD_CORE),
                *("wrk", "--threads", "1", "--connections", str(CONNECTIONS), "--duration", f"{seconds}s"),
                *("--timeout", f"{_TIMEOUT_SECONDS}s", "--latency", "--script", str(_SCRIPT), base),
            ],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=seconds + 2 * _TIMEOUT_SECONDS,
            check=True,
        )
    said = orjson.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    return Measured(said["requests"], said["rps"], said["failed"])


def ask_a_few(base: str, load: Load, count: int) -> Measured:
    """Make `count` requests one after the other: whether it works, and not how fast."""
    connection = http.client.HTTPConnection(urlsplit(base).netloc, timeout=_TIMEOUT_SECONDS)
    began, failed = time.monotonic(), 0
    for path in islice(cycle(load.paths), count):
        failed += ask(connection, load, path)[0] != http.client.OK
    connection.close()
    return Measured(count, round(count / (time.monotonic() - began), 1), failed)


def ask(connection: http.client.HTTPConnection, load: Load, path: str) -> tuple[int, bytes]:
    """One request of a load: the status and the body of its answer."""
    headers = {"Authorization": load.authorization}
    if load.form:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    connection.request("POST" if load.form else "GET", path, load.form or None, headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


@contextmanager
def _paths(load: Load) -> Iterator[str]:
    with tempfile.NamedTemporaryFile("w", suffix=".paths") as file:
        file.write("\n".join(load.paths))
        file.flush()
        yield file.name
