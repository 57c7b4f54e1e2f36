"""A whole installation that may be killed: database, broker, web, worker and beat, each a real process of its own folder.

On `servers` the database is a PostgreSQL cluster made for this one run, never one of the machine's; `embedded` it is SQLite.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from integrations.management.parent_death import die_with_parent
from tests.processes import ROOT

START_SECONDS: Final = 60
LEASE_SECONDS: Final = 2
POSTGRES_FOLDERS: Final = "/usr/lib/postgresql"


class NoDatabaseServer(Exception):
    """This machine has no programs of PostgreSQL."""


def wait_until(is_so: Callable[[], bool], what: str, seconds: float = START_SECONDS) -> None:
    """Return once it is so. Raises TimeoutError that names `what` was waited for."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} seconds")
        time.sleep(0.02)


@dataclass
class Stack:
    """The processes, by name. `environment` is what all of them are told."""

    folder: Path
    environment: dict[str, str]
    commands: Mapping[str, Sequence[str]]
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    # Strikes come from the source's threads, too.
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def start(self, name: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                self.commands[name],
                env=self.environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=partial(die_with_parent, os.getpid()),  # noqa: PLW1509 - as the supervisor does
            )

    def kill(self, *names: str) -> None:
        """Kill processes, parents and children, as a power cut would."""
        with self._lock:
            for name in names:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.running[name].pid, signal.SIGKILL)
            for name in names:
                self.running[name].wait()

    def heal(self) -> None:
        """Start again whatever has died, as a supervisor does: by our hand, or by its own, as Celery's worker when the
        broker goes away while it has a task."""
        with self._lock:
            for name, process in list(self.running.items()):
                if process.poll() is not None:
                    self.start(name)

    def stop(self) -> None:
        self.kill(*reversed(self.running))

    def last_words(self) -> str:
        """The end of every log, for whoever looks for what went wrong."""
        return "\n".join(
            f"--- {log.name}\n{log.read_text(errors='replace')[-4000:]}"
            for log in sorted(self.folder.glob("*.log"))
        )


def python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]


class Cluster:
    """A PostgreSQL cluster in a folder, owned by somebody other than root, who may not run one."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder / "postgres", port
        self._programs = _postgres_programs()
        self._as_owner = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        if os.getuid() != 0:
            self._as_owner = []

    @property
    def url(self) -> str:
        return f"postgres://postgres@127.0.0.1:{self.port}/postgres"

    @property
    def command(self) -> list[str]:
        """The server, in the foreground. What is promised is promised with fsync; here no power is cut."""
        options = ("port", str(self.port)), ("unix_socket_directories", ""), ("fsync", "off")
        settings = [word for name, value in options for word in ("-c", f"{name}={value}")]
        return [*self._as_owner, str(self._programs / "postgres"), "-D", str(self.folder), *settings]

    def make(self) -> None:
        self.folder.mkdir()
        if self._as_owner:
            owner = pwd.getpwnam("postgres")
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
        initdb = [str(self._programs / "initdb"), "-D", str(self.folder), "-U", "postgres"]
        subprocess.run(
            [*self._as_owner, *initdb, "--auth=trust", "--encoding=UTF8", "--no-sync"],
            check=True,
            capture_output=True,
            cwd="/",
        )

    def answers(self) -> bool:
        ready = [str(self._programs / "pg_isready"), "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(ready, check=False, capture_output=True).returncode == 0


def _postgres_programs() -> Path:
    """The folder with initdb and postgres: of the newest version that is installed."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    installed = [path.parent for path in Path(POSTGRES_FOLDERS).glob("*/bin/initdb")]
    if not installed:
        raise NoDatabaseServer("there are no programs of PostgreSQL on this machine: apt install postgresql")
    return max(installed, key=lambda path: float(path.parent.name))
