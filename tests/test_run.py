"""What `./matricula check` and `./matricula test` make of their tools' answers. Here a tool is a script that says
what it was called with, and fails when its words are among those that the test names."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOOL = """#!/bin/sh
echo "called with $* DATABASE_URL=${DATABASE_URL:-none} REDIS_URL=${REDIS_URL:-none}" >>"$CALLS"
case "$*" in *"$FAILING"*) echo "1 failed in 1.00s"; exit 1 ;; esac
echo "3 passed in 1.00s"
"""
NOTHING = "no tool is called with this"


class Clone:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        python = folder / ".venv" / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(TOOL)
        python.chmod(0o755)
        (folder / "tests").mkdir()
        shutil.copy(ROOT / "tests" / "run", folder / "tests")

    def run(
        self, *arguments: str, failing: str = NOTHING, ci: str = "", chromium: str = "sh"
    ) -> tuple[int, list[str]]:
        """Return the exit code and the lines of the report at the end."""
        ended = subprocess.run(
            [self._folder / "tests" / "run", *arguments],
            env={
                "PATH": os.environ["PATH"],
                "CALLS": str(self._folder / "calls"),
                "FAILING": failing,
                "CI": ci,
                "CHROMIUM": chromium,
                "DATABASE_URL": "postgres://the-operators-own",
                "TMPDIR": str(self._scratch()),
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert list(self._scratch().iterdir()) == []  # it takes its scratch folder away
        return ended.returncode, ended.stdout.rpartition("\n\n")[2].splitlines()

    def calls(self) -> str:
        return (self._folder / "calls").read_text()

    def _scratch(self) -> Path:
        scratch = self._folder / "scratch"
        scratch.mkdir(exist_ok=True)
        return scratch


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


def test_the_suite_runs_embedded_and_what_a_database_matters_to_on_servers_too(clone: Clone) -> None:
    code, report = clone.run("test", "-k", "one thing")
    assert code == 0
    assert report == ["embedded: 3 passed in 1.00s", "PostgreSQL and Redis: 3 passed in 1.00s"]
    halves = [line for line in clone.calls().splitlines() if "-m pytest" in line]
    assert halves == [
        f"called with -m pytest -n 2 --dist loadfile --no-loadscope-reorder {half}"
        for half in (
            "-k one thing DATABASE_URL=none REDIS_URL=none",
            "-m not any_database -k one thing "
            "DATABASE_URL=postgres://postgres@127.0.0.1:5432/postgres REDIS_URL=redis://127.0.0.1:6379/0",
        )
    ]


def test_a_failing_suite_fails(clone: Clone) -> None:
    code, report = clone.run("test", failing="-m pytest")
    assert code == 1
    assert report == ["embedded: 1 failed in 1.00s", "PostgreSQL and Redis: 1 failed in 1.00s"]


@pytest.mark.parametrize(("ci", "code"), [("", 0), ("true", 1)])
def test_a_missing_server_is_named_and_a_fault_only_where_every_test_must_run(
    clone: Clone, ci: str, code: int
) -> None:
    missing = (
        "PostgreSQL and Redis: NOT RUN, no answer from Redis (TEST_REDIS_URL, or port 6379 of this machine)"
    )
    assert clone.run("test", failing="import redis", ci=ci) == (
        code,
        ["embedded: 3 passed in 1.00s", missing],
    )


@pytest.mark.parametrize(("ci", "code"), [("", 0), ("true", 1)])
def test_a_missing_browser_is_named_and_a_fault_only_where_every_test_must_run(
    clone: Clone, ci: str, code: int
) -> None:
    assert clone.run("test", ci=ci, chromium="no-such-browser") == (
        code,
        [
            "embedded: 3 passed in 1.00s",
            "PostgreSQL and Redis: 3 passed in 1.00s",
            "browser (tests/browser): NOT RUN, no Chromium on this machine: apt install chromium",
        ],
    )
    halves = [line for line in clone.calls().splitlines() if "-m pytest" in line]
    assert len(halves) == 2
    assert all("--ignore=tests/browser" in line for line in halves)


def test_every_check_runs_and_is_reported_whichever_fails(clone: Clone) -> None:
    code, report = clone.run("check", failing="mypy")
    assert code == 1
    assert report == [
        "ok      ruff check",
        "ok      ruff format",
        "FAILED  mypy",
        "ok      import rules",
        "ok      migrations",
        "ok      settings for production",
    ]


def test_checks_that_all_pass_pass(clone: Clone) -> None:
    code, report = clone.run("check")
    assert code == 0
    assert all(line.startswith("ok ") for line in report)
    assert "postgres://the-operators-own" not in clone.calls()
