"""Backup and restore of an embedded installation, by its commands, on a database of its own."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from integrations.management import backup
from integrations.management.backup import BackupRefused, make_backup
from tests.integrations.feed import Feed, award
from tests.integrations.management.home import ROOT

pytestmark = [pytest.mark.timeout(300), pytest.mark.any_database]  # embedded installations of its own
# Run in the installation: a university to bill.
MAKE_STUDENTS = """
from tests.university import make_students, make_terms
make_terms()
make_students(12)
"""


# Does one command after another, so that Django is started once: a line of JSON with its arguments and input comes in, one
# with its exit status and output goes out.
CONSOLE = """
import io, json, sys
from contextlib import redirect_stdout
from django.core.management import execute_from_command_line

answers, questions = sys.stdout, sys.stdin
for line in questions:
    arguments, text = json.loads(line)
    code, said, sys.stdin = 0, io.StringIO(), io.TextIOWrapper(io.BytesIO(text.encode()))
    with redirect_stdout(said):
        try:
            execute_from_command_line(["manage.py", *arguments])
        except SystemExit as end:
            code = end.code or 0
    print(json.dumps([code, said.getvalue()]), file=answers, flush=True)
"""


class Installation:
    """An embedded installation in a folder, and the program that does its commands."""

    def __init__(self, folder: Path, reachable: str = "") -> None:
        self.folder, self.database = folder, folder / "matricula.sqlite3"
        servers = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "CREDENTIAL_KEYS")
        ours = {
            "INSTANCE_DIR": str(folder),
            "ALLOW_PRIVATE_HOSTS": reachable,
            "DJANGO_SETTINGS_MODULE": "config.settings",
        }
        kept = {name: value for name, value in os.environ.items() if name not in servers}
        self._console = subprocess.Popen(
            [sys.executable, "-c", CONSOLE],
            cwd=ROOT,
            env={**kept, **ours},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def close(self) -> None:
        self._console.communicate(timeout=30)

    def say(self, *arguments: str, stdin: str = "") -> tuple[int, str]:
        """The exit status of a command, and what it prints."""
        assert self._console.stdin
        assert self._console.stdout
        self._console.stdin.write(json.dumps([arguments, stdin]) + "\n")
        self._console.stdin.flush()
        code, said = json.loads(self._console.stdout.readline())
        return code, said

    def do(self, *arguments: str, stdin: str = "") -> tuple[int, Any]:
        """The exit status of a command, and what it says in JSON."""
        code, said = self.say(*arguments, "--json", stdin=stdin)
        return code, json.loads(said)

    def well_done(self, *arguments: str, stdin: str = "") -> Any:
        code, said = self.do(*arguments, stdin=stdin)
        assert code == 0, said
        return said

    def ledger(self) -> list[tuple[Any, ...]]:
        """The live entries: whose, and how much."""
        query = "SELECT account_id, kind, amount_minor FROM registration_ledgerentry WHERE state <> 'void' ORDER BY 1, 2, 3"
        with closing(sqlite3.connect(self.database)) as database:
            return database.execute(query).fetchall()


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an installation as it is after its first start, with students, to be copied."""
    with closing(Installation(tmp_path_factory.mktemp("first"))) as made:
        assert made.say("migrate", "-v0")[0] == 0
        assert made.say("shell", "--no-imports", "-c", MAKE_STUDENTS)[0] == 0
        return made.folder


Install = Callable[[Path], Installation]


@pytest.fixture
def install(httpserver: HTTPServer) -> Iterator[Install]:
    """Open the installation of a folder until the test is over."""
    with ExitStack() as opened:
        reachable = f"{httpserver.host}:{httpserver.port}"
        yield lambda folder: opened.enter_context(closing(Installation(folder, reachable)))


@pytest.fixture
def copied(first: Path, install: Install, tmp_path: Path) -> Installation:
    return install(shutil.copytree(first, tmp_path / "instance"))


def of_feed(feed: Feed) -> list[tuple[Any, ...]]:
    """The ledger that the feed says there should be."""
    return sorted(
        (int(each["student"]["number"][1:]), "aid", round(float(each["amount"]) * 100))
        for each in feed.awards
    )


def test_after_a_restore_to_yesterday_the_next_sync_heals_the_ledger(
    copied: Installation, httpserver: HTTPServer, tmp_path: Path
) -> None:
    feed, file = Feed(httpserver), str(tmp_path / "yesterday.tar")
    feed.awards = [award(number) for number in range(1, 9)]
    copied.well_done("connections", "load", "-", stdin=json.dumps(feed.document()))
    copied.well_done("sync", "financial-aid")
    copied.well_done("seal_audit", "--export")
    made = copied.well_done("backup", file)
    assert made["keys"] == str(copied.folder / "keys")

    # Today: one comes, one changes, one goes; all of it billed, sealed, and then lost.
    feed.awards = [award(2, amount="175.50"), *(award(number) for number in range(3, 9)), award(11)]
    copied.well_done("sync", "financial-aid")
    copied.well_done("seal_audit", "--export")
    today = copied.ledger()
    assert today == of_feed(feed)
    restored = copied.well_done("restore", file, "--overwrite")
    assert not restored["lacks_a_key"]
    assert copied.ledger() != today
    with closing(sqlite3.connect(restored["kept"])) as kept:
        assert kept.execute("SELECT count(*) FROM integrations_syncrun").fetchone() == (2,)

    report = copied.well_done("sync", "financial-aid")
    assert (report["created"], report["modified"], report["voided"]) == (1, 1, 1)
    assert copied.ledger() == today
    copied.well_done("verify_ledger")
    # A head has seen events that are no more: that is what a restore is, and the trail says so.
    copied.well_done("seal_audit")
    code, said = copied.do("verify_audit")
    assert code == 1
    assert {fault["rule"] for fault in said["faults"]} <= {"tail_cut", "chain_replaced"}
    with closing(sqlite3.connect(copied.database)) as database:
        actions = database.execute(
            "SELECT action FROM audit_auditevent WHERE action LIKE 'installation.%'"
        ).fetchall()
    assert actions == [("installation.restored",)]


