"""A home for an `up`: real processes, an instance folder and a database of their own.

Where the suite runs on PostgreSQL and Redis, so do these: on a database made for the test, and on a number of
the Redis server that no other test uses.
"""

from __future__ import annotations

import http.client
import os
import re
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString
from urllib.parse import urlsplit

import psycopg

ROOT = Path(__file__).resolve().parents[3]
START_SECONDS = 100
CLOSING_LINE = re.compile(r"^  stop +Ctrl-C$", re.MULTILINE)
CHILDREN = ["beat", "broker", "simulator-aid", "simulator-housing", "simulator-koha", "web", "worker"]


@dataclass(frozen=True)
class Home:
    """Where an `up` may live: a folder, and what its environment says of databases and brokers."""

    folder: Path
    servers: dict[str, str]

    @property
    def instance(self) -> Path:
        return self.folder / "instance"

    @property
    def children(self) -> list[str]:
        return [name for name in CHILDREN if name != "broker" or not self.servers]

    def rows(self, query: LiteralString) -> list[tuple[Any, ...]]:
        """What a query of its database brings."""
        if self.servers:
            with psycopg.connect(self.servers["DATABASE_URL"]) as on_server:
                return on_server.execute(query).fetchall()
        with closing(sqlite3.connect(self.instance / "matricula.sqlite3")) as in_file:
            return in_file.execute(query).fetchall()

    def password_hash(self) -> str:
        ((password,),) = self.rows("SELECT password FROM apiauth_user WHERE username = 'admin'")
        return str(password)


@contextmanager
def made_home(folder: Path) -> Iterator[Home]:
    if "REDIS_URL" not in os.environ:
        yield Home(folder, {})
        return
    name = f"matricula_up_{secrets.token_hex(6)}"
    server = os.environ["DATABASE_URL"]
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            yield Home(
                folder,
                {
                    "DATABASE_URL": urlsplit(server)._replace(path=f"/{name}").geturl(),
                    "REDIS_URL": urlsplit(os.environ["REDIS_URL"])._replace(path="/9").geturl(),
                },
            )
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


class Up:
    """One run of `up`. What it says goes to files, which a reader can look at while it runs."""

    def __init__(self, home: Home, *arguments: str, **changes: str) -> None:
        self.instance = home.instance
        self._stdout, self._stderr = home.folder / "stdout", home.folder / "stderr"
        ours = ("BASE_URL", "ADMIN_PASSWORD")
        kept = {name: value for name, value in os.environ.items() if name not in ours}
        with self._stdout.open("w") as out, self._stderr.open("w") as problems:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "manage.py"), "up", *arguments],
                env={**kept, **home.servers, "INSTANCE_DIR": str(self.instance), **changes},
                stdout=out,
                stderr=problems,
            )

    @property
    def stdout(self) -> str:
        return self._stdout.read_text()

    @property
    def stderr(self) -> str:
        return self._stderr.read_text()

    def ready(self) -> str:
        """Wait for the Ready block, and return it."""
        eventually(lambda: CLOSING_LINE.search(self.stdout) is not None or self.process.poll() is not None)
        assert self.process.poll() is None, self.stderr
        return self.stdout

    def ended(self) -> tuple[int, str]:
        """Wait for the end; return the exit code and the last line on stderr."""
        code = self.process.wait(timeout=START_SECONDS)
        return code, self.stderr.splitlines()[-1]

    def processes(self) -> dict[int, str]:
        """The command lines of all processes of the instance, by pid. They have its folder in their environment,
        which a fork inherits; a Valkey server writes over that, but names the folder's socket in its title. A
        zombie has neither, and is no process any more."""
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal():
                continue
            try:
                told, command = (entry / "environ").read_bytes(), (entry / "cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
            if f"INSTANCE_DIR={self.instance}\0".encode() in told or f"{self.instance}/".encode() in command:
                found[int(entry.name)] = command.replace(b"\0", b" ").decode()
        return found

    def children(self, name: str) -> set[int]:
        """The pids of one kind of child: leaders of the sessions that `up` made."""
        words = {
            "broker": "-server ",
            "web": " gunicorn ",
            "worker": " config worker ",
            "beat": " config beat ",
            "simulator-aid": " --system aid ",
            "simulator-housing": " --system housing ",
            "simulator-koha": " --system koha ",
        }[name]
        return {
            pid for pid, command in self.processes().items() if words in command and os.getsid(pid) == pid
        }

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(timeout=START_SECONDS)


def eventually(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "it did not become so in time"
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as candidate:
        candidate.bind(("127.0.0.1", 0))
        return int(candidate.getsockname()[1])


def is_well(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
