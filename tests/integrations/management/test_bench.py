"""The benchmarks run: servers start, answer alike and stop, and nothing of theirs is left. How fast they are is measured by
people, on a quiet machine (docs/performance.md)."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from pytest_django.fixtures import Settings

from apiauth.counters import counters
from apiauth.rate_limit import count_request
from integrations.management.benchmarks import database
from integrations.management.benchmarks import sync as sync_bench
from integrations.management.benchmarks.api import page_lines, token_lines
from integrations.management.benchmarks.catalogue import load_catalogue
from integrations.management.benchmarks.contest import Effort, Turn, _refuse_differences
from integrations.management.benchmarks.load import Measured
from integrations.management.commands import bench
from tests.apiauth.conftest import counted, counting_server
from tests.database_roles import become_owner, become_runtime
from tests.processes import environment

__all__ = ["counted", "counting_server"]

ROOT = Path(__file__).resolve().parents[3]
EFFORT = Effort(rounds=1, requests=30)


@pytest.mark.django_db(transaction=True)
def test_contestants_answer_alike_and_are_compared(counting_server: str, settings: Settings) -> None:
    if connection.vendor != "postgresql":
        with pytest.raises(CommandError, match=r"set DATABASE_URL \(PostgreSQL\) and REDIS_URL"):
            call_command("bench", "api")
        return
    keys = load_catalogue(250)
    servers = environment(COUNTERS_PREFIX=settings.COUNTERS_PREFIX, BASE_URL=settings.BASE_URL)
    lines = [*page_lines(servers, EFFORT), *token_lines(keys, servers, EFFORT)]
    verdicts = [(line["bench"], line["peer"]) for line in lines if line.get("ratio", 0) > 0]
    assert verdicts == [
        ("api", "product"),
        ("api", "plain DRF"),
        ("api", "FastAPI and asyncpg"),
        ("token", "product"),
        ("token", "raw WSGI"),
    ]
    assert all(line["rps"] > 0 for line in lines)


@pytest.mark.django_db(transaction=True)
def test_a_sync_is_measured_beside_its_limit_and_both_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor != "postgresql":
        with pytest.raises(CommandError, match="set DATABASE_URL"):
            call_command("bench", "sync", "--rows", "300")
        return
    become_owner()
    # Tables in the database of the tests instead of a copy of one: that a copy is made is seen below.
    monkeypatch.setattr(sync_bench, "copied_database", nullcontext)
    try:
        lines = list(sync_bench.sync_lines(300, rounds=1))
        with pytest.raises(RuntimeError, match="After load the links should come to"):
            sync_bench._check_product(sync_bench.PHASES[0], 300, said_of_load(300))
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE IF EXISTS limit_award, limit_change")
        become_runtime()
    assert [line["phase"] for line in lines] == ["load", "nochange", "identical", "delta"]
    for line in lines:
        assert list(line) == ["bench", "phase", "rows", "seconds", "limit_seconds", "ratio", "rss_mb"]
        assert (line["bench"], line["rows"]) == ("sync", 300)
        assert min(line["seconds"], line["limit_seconds"], line["ratio"], line["rss_mb"]) > 0


def said_of_load(rows: int) -> dict[str, Any]:
    """What a run says that claims to have loaded so many: the database says otherwise, as one was voided since."""
    return {"status": "applied", "reason": "", "created": rows, "modified": 0, "voided": 0, "unchanged": 0}


@pytest.mark.django_db(transaction=True)
def test_a_database_of_its_own_is_there_for_the_run_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor != "postgresql":  # where the command runs nothing
        return
    own = connection.settings_dict["NAME"]

    def names() -> set[str]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT datname FROM pg_database")
            return {name for (name,) in cursor.fetchall()}

    with pytest.raises(RuntimeError, match="CREATEDB"), database.scratch_database():
        pass  # the role of production, and of these tests
    before, migrated = names(), list[str]()
    monkeypatch.setattr(database, "call_command", lambda *_, **__: migrated.extend(names() - before))
    become_owner()
    try:
        with database.scratch_database() as address:
            (made,) = migrated
            assert connection.settings_dict["NAME"] == made
            assert address.endswith(f"/{made}")
            with database.copied_database():
                copy = connection.settings_dict["NAME"]
                assert names() - before == {made, copy}
            assert names() - before == {made}
    finally:
        become_runtime()
    assert (names(), connection.settings_dict["NAME"]) == (before, own)


def test_what_is_counted_in_a_run_is_forgotten_after_it(counting_server: str, settings: Settings) -> None:
    kept = settings.COUNTERS_PREFIX
    with bench.own_counts() as prefix:
        assert settings.COUNTERS_PREFIX == prefix != kept
        count_request(1, 10)
        assert list(counters().scan_iter(f"{prefix}*"))
    assert list(counters().scan_iter(f"{prefix}*")) == []
    assert kept == settings.COUNTERS_PREFIX


def test_without_wrk_it_is_said_where_to_get_it(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "vendor", "postgresql")
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
    named = (ROOT / path).read_text()
    assert all(f"\n{name}==" in named for name in bench.PACKAGES)