def test_a_backup_is_whole_while_others_write_and_is_restored_into_a_fresh_folder(
    copied: Installation, install: Install, tmp_path: Path
) -> None:
    file, is_over = tmp_path / "now.tar", threading.Event()
    with closing(sqlite3.connect(copied.database)) as database:
        database.execute("CREATE TABLE pair (here INTEGER, there INTEGER)")
        database.execute("INSERT INTO pair VALUES (0, 0)")
        database.commit()

    def write() -> None:
        with closing(sqlite3.connect(copied.database, timeout=30)) as writer:
            while not is_over.is_set():
                writer.execute("UPDATE pair SET here = here + 1")
                writer.execute("UPDATE pair SET there = there + 1")
                writer.commit()

    writing = threading.Thread(target=write)
    writing.start()
    try:
        copied.well_done("backup", str(file))
    finally:
        is_over.set()
        writing.join()
    assert file.stat().st_mode & 0o777 == 0o600
    fresh = install(tmp_path / "fresh")
    said = fresh.well_done("restore", str(file))
    assert (said["kept"], said["lacks_a_key"]) == (None, True)
    with closing(sqlite3.connect(fresh.database)) as database:
        ((here, there),) = database.execute("SELECT * FROM pair").fetchall()
        assert here == there > 0
        assert database.execute("SELECT count(*) FROM registration_student").fetchone() == (12,)


def test_no_key_is_in_a_backup(copied: Installation, tmp_path: Path) -> None:
    copied.well_done("backup", str(tmp_path / "now.tar"))
    content = (tmp_path / "now.tar").read_bytes()
    keys = [path.read_bytes() for path in (copied.folder / "keys").iterdir()]
    assert len(keys) == 3
    assert [key for key in keys if key in content] == []


def test_nothing_is_written_over_unless_told_and_nothing_is_replaced_under_running_processes(
    copied: Installation, tmp_path: Path
) -> None:
    file = str(tmp_path / "now.tar")
    copied.well_done("backup", file)
    before = Path(file).read_bytes()
    code, said = copied.do("backup", file)
    assert (code, said["status"]) == (1, "failed")
    assert "no backup is ever written over" in said["reason"]
    assert Path(file).read_bytes() == before
    code, said = copied.do("restore", file)
    assert code == 1
    assert "--overwrite" in said["reason"]
    with held(copied.folder / "up.lock"):
        code, said = copied.do("restore", file, "--overwrite")
        assert code == 1
        assert "--while-running" in said["reason"]
        copied.well_done("restore", file, "--overwrite", "--while-running")


class held:  # noqa: N801 - reads as what it is in a `with`
    """Hold a lock as `up` does, by a process of its own."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __enter__(self) -> None:
        code = "import fcntl, sys; lock = open(sys.argv[1], 'w'); fcntl.flock(lock, fcntl.LOCK_EX); print(flush=True); input()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, str(self._file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout
        self._process.stdout.readline()

    def __exit__(self, *problem: object) -> None:
        self._process.communicate(b"\n")


Damage = Callable[[dict[str, bytes]], None]


def rewritten(file: Path, damage: Damage) -> Path:
    """The backup with its parts changed."""
    with tarfile.open(file) as backup:
        parts = {name: content.read() for name in backup.getnames() if (content := backup.extractfile(name))}
    damage(parts)
    changed = file.with_name("changed.tar")
    with tarfile.open(changed, "w") as backup:
        for name, part in parts.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(part)
            backup.addfile(entry, BytesIO(part))
    return changed


def _one_byte(parts: dict[str, bytes]) -> None:
    content = bytearray(parts["matricula.sqlite3"])
    content[-2000] ^= 1
    parts["matricula.sqlite3"] = bytes(content)


def _manifest(**changes: Any) -> Damage:
    def damage(parts: dict[str, bytes]) -> None:
        parts["manifest.json"] = json.dumps({**json.loads(parts["manifest.json"]), **changes}).encode()

    return damage


DAMAGES: list[tuple[Damage, str]] = [
    (_one_byte, "changed or damaged"),
    (_manifest(migrations=["integrations.9999_of_the_future"]), "restore it with that release"),
    (_manifest(format=2), "format 2"),
    (lambda parts: parts.clear(), "no whole backup"),
    (lambda parts: parts.update({"manifest.json": b"[]"}), "no whole backup"),
]


def test_what_is_no_whole_backup_of_this_release_is_refused_and_changes_nothing(
    copied: Installation, tmp_path: Path
) -> None:
    file = tmp_path / "now.tar"
    copied.well_done("backup", str(file))
    before = copied.database.read_bytes()
    for damage, why in DAMAGES:
        code, said = copied.do("restore", str(rewritten(file, damage)), "--overwrite")
        assert (code, why in said["reason"]) == (1, True), said
    (tmp_path / "text").write_text("no backup")
    for name in ("text", "nothing"):
        assert copied.do("restore", str(tmp_path / name), "--overwrite")[0] == 1
    assert copied.database.read_bytes() == before


def test_on_postgresql_it_says_how_that_is_backed_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(backup, "connection", SimpleNamespace(vendor="postgresql"))
    with pytest.raises(BackupRefused, match="pg_dump"):
        make_backup(tmp_path / "now.tar")
