"""The benchmarks run: servers start, answer alike and stop, and nothing of theirs is left. How fast they are is measured by
people, on a quiet machine (docs/performance.md)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection
from pytest_django.fixtures import Settings

from apiauth.counters import counters
from integrations.management.benchmarks.contest import Turn, _refuse_differences
from integrations.management.benchmarks.load import Measured
from integrations.management.commands import bench
from tests.processes import environment

ROOT = Path(__file__).resolve().parents[3]
REQUESTS = 30


def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own: it leads its process to another database."""
    return subprocess.run(
        [sys.executable, "manage.py", "bench", *arguments],
        cwd=ROOT,
        env={**environment(), **more},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "peers"),
    [
        ("api", {"product", "plain DRF", "FastAPI and asyncpg", "page 500"}),
        ("token", {"product", "raw WSGI"}),
    ],
)
def test_a_contest_is_run_and_leaves_nothing(name: str, peers: set[str]) -> None:
    done = run(name, "--rounds", "1", "--requests", str(REQUESTS))
    if connection.vendor != "postgresql":
        assert "set DATABASE_URL (PostgreSQL) and REDIS_URL" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    verdicts = [line for line in lines if "ratio" in line]
    assert {line["peer"] for line in verdicts} == peers
    assert all(line["rps"] > 0 and line["ratio"] > 0 for line in verdicts)
    assert all(line["ratio"] == 1 for line in verdicts if line["peer"] == "product")
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_database WHERE datname LIKE '%%\\_bench\\_%%' AND datname LIKE %s", [
            f"{connection.settings_dict['NAME']}%"
        ])  # fmt: skip
        assert cursor.fetchone() == (0,)
    client: Any = counters()
    assert list(client.scan_iter("*bench-*")) == []


def test_without_wrk_it_is_said_where_to_get_it(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "vendor", "postgresql", raising=False)
    settings.EMBEDDED = False
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(CommandError, match="apt install wrk"):
        call_command("bench", "api")
    monkeypatch.setattr(bench, "PACKAGES", ("no_such_package",))
    with pytest.raises(CommandError, match=r"no_such_package: .*requirements\.txt"):
        call_command("bench", "api", "--requests", "1")


def test_who_answers_otherwise_is_not_compared() -> None:
    measured = Measured(1, 1.0, 0)
    turns = [Turn("product", measured, [1, 2]), Turn("same", measured, [1, 2]), Turn("other", measured, [1])]
    with pytest.raises(RuntimeError, match=r"^other answered otherwise"):
        _refuse_differences(turns)
    _refuse_differences(turns[:2])


def test_what_it_installs_is_what_it_says() -> None:
    path = bench.INSTALL.rpartition(" ")[2]
    assert settings.BASE_DIR == ROOT
    named = (ROOT / path).read_text()
    assert all(f"\n{name}==" in named for name in bench.PACKAGES)
