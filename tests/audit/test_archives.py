"""Retention: rows go only into an archive that proves itself, and the chain holds afterwards."""

from __future__ import annotations

import datetime
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from audit import archives
from audit.archives import ArchiveRefused, archive_events, verify_archive
from audit.heads import export_head
from audit.immutability import ARCHIVIST
from audit.models import AuditCheckpoint, AuditEvent, AuditSeal
from audit.sealing import seal_events
from tests.audit.trail import NOON, rules, sealed, tampering, write
from tests.database_roles import RUNTIME, as_owner
from tests.refusals import execute, refused_as_unchangeable

pytestmark = pytest.mark.django_db
YEAR = datetime.timedelta(days=365)


def two_years() -> list[int]:
    """Six events of last year and four of this one, all sealed."""
    old = write(6, start=NOON - YEAR)
    new = write(4)
    assert seal_events() == 10
    return old + new


def archive(path: Path, before: datetime.datetime = NOON) -> Any:
    with as_owner():  # who is a member of every role
        return archive_events(path, before=before)


@pytest.mark.parametrize("name", ["old.jsonl", "old.jsonl.gz"])
def test_what_is_old_goes_into_the_archive_and_the_chain_still_holds(tmp_path: Path, name: str) -> None:
    pks = two_years()
    export_head()
    done = archive(tmp_path / name)
    assert (done.first_position, done.position, done.removed) == (1, 6, 6)
    assert not AuditEvent.objects.filter(pk__in=pks[:6]).exists()
    assert list(AuditSeal.objects.order_by("position").values_list("position", flat=True)) == [7, 8, 9, 10]
    event = AuditEvent.objects.get(action="audit_trail.archived")
    assert event.detail == {"first_position": 1, "position": 6, "file": name}
    assert rules() == []
    seal_events()
    assert rules() == []
    found = verify_archive(tmp_path / name)
    assert (found.faults, found.sealed, found.position) == ([], 6, 6)


def test_one_archive_follows_another_without_a_gap(tmp_path: Path) -> None:
    two_years()
    archive(tmp_path / "one")
    done = archive(tmp_path / "two", NOON + datetime.timedelta(seconds=2))
    assert (done.first_position, done.position) == (7, 8)
    assert rules() == []
    assert verify_archive(tmp_path / "two").faults == []
    with pytest.raises(ArchiveRefused, match="no sealed event before"):
        archive(tmp_path / "three")


def test_all_of_it_archived_leaves_a_chain_that_goes_on(tmp_path: Path) -> None:
    sealed(3)
    archive(tmp_path / "all", NOON + YEAR)
    assert rules() == []
    assert seal_events() == 1  # the archiving itself
    assert AuditSeal.objects.get().position == 4
    assert rules() == []


def changed(path: Path, change: Any) -> None:
    path.write_bytes(change(path.read_bytes()))


def without_line(number: int) -> Any:
    return lambda data: b"".join(
        line for place, line in enumerate(data.splitlines(keepends=True)) if place != number
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.replace(b"asked by phone", b"asked by ph0ne", 1),
        lambda data: data.replace(b'"position":3', b'"position":4', 1),
        without_line(2),
        without_line(6),
        lambda data: data[: data.rindex(b'{"end"')],
        lambda data: data + b"{}\n",
        lambda data: data.replace(b'"lines_digest":"', b'"lines_digest":"0', 1),
        lambda data: data.replace(b'"signature":"', b'"signature":"A', 1),
        lambda data: data.replace(b'"made_at":"2', b'"made_at":"1', 1),
    ],
)
def test_an_archive_that_was_changed_is_found_out(tmp_path: Path, change: Any) -> None:
    two_years()
    archive(tmp_path / "old.jsonl")
    changed(tmp_path / "old.jsonl", change)
    assert verify_archive(tmp_path / "old.jsonl").faults


@pytest.mark.parametrize("content", [b"", b"nothing", b"{}\n", b"[1]\n[2]\n"])
def test_a_file_that_is_no_archive_is_told_in_words(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ArchiveRefused, match="is no archive of the audit trail"):
        verify_archive(tmp_path / "x")
    with pytest.raises(SystemExit):
        call_command("verify_audit", "--archive", str(tmp_path / "x"))


def test_an_archive_that_does_not_hold_lets_nothing_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_years()
    written = archives._write

    def write_and_damage(path: Path, *rest: Any) -> None:
        written(path, *rest)
        changed(path, lambda data: data.replace(b"asked by phone", b"asked by ph0ne", 1))

    monkeypatch.setattr(archives, "_write", write_and_damage)
    with pytest.raises(ArchiveRefused, match="Nothing has gone"):
        archive(tmp_path / "old.jsonl")
    assert (AuditEvent.objects.count(), AuditCheckpoint.objects.count()) == (10, 0)


