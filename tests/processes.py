"""Many processes at one moment: for tests of what only one of them, or exactly so many, may do."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Final

from django.conf import settings
from django.db import connection

ROOT: Final = Path(__file__).resolve().parent.parent
# Each says that it is ready, and begins when all of them are.
_PREAMBLE: Final = """
import sys, django
django.setup()
{setup}
print("ready", flush=True)
sys.stdin.readline()
"""


def environment(**more: str) -> dict[str, str]:
    """This process's, with the database and the reachable hosts of the tests."""
    at = connection.settings_dict
    url = f"sqlite:///{at['NAME']}"
    if connection.vendor == "postgresql":
        url = f"postgres://{at['USER']}:{at['PASSWORD']}@{at['HOST']}:{at['PORT']}/{at['NAME']}"
    return {
        **os.environ,
        "DATABASE_URL": url,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "ALLOW_PRIVATE_HOSTS": ",".join(settings.ALLOW_PRIVATE_HOSTS),
        **more,
    }


def at_once(count: int, *, setup: str, act: str, **more: str) -> list[str]:
    """Start `count` processes, let each do `setup`, then all of them at one moment `act`; return what each printed."""
    script = textwrap.dedent(_PREAMBLE).format(setup=textwrap.dedent(setup)) + textwrap.dedent(act)
    children = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env=environment(**more),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    try:
        for child in children:
            assert child.stdout is not None
            first = child.stdout.readline()
            assert first == "ready\n", child.communicate(timeout=30)[1]
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        outcomes = [child.communicate(timeout=60) for child in children]
        assert [child.returncode for child in children] == [0] * count, outcomes
        return [said for said, _ in outcomes]
    finally:
        for child in children:
            child.kill()
            child.wait()
