"""`manage.py up` as an operator meets it: real processes, an instance folder and a database of their own."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from integrations.management.commands.up import FIRST_STUDENT
from tests.integrations.management.home import (
    START_SECONDS,
    Home,
    Up,
    eventually,
    free_port,
    is_well,
    made_home,
)
from tests.partner_guide import blocks, paste_into_shell, run_python

# A test that starts the whole stack twice, beside another test on the same two processors.
pytestmark = pytest.mark.timeout(300)
# How `up` starts and ends; that it does so on servers too is seen with the demo.
ONCE = pytest.mark.any_database


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with made_home(tmp_path) as home:
        yield home


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
        "partner keys": str(demo.instance / "sandbox.env"),
        "health": f"curl -fsS {address}/readyz",
        "logs": str(demo.instance / "logs"),
        "mail": str(demo.instance / "mail"),
        "stop": "Ctrl-C",
    }
    assert (demo.instance / "address").read_text() == f"{address}\n"


def test_everything_runs_and_is_healthy(demo: Up, demo_home: Home, port: int) -> None:
    eventually(lambda: all(len(demo.children(name)) == 1 for name in demo_home.children))
    eventually(lambda: is_well(port))


def test_a_partner_s_quick_start_works_at_once_with_the_keys_of_the_demo(demo: Up) -> None:
    keys = demo.instance / "sandbox.env"
    first, *_ = blocks("sh")
    students = [
        f'curl -fsS -H "Authorization: Bearer $TOKEN" "$BASE/api/v1/students/{FIRST_STUDENT}/{what}/"'
        for what in ("enrollment-status", "balance")
    ]
    said = paste_into_shell([f'. "{keys}"', first, *students], {})
    # PostgreSQL writes JSON with blanks, and others without.
    assert re.search(r'"code" ?: ?"2026FA"', said)
    assert len(re.findall(rf'"student_number" ?: ?"{FIRST_STUDENT}"', said)) >= 2
    (program,) = blocks("python")
    values = dict(re.findall(r"^export (\w+)=(\S+)$", keys.read_text(), re.MULTILINE))
    assert run_python(program, values).count("seats left") > 100


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


@ONCE
def test_a_part_that_does_not_start_is_named_with_its_log_and_the_others_are_stopped(home: Home) -> None:
    up = Up(home, "--port", str(free_port()), GUNICORN_CMD_ARGS="--no-such-option")
    code, line = up.ended()
    assert code == 1
    assert re.fullmatch(
        r"matricula: web ended with exit code \d+: .*--no-such-option \(log: .*/logs/web\.log\)", line
    )
    assert up.stdout == ""
    assert not up.processes()


@ONCE
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


@ONCE
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