def test_a_trail_that_does_not_hold_is_not_archived(tmp_path: Path) -> None:
    pks = two_years()
    with tampering() as execute:
        execute("UPDATE audit_auditevent SET reason = 'because' WHERE id = %s", pks[2])
    with pytest.raises(ArchiveRefused, match=f"Event {pks[2]} was edited"):
        archive(tmp_path / "old.jsonl")
    assert list(tmp_path.iterdir()) == []
    assert AuditEvent.objects.count() == 10


def test_an_archive_is_never_written_over(tmp_path: Path) -> None:
    two_years()
    (tmp_path / "old.jsonl").write_text("precious")
    with pytest.raises(ArchiveRefused, match="never written over"):
        archive(tmp_path / "old.jsonl")
    assert (tmp_path / "old.jsonl").read_text() == "precious"


def test_the_database_lets_no_row_go_that_no_checkpoint_covers(tmp_path: Path) -> None:
    pks = two_years()
    archive(tmp_path / "old.jsonl")
    if connection.vendor == "postgresql":
        with as_owner():
            execute(f"SET ROLE {ARCHIVIST}")
            with refused_as_unchangeable("audit_auditevent"):
                execute("DELETE FROM audit_auditevent WHERE id = %s", pks[-1])
            with refused_as_unchangeable("audit_auditseal"):
                execute("DELETE FROM audit_auditseal WHERE position = 10")
        return
    with refused_as_unchangeable("audit_auditevent"):
        execute("DELETE FROM audit_auditevent WHERE id = %s", pks[-1])
    with refused_as_unchangeable("audit_auditseal"):
        execute("DELETE FROM audit_auditseal WHERE position = 10")


def test_on_postgresql_only_the_archivist_s_role_may(tmp_path: Path) -> None:
    two_years()
    if connection.vendor != "postgresql":
        return  # SQLite has no roles: its checkpoint is what decides, above
    # The tests' session is the owner's, who may take the role: here it is the runtime's from the start, or the owner was
    # given no membership.
    with as_owner():
        any_role = is_superuser()
        if any_role:
            execute(f"SET SESSION AUTHORIZATION {RUNTIME}")
        else:
            execute(f"REVOKE {ARCHIVIST} FROM CURRENT_USER")
        with pytest.raises(ArchiveRefused, match=f"no member of {ARCHIVIST}"):
            archive_events(tmp_path / "old.jsonl", before=NOON)
        if any_role:
            execute("RESET SESSION AUTHORIZATION")
    assert AuditEvent.objects.count() == 10


def test_where_the_roles_were_not_given_their_rights_it_is_said_before_anything_is_written(
    tmp_path: Path,
) -> None:
    two_years()
    if connection.vendor != "postgresql":
        return  # SQLite has no roles
    with as_owner():
        execute(f"REVOKE INSERT ON audit_auditcheckpoint FROM {ARCHIVIST}")
        with pytest.raises(ArchiveRefused, match="what audit_roles prints"):
            archive_events(tmp_path / "old.jsonl", before=NOON)
    assert list(tmp_path.iterdir()) == []


def is_superuser() -> bool:
    """Whether the tests' session began as a superuser's, who needs no membership in any role."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = session_user")
        return bool(cursor.fetchone()[0])


def test_a_checkpoint_that_we_did_not_sign_is_a_fault(tmp_path: Path) -> None:
    two_years()
    archive(tmp_path / "old.jsonl")
    with tampering() as execute:
        execute("UPDATE audit_auditcheckpoint SET archived_by = 'nobody'")
    assert rules() == ["checkpoint_forged"]


def test_an_archiving_that_broke_off_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_years()
    with monkeypatch.context() as patch:
        patch.setattr(archives, "remove_archived", lambda: 0)
        archive(tmp_path / "one")
    assert rules() == ["seals_beneath_checkpoint"]
    archive(tmp_path / "two", NOON + datetime.timedelta(seconds=1))
    assert rules() == []
    assert AuditSeal.objects.filter(position__lte=7).count() == 0


def test_the_command_archives_and_verifies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two_years()
    path = tmp_path / "old.jsonl.gz"
    with as_owner():
        call_command("archive_audit", str(path), "--before", "2026-09-01", "--json")
    assert json.loads(capsys.readouterr().out)["removed"] == 6
    call_command("verify_audit", "--archive", str(path), "--json")
    assert json.loads(capsys.readouterr().out)["status"] == "ok"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b"rita", b"Rita", 1)))
    with pytest.raises(SystemExit):
        call_command("verify_audit", "--archive", str(path))
    with pytest.raises(SystemExit):
        call_command("archive_audit", str(path), "--before", "soon")
