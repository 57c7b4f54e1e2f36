"""Whatever is killed, nothing is lost and nothing happens twice; whoever writes, nobody finds the database locked."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, Final

import pytest
from django.conf import settings

from tests.chaos.stack import dying_with_us
from tests.processes import ROOT

ROUNDS: Final = 15
SEED: Final = 20_260
LOAD_SECONDS: Final = 10
KIND: Final = "embedded" if settings.EMBEDDED else "servers"


def play(*arguments: str) -> list[dict[str, Any]]:
    """Call the tool as people do, and return its lines."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.chaos", "--on", KIND, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=dying_with_us(),
    )
    # What did not hold stands in the last line; it comes first here, because summaries show the first line alone.
    *logs, fault = ended.stderr.splitlines() or [""]
    assert ended.returncode == 0, "\n".join([fault, ended.stdout, *logs[-200:]])
    return [json.loads(line) for line in ended.stdout.splitlines()]


@pytest.mark.timeout(600)
def test_whatever_is_killed_everything_holds() -> None:
    *rounds, end = play("--rounds", str(ROUNDS), "--seed", str(SEED))
    assert (end["rounds"], end["broken"]) == (ROUNDS, 0)
    # The tool does what it says: most rounds strike, and runs are taken over.
    assert sum(played["struck"] for played in rounds) > ROUNDS // 2
    assert sum(played["takeovers"] for played in rounds) > 0


@pytest.mark.timeout(300)
def test_nobody_finds_the_database_locked_though_everybody_writes_at_once() -> None:
    (load,) = play("--load", str(LOAD_SECONDS))
    assert load["broken"] == []
    assert min(load["presses"], load["commands"]) > 0
