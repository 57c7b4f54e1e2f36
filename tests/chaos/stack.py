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
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from integrations.management.parent_death import die_with_parent
from tests.processes import ROOT

# A machine may be slow, and busy with other things. What goes on is waited for; what stands still for so long is stuck.
PATIENCE_SECONDS: Final = 90
POLL_SECONDS: Final = 0.05
LEASE_SECONDS: Final = 2
POSTGRES_FOLDERS: Final = "/usr/lib/postgresql"


class NoDatabaseServer(Exception):
    """This machine has no programs of PostgreSQL."""


def wait_until(
    is_so: Callable[[], bool], what: str, *, progress: Callable[[], object] = lambda: None
) -> None:
    """Return once it is so. Raises TimeoutError that names `what` was waited for, when for PATIENCE_SECONDS neither that
    has come nor `progress` has changed."""
    seen, deadline = progress(), time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            if (now := progress()) == seen:
                raise TimeoutError(f"This was waited for in vain, for {PATIENCE_SECONDS} seconds: {what}.")
            seen, deadline = now, time.monotonic() + PATIENCE_SECONDS
        time.sleep(POLL_SECONDS)


def dying_with_us() -> partial[None]:
    """For `preexec_fn`: what is started does not outlive whoever starts it."""
    return partial(die_with_parent, os.getpid())


@dataclass
class Stack:
    """The processes, by name. `environment` is what all of them are told."""

    folder: Path
    environment: dict[str, str]
    commands: Mapping[str, Sequence[str]]
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str) -> None:
        """Called by the main thread alone: when the thread that has started a process ends, Linux takes that for the
        parent's end (prctl(2), PR_SET_PDEATHSIG)."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                self.commands[name],
                env=self.environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=dying_with_us(),  # noqa: PLW1509 - as the supervisor does
            )

    def kill(self, *names: str) -> None:
        """Kill processes, parents and children, as a power cut would."""
        for name in names:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.running[name].pid, signal.SIGKILL)
        for name in names:
            self.running[name].wait()

    def kill_parent(self, name: str) -> None:
        """Kill the process that was started and none of its children."""
        self.running[name].kill()
        self.running[name].wait()

    def heal(self) -> None:
        """Start again whatever has died, as a supervisor does: by our hand, or by its own, as Celery's worker when the
        broker goes away while it has a task."""
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
