"""What stops working is seen while it does not work, and told when it works again: with real processes."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from tests.integrations.management.home import ROOT, Home, Up, eventually, free_port, made_home

pytestmark = pytest.mark.timeout(300)
# Silent is whoever shows nothing for four seconds.
LEASE_SECONDS = "2"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with made_home(tmp_path_factory.mktemp("outages")) as home:
        yield home


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def up(home: Home, port: int) -> Iterator[Up]:
    up = Up(home, "--port", str(port), RUN_LEASE_SECONDS=LEASE_SECONDS)
    try:
        up.ready()
        yield up
    finally:
        for name in ("worker", "beat"):
            send(up, name, signal.SIGCONT)
        up.stop()


def send(up: Up, name: str, number: signal.Signals) -> None:
    """Send a signal to a child of `up` and to whatever it has forked."""
    for pid in up.children(name):
        os.killpg(pid, number)


def asked(port: int, path: str) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def doctor(home: Home) -> tuple[int, dict[str, str]]:
    """What `doctor --json` ends with, and the state of each part that it names."""
    done = subprocess.run(
        [sys.executable, "manage.py", "doctor", "--json"],
        cwd=ROOT,
        env={
            **os.environ,
            **home.servers,
            "INSTANCE_DIR": str(home.instance),
            "RUN_LEASE_SECONDS": LEASE_SECONDS,
        },
        capture_output=True,
        timeout=60,
        check=False,
    )
    said = json.loads(done.stdout)
    assert all(finding["advice"] for finding in said["findings"] if finding["state"] != "ok")
    return done.returncode, {finding["part"]: finding["state"] for finding in said["findings"]}


def until_all_is_well(port: int) -> None:
    eventually(lambda: asked(port, "/readyz?all")[0] == 200)


def told(home: Home) -> set[str]:
    """The incidents that are open."""
    return {
        incident
        for (incident,) in home.rows("SELECT incident FROM integrations_alert WHERE resolved_at IS NULL")
    }


@pytest.mark.parametrize("name", ["worker", "beat"])
def test_whoever_lives_and_does_nothing_is_seen_and_told(up: Up, home: Home, port: int, name: str) -> None:
    until_all_is_well(port)
    assert doctor(home) == (
        0,
        dict.fromkeys(["database", "broker", "disk", "beat", "worker", "work", "keys"], "ok"),
    )
    send(up, name, signal.SIGSTOP)
    try:
        eventually(lambda: asked(port, "/readyz?all")[1][name] == "silent")
        status, said = asked(port, "/readyz")
        assert (status, said["status"]) == (200, "degraded")
        assert said[f"{name}_age_seconds"] >= 4
        assert asked(port, "/readyz?all")[0] == 503
        eventually(lambda: name in asked(port, "/healthz")[1]["faults"])
        assert asked(port, "/healthz")[0] == 200
        code, states = doctor(home)
        assert (code, states[name]) == (1, "silent")
    finally:
        send(up, name, signal.SIGCONT)
    until_all_is_well(port)
    eventually(lambda: name in told(home))


@contextmanager
def no_database(up: Up, home: Home) -> Iterator[None]:
    """On a server: nobody gets into the database. In a file: nothing more can be written, which the kernel sees to."""
    if home.servers:
        url, name = home.servers["DATABASE_URL"].rsplit("/", 1)
        with psycopg.connect(f"{url}/postgres", autocommit=True) as server:
            try:
                server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
                server.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
                )
                yield
            finally:
                server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        return
    try:
        limit_files(up, 0)
        yield
    finally:
        limit_files(up, resource.RLIM_INFINITY)


def limit_files(up: Up, size: int) -> None:
    """Let no process of `up` write further into a file than this: to SQLite much like a disk that is full."""
    for pid in up.processes():
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_a_database_that_is_lost_or_cannot_be_written_is_seen_and_told(up: Up, home: Home, port: int) -> None:
    until_all_is_well(port)
    with no_database(up, home):
        lost_at = time.monotonic()
        eventually(lambda: asked(port, "/readyz")[0] == 503)
        assert asked(port, "/readyz")[1]["database"] == "unavailable"
        eventually(lambda: asked(port, "/healthz")[1]["faults"] == ["database"])
        assert asked(port, "/healthz")[0] == 200
        if home.servers:  # a file can still be written by others than those of `up`
            code, states = doctor(home)
            assert (code, states["database"]) == (1, "unavailable")
        # Nobody can see it yet, but beat and worker are missed when they have been silent for four seconds.
        eventually(lambda: time.monotonic() - lost_at > 6)
    until_all_is_well(port)
    eventually(lambda: {"beat", "worker"} <= told(home))
