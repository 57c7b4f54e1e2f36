"""Everybody writes at once: people press buttons, commands sync, workers apply and beat seals, for as long as is asked."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from django.db import connection

from audit.models import AuditEvent
from integrations.models import Stream, SyncRun
from tests.chaos.installation import Installation, start_processes
from tests.chaos.invariants import broken
from tests.chaos.rounds import converge, fill, press
from tests.chaos.stack import dying_with_us, python

# What SQLite says when it has waited in vain for the one writer; PostgreSQL's words for two that wait for each other.
LOCKED: Final = ("database is locked", "database table is locked", "deadlock detected")


@dataclass
class Load:
    """What came of it."""

    kind: str
    seconds: float
    runs: int = 0
    events: int = 0
    commands: int = 0
    presses: int = 0
    broken: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def bear(installation: Installation, seconds: float) -> Load:
    """Let everybody write for so many seconds, and say what came of it."""
    fill(installation)
    start_processes(installation)
    load, is_over = Load(installation.kind, seconds), threading.Event()
    writers = [
        threading.Thread(target=_again_and_again, args=(act, is_over))
        for act in (lambda: _press(installation, load), lambda: _command(installation, load))
    ]
    for writer in writers:
        writer.start()
    is_over.wait(seconds)
    is_over.set()
    for writer in writers:
        writer.join()
    for stream in Stream.objects.select_related("connection"):
        converge(installation, stream)
    load.runs, load.events = SyncRun.objects.count(), AuditEvent.objects.count()
    load.broken = [*_locked(installation), *broken(installation.source, first_run=1)]
    return load


def _again_and_again(act: Callable[[], None], is_over: threading.Event) -> None:
    try:
        while not is_over.is_set():
            act()
    finally:
        connection.close()


def _press(installation: Installation, load: Load) -> None:
    """The office moves on and a person presses its button: the web process writes, then a worker."""
    stream = Stream.objects.select_related("connection").get(connection__slug="numbers")
    if not SyncRun.objects.live().filter(stream=stream).exists():
        installation.source.offices["numbers"].move_on()
        press(installation.port, stream)
        load.presses += 1
    time.sleep(0.05)


def _command(installation: Installation, load: Load) -> None:
    """The other office moves on, and a command in a process of its own syncs it."""
    installation.source.offices["cursor"].move_on()
    with (installation.stack.folder / "command.log").open("ab") as log:
        subprocess.run(
            python("manage.py", "sync", "cursor", "--json"),
            env=installation.stack.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=dying_with_us(),
            check=True,
        )
    load.commands += 1


def _locked(installation: Installation) -> list[str]:
    return [
        f"{log.name} says: {words}"
        for log in installation.stack.folder.glob("*.log")
        for words in LOCKED
        if words in log.read_text(errors="replace")
    ]
