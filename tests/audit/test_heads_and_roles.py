"""Heads that only the signing key makes, and the rights of the roles that run the product."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import ProgrammingError, connection, transaction

from audit.database_roles import APPEND_ONLY, excess_rights, role_statements
from audit.heads import LATEST, export_head, exported_heads, keep_latest_head
from audit.models import AuditSeal
from audit.signing import is_signed, signed, verifying_keys
from audit.verification import verify_trail
from config.checks import check_database_role
from tests.audit.trail import rules, sealed
from tests.database_roles import RUNTIME, as_owner
from tests.refusals import execute

pytestmark = pytest.mark.django_db


def new_key() -> str:
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


# --- heads ------------------------------------------------------------------------------------------------


def test_a_head_says_where_the_chain_ended_and_is_signed_with_our_key() -> None:
    sealed(5)
    path = export_head()
    assert path is not None
    said = json.loads(path.read_text())
    assert (said["position"], said["count"]) == (5, 5)
    assert said["digest"] == bytes(AuditSeal.objects.get(position=5).digest).hex()
    assert is_signed(said)
    assert said["key"] == verifying_keys()[0].id
    assert path.stat().st_mode & 0o222 == 0


@pytest.mark.parametrize("change", [{"position": 4}, {"digest": "00" * 32}, {"key": "0" * 16}, {"signature": "AAAA"}, {"signature": "é"}, {"more": 1}])  # fmt: skip
def test_no_part_of_a_head_can_be_changed(change: dict[str, Any]) -> None:
    sealed(5)
    path = export_head()
    assert path is not None
    path.chmod(0o600)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert rules() == ["head_forged"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"position": "x"}', b"\xff\xfe", b"{}" * 9000])
def test_a_file_that_is_no_head_is_named_and_breaks_nothing(content: bytes, settings: Any) -> None:
    sealed(1)
    export_head()
    (settings.AUDIT_HEAD_DIR / "head-20260101T000000Z-1.json").write_bytes(content)
    assert rules() == ["head_forged"]
    assert "head-20260101T000000Z-1.json" in verify_trail().faults[0].sentence


def test_a_head_of_an_older_key_holds_as_long_as_the_key_is_listed(settings: Any) -> None:
    old, new = new_key(), new_key()
    settings.AUDIT_SIGNING_KEY = [old]
    sealed(2)
    export_head()
    settings.AUDIT_SIGNING_KEY = [new, old]
    assert rules() == []
    settings.AUDIT_SIGNING_KEY = [new]
    assert rules() == ["head_forged"]


def test_without_a_key_of_its_own_an_installation_signs_with_one_that_its_machines_agree_on(
    settings: Any,
) -> None:
    settings.AUDIT_SIGNING_KEY = [""]
    statement = signed({"a": 1})
    assert is_signed(statement)
    settings.SECRET_KEY = settings.SECRET_KEY + "-another"
    assert not is_signed(statement)


@pytest.mark.parametrize("key", ["short", "!" * 44, base64.urlsafe_b64encode(b"x" * 31).decode()])
def test_a_key_that_is_none_is_refused_with_the_way_to_make_one(settings: Any, key: str) -> None:
    settings.AUDIT_SIGNING_KEY = [key]
    with pytest.raises(ImproperlyConfigured, match="Make one with") as caught:
        verifying_keys()
    assert key not in str(caught.value)


def test_the_latest_head_is_written_over_and_hourly_ones_are_kept(settings: Any) -> None:
    sealed(1)
    keep_latest_head()
    first = export_head()
    again = export_head()
    keep_latest_head()
    assert {head.name for head in exported_heads()} == {
        LATEST,
        *(path.name for path in (first, again) if path),
    }
    assert [path.name for path in settings.AUDIT_HEAD_DIR.iterdir() if path.name.startswith(".")] == []


def test_an_hourly_head_is_mailed_where_that_is_asked_for(settings: Any) -> None:
    settings.AUDIT_HEAD_EMAIL = "auditor@example.edu"
    sealed(3)
    export_head()
    (message,) = mail.outbox
    assert message.to == ["auditor@example.edu"]
    assert is_signed(json.loads(str(message.body)))


def test_nothing_sealed_has_no_head_and_a_folder_that_cannot_be_written_stops_no_sealing(
    settings: Any, tmp_path: Path
) -> None:
    assert export_head() is None
    (tmp_path / "file").write_text("")
    settings.AUDIT_HEAD_DIR = tmp_path / "file" / "heads"
    sealed(1)
    keep_latest_head()
    with pytest.raises(OSError, match="Not a directory"):
        export_head()


def test_the_command_seals_exports_and_prints_the_public_key(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("seal_audit", "--export", "--json")
    assert json.loads(capsys.readouterr().out)["exported"] is None
    sealed(1)
    call_command("seal_audit", "--export", "--json")
    said = json.loads(capsys.readouterr().out)
    assert Path(said["exported"]).exists()
    assert said["public_keys"] == {key.id: key.text for key in verifying_keys()}


# --- roles ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", APPEND_ONLY)
@pytest.mark.parametrize("statement", ["UPDATE {} SET position = position", "DELETE FROM {}", "TRUNCATE {}", "ALTER TABLE {} DISABLE TRIGGER ALL", "DROP TABLE {}"])  # fmt: skip
def test_the_runtime_role_has_no_right_to_change_what_proves_the_trail(table: str, statement: str) -> None:
    sealed(1)
    if connection.vendor == "sqlite":
        assert excess_rights() == []
        return
    statement = statement.format(table).replace("SET position = position", "SET id = id" if table.endswith("event") else "SET position = position")  # fmt: skip
    with pytest.raises(ProgrammingError, match=r"permission denied|must be owner"), transaction.atomic():
        execute(statement)


def test_what_a_role_may_do_beyond_its_work_is_told_by_the_check() -> None:
    assert excess_rights() == []
    assert check_database_role(None, databases=["default"]) == []
    with as_owner():
        found = check_database_role(None, databases=["default"])
    if connection.vendor == "postgresql":
        assert [message.id for message in found] == ["matricula.E020"]
        assert "TRUNCATE audit_auditevent" in found[0].msg
    assert check_database_role(None, databases=None) == []


def test_the_roles_are_printed_for_the_owner_to_run(capsys: pytest.CaptureFixture[str]) -> None:
    if connection.vendor == "sqlite":
        with pytest.raises(CommandError, match="Only PostgreSQL has roles"):
            call_command("audit_roles")
        return
    call_command("audit_roles", "--runtime", RUNTIME)
    said = capsys.readouterr().out
    with as_owner():
        for statement in said.splitlines():
            execute(statement.replace("%", "%%"))
    with pytest.raises(CommandError, match="no name for a role"):
        call_command("audit_roles", "--runtime", "x; DROP ROLE y")


def test_a_name_that_is_none_makes_no_statement() -> None:
    for name in ("", "a b", 'a"b', "A", "x" * 64):
        with pytest.raises(ValueError, match="no name for a role"):
            role_statements(runtime=name, database="matricula", owner="postgres")
