"""Verification sees that the database still refuses, who could get past it, and needs no more than the public key."""

from __future__ import annotations

import base64
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from audit.archives import verify_archive
from audit.database_roles import who_could_alter
from audit.heads import export_head
from audit.refusals import missing_refusals
from audit.signing import verifying_key, verifying_keys
from tests.audit.trail import NOON, rules, sealed, write
from tests.database_roles import RUNTIME, as_owner
from tests.refusals import execute

pytestmark = pytest.mark.django_db
EVENT, SEAL = "audit_auditevent", "audit_auditseal"
IS_POSTGRESQL = connection.vendor == "postgresql"


def new_key() -> str:
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


def verify(*arguments: str) -> tuple[int, dict[str, Any]]:
    """The command's exit status, and what it said as JSON."""
    out = io.StringIO()
    try:
        call_command("verify_audit", "--json", *arguments, stdout=out)
    except SystemExit as end:
        return int(str(end.code)), json.loads(out.getvalue())
    return 0, json.loads(out.getvalue())


# --- what the database refuses ------------------------------------------------------------------------------

# As somebody who owns the tables would open a gap: what it is, the statements, and what is then not refused.
GAPS: dict[str, dict[str, tuple[list[str], tuple[str, str]]]] = {
    "postgresql": {
        "dropped": ([f"DROP TRIGGER {EVENT}_no_update ON {EVENT}"], (EVENT, "UPDATE")),
        "switched off": ([f"ALTER TABLE {SEAL} DISABLE TRIGGER {SEAL}_no_delete"], (SEAL, "DELETE")),
        "for replicas only": (
            [f"ALTER TABLE {SEAL} ENABLE REPLICA TRIGGER {SEAL}_no_delete"],
            (SEAL, "DELETE"),
        ),
        "truncate": ([f"DROP TRIGGER {EVENT}_no_truncate ON {EVENT}"], (EVENT, "TRUNCATE")),
        "never true": (
            [
                f"DROP TRIGGER {EVENT}_no_update ON {EVENT}",
                f"CREATE TRIGGER {EVENT}_no_update BEFORE UPDATE ON {EVENT} FOR EACH ROW WHEN (OLD.id < 0) "
                f"EXECUTE FUNCTION {EVENT}_refuse()",
            ],
            (EVENT, "UPDATE"),
        ),
        "of the ledger": (
            ["ALTER TABLE registration_ledgerentry DISABLE TRIGGER registration_ledgerentry_no_delete"],
            ("registration_ledgerentry", "DELETE"),
        ),
    },
    "sqlite": {
        "dropped": ([f"DROP TRIGGER {EVENT}_no_update"], (EVENT, "UPDATE")),
        "replacing": ([f"DROP TRIGGER {SEAL}_no_insert"], (SEAL, "INSERT")),
        "never true": (
            [
                f"DROP TRIGGER {EVENT}_no_delete",
                f"CREATE TRIGGER {EVENT}_no_delete BEFORE DELETE ON {EVENT} FOR EACH ROW WHEN OLD.id < 0 "
                "BEGIN SELECT RAISE(ABORT, 'refused'); END",
            ],
            (EVENT, "DELETE"),
        ),
    },
}


@pytest.mark.parametrize("gap", sorted(GAPS[connection.vendor]))
def test_a_refusal_that_is_gone_is_named(gap: str) -> None:
    sealed(1)
    assert rules() == []
    statements, missing = GAPS[connection.vendor][gap]
    with as_owner():
        for statement in statements:
            execute(statement)
    assert missing_refusals() == [missing]
    status, said = verify()
    assert (status, said["status"]) == (1, "failed")
    (fault,) = said["faults"]
    assert fault["rule"] == "refusal_missing"
    assert f"{missing[0]} does not refuse {missing[1]} any more" in fault["sentence"]


def test_a_function_that_refuses_nothing_any_more_is_named() -> None:
    if not IS_POSTGRESQL:
        assert missing_refusals() == []  # SQLite's triggers hold what they do themselves
        return
    with as_owner():
        execute(
            f"CREATE OR REPLACE FUNCTION {EVENT}_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$"
        )
    assert set(missing_refusals()) == {(EVENT, "DELETE"), (EVENT, "TRUNCATE"), (EVENT, "UPDATE")}


# --- who could ----------------------------------------------------------------------------------------------


def test_who_could_alter_rows_is_named_with_the_reason() -> None:
    said = verify()[1]["could_alter"]
    if not IS_POSTGRESQL:
        assert said == {}
        return
    owner = connection.settings_dict["USER"]
    assert owner in said
    assert RUNTIME not in said
    with as_owner():
        execute("CREATE ROLE matricula_test_meddler LOGIN")
        execute(f"GRANT DELETE, TRIGGER ON {SEAL} TO matricula_test_meddler")
        execute("CREATE ROLE matricula_test_friend LOGIN")
        execute(f"GRANT {owner} TO matricula_test_friend")
    able = {each.role: each.why for each in who_could_alter()}
    assert able["matricula_test_meddler"] == "may DELETE, TRIGGER"
    assert able["matricula_test_friend"] == "owns the tables"


# --- with the public half alone -----------------------------------------------------------------------------


def test_an_auditor_verifies_with_the_public_key_alone(settings: Any) -> None:
    settings.AUDIT_SIGNING_KEY = [new_key()]
    sealed(3)
    export_head()
    public = verifying_keys()[0].text
    settings.AUDIT_SIGNING_KEY = [new_key()]  # the auditor's own machine has keys of its own
    assert verify()[0] == 1
    assert verify("--public-key", public)[0] == 0
    settings.AUDIT_SIGNING_KEY = ["what is no key"]  # and they are not so much as looked at
    assert verify("--public-key", public)[0] == 0


def test_each_key_of_a_rotation_can_be_given(settings: Any) -> None:
    old, new = new_key(), new_key()
    settings.AUDIT_SIGNING_KEY = [old]
    sealed(2)
    export_head()
    settings.AUDIT_SIGNING_KEY = [new, old]
    write(1, start=NOON)
    call_command("seal_audit", "--export", "--json", stdout=io.StringIO())
    both = [key.text for key in verifying_keys()]
    assert verify("--public-key", both[0], "--public-key", both[1])[0] == 0
    status, said = verify("--public-key", both[0])
    assert status == 1
    assert {fault["rule"] for fault in said["faults"]} == {"head_forged"}
    assert "by the public key that was given" in said["faults"][0]["sentence"]


def test_an_archive_is_verified_with_the_public_key_alone(settings: Any, tmp_path: Path) -> None:
    settings.AUDIT_SIGNING_KEY = [new_key()]
    sealed(3)
    path = tmp_path / "old.jsonl.gz"
    with as_owner():
        call_command("archive_audit", str(path), "--before", "2030-01-01", stdout=io.StringIO())
    public = verifying_keys()[0].text
    settings.AUDIT_SIGNING_KEY = ["what is no key"]
    assert verify("--archive", str(path), "--public-key", public)[0] == 0
    another = verifying_key(base64.urlsafe_b64encode(os.urandom(32)).decode())
    assert [fault.rule for fault in verify_archive(path, [another]).faults] == ["archive_forged"]


@pytest.mark.parametrize("text", ["", "x", "é", "A" * 44, base64.urlsafe_b64encode(b"x" * 31).decode()])
def test_what_is_no_public_key_is_told_in_words(text: str) -> None:
    status, said = verify("--public-key", text)
    assert status == 1
    assert "is no public key" in said["reason"]
