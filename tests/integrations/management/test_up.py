"""`manage.py up` as an operator meets it: real processes, an instance folder and a database of their own.

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
from urllib.parse import urlsplit

import psycopg
import pytest

ROOT = Path(__file__).resolve().parents[3]
START_SECONDS = 100
CLOSING_LINE = re.compile(r"^  stop +Ctrl-C$", re.MULTILINE)
CHILDREN = ["beat", "broker", "simulator-aid", "simulator-housing", "web", "worker"]

# A test that starts the whole stack twice, beside another test on the same two processors.
pytestmark = pytest.mark.timeout(300)


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

    def password_hash(self) -> str:
        query = "SELECT password FROM apiauth_user WHERE username = 'admin'"
        if self.servers:
            with psycopg.connect(self.servers["DATABASE_URL"]) as on_server:
                row = on_server.execute(query).fetchone()
        else:
            with closing(sqlite3.connect(self.instance / "matricula.sqlite3")) as in_file:
                row = in_file.execute(query).fetchone()
        assert row
        return str(row[0])


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


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with made_home(tmp_path) as home:
        yield home


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


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def demo_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with made_home(tmp_path_factory.mktemp("demo")) as home:
        yield home


@pytest.fixture(scope="module")
def demo(demo_home: Home, port: int) -> Iterator[Up]:
    """The demo, running; for tests that leave it as well as they found it."""
    up = Up(demo_home, "--demo", "--port", str(port), ADMIN_PASSWORD="correct-horse-9")
    try:
        up.ready()
        yield up
    finally:
        up.stop()


def test_the_ready_block_says_where_everything_is(demo: Up, port: int) -> None:
    rows = dict(re.split(r" {2,}", line.strip(), maxsplit=1) for line in demo.stdout.splitlines()[2:])
    address = f"http://127.0.0.1:{port}"
    assert demo.stdout.startswith("Ready: Matricula is up.\n")
    assert rows == {
        "address": f"{address}/",
        "administrator": "admin / correct-horse-9",
        "advisor": "advisor / correct-horse-9",
        "a student": f"{address}/admin/registration/student/1/change/",
        "a connection": f"{address}/admin/integrations/connection/1/change/",
        "health": f"curl -fsS {address}/readyz",
        "logs": str(demo.instance / "logs"),
        "mail": str(demo.instance / "mail"),
        "stop": "Ctrl-C",
    }
    assert (demo.instance / "address").read_text() == f"{address}\n"


def test_everything_runs_and_is_healthy(demo: Up, demo_home: Home, port: int) -> None:
    eventually(lambda: all(len(demo.children(name)) == 1 for name in demo_home.children))
    eventually(lambda: is_well(port))


def test_only_an_embedded_installation_has_a_broker_and_only_its_owner_reaches_it(
    demo: Up, demo_home: Home
) -> None:
    if demo_home.servers:
        assert not demo.children("broker")
        return
    assert (demo.instance / "broker.sock").is_socket()
    assert (demo.instance / "broker.sock").stat().st_mode & 0o777 == 0o700


def test_no_child_is_told_the_password(demo: Up) -> None:
    for pid in demo.processes().keys() - {demo.process.pid}:
        assert b"ADMIN_PASSWORD" not in Path(f"/proc/{pid}/environ").read_bytes()


def test_a_killed_child_is_started_again(demo: Up, demo_home: Home, port: int) -> None:
    for name in demo_home.children:
        (killed,) = demo.children(name)
        os.kill(killed, signal.SIGKILL)
        eventually(lambda name=name, killed=killed: len(demo.children(name) - {killed}) == 1)  # type: ignore[misc]
        told = rf"^matricula: {name}\S* was ended by signal 9 \(Killed\); it starts again in 1 s \(log: .*\)$"
        assert re.search(told, demo.stderr, re.MULTILINE)
    eventually(lambda: is_well(port))


def test_a_second_up_of_the_same_folder_says_so(demo: Up, home: Home) -> None:
    home.instance.symlink_to(demo.instance)
    code, line = Up(home, "--port", str(free_port())).ended()
    assert code == 1
    assert (
        line == f"matricula: {demo.instance} is in use by another `up`; INSTANCE_DIR chooses another folder"
    )


def test_a_busy_port_is_one_line_before_anything_starts(demo: Up, port: int, home: Home) -> None:
    up = Up(home, "--port", str(port))
    code, line = up.ended()
    assert code == 1
    assert line == f"matricula: port {port} is taken by another program; --port chooses another one"
    assert up.stdout == ""
    assert not (up.instance / "logs").exists()
    assert not up.processes()


def test_a_part_that_does_not_start_is_named_with_its_log_and_the_others_are_stopped(home: Home) -> None:
    up = Up(home, "--port", str(free_port()), GUNICORN_CMD_ARGS="--no-such-option")
    code, line = up.ended()
    assert code == 1
    assert re.fullmatch(
        r"matricula: web ended with exit code \d+: .*--no-such-option \(log: .*/logs/web\.log\)", line
    )
    assert up.stdout == ""
    assert not up.processes()


def test_an_interrupted_up_leaves_no_process_and_the_next_finds_everything_as_it_was(home: Home) -> None:
    port = str(free_port())
    first = Up(home, "--port", port)
    made = re.search(r"^  administrator +admin / (\S+)$", first.ready(), re.MULTILINE)
    assert made
    assert len(made[1]) >= 16
    first.process.send_signal(signal.SIGINT)
    assert first.process.wait(timeout=START_SECONDS) == 0
    assert first.processes() == {}
    before = home.password_hash()

    second = Up(home, "--port", port)
    try:
        assert "administrator  admin / (as printed at the first start)" in second.ready()
        assert home.password_hash() == before
    finally:
        second.stop()


def test_a_killed_up_leaves_no_process_and_does_not_keep_the_next_from_starting(home: Home) -> None:
    port = str(free_port())
    first = Up(home, "--port", port)
    first.ready()
    assert len(first.children("worker")) == 1
    # `up`, web, worker and beat, two processes each of web and worker, and where it is embedded the broker.
    assert len(first.processes()) == 8 + (not home.servers)
    first.process.kill()
    first.process.wait()
    eventually(lambda: first.processes() == {})
    assert (first.instance / "broker.sock").exists() == (not home.servers)  # a stale one

    second = Up(home, "--port", port, ADMIN_PASSWORD="another-horse-10")
    try:
        assert "administrator  admin / another-horse-10" in second.ready()
    finally:
        second.stop()
