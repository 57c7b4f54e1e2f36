"""Many processes at one moment: for tests of what only one of them, or exactly so many, may do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Final

from django.conf import settings
from django.db import connection

ROOT: Final = Path(__file__).resolve().parent.parent
DEADLINE_SECONDS: Final = 60
# One process starts Django and splits itself, before it has a thread or a connection: each part then has its own. All
# of them wait at a pipe that is closed when the last one is ready.
_SCRIPT: Final = """
import json, os, sys, tempfile
import django

django.setup()

SETUP, ACT, COUNT = json.loads(sys.stdin.read())
ready_to_read, ready = os.pipe()
gate, gate_to_close = os.pipe()
outputs = [tempfile.TemporaryFile("w+") for _ in range(COUNT)]
children = []
for output in outputs:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(gate_to_close)
            sys.stdout = output
            names = {}
            exec(SETUP, names)
            os.write(ready, b".")
            os.read(gate, 1)
            exec(ACT, names)
            output.flush()
            status = 0
        except BaseException:
            import traceback
            traceback.print_exc()
        os._exit(status)
    children.append(child)
os.close(ready)
for _ in range(COUNT):
    os.read(ready_to_read, 1)
os.close(gate_to_close)
statuses = [os.waitpid(child, 0)[1] for child in children]
said = []
for output in outputs:
    output.seek(0)
    said.append(output.read())
print(json.dumps({"statuses": statuses, "said": said}))
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


def at_once(count: int, *, setup: str, act: str) -> list[str]:
    """Let `count` processes do `setup`, then all of them at one moment `act`; return what each of them printed."""
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        cwd=ROOT,
        env=environment(),
        input=json.dumps([textwrap.dedent(setup), textwrap.dedent(act), count]),
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["statuses"] == [0] * count, done.stderr
    said: list[str] = outcome["said"]
    return said
