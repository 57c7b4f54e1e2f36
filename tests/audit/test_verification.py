"""Verification finds what somebody who owns the database did to the trail, and names it."""

from __future__ import annotations

import datetime
import io
import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

import audit
from apiauth.models import User
from audit import verification
from audit.encoding import microseconds, seal_digest
from audit.heads import export_head, keep_latest_head
from audit.models import AuditSeal
from audit.sealing import seal_events
from audit.verification import verify_trail
from tests.audit.trail import NOON, rules, sealed, seals, tampering, write

pytestmark = pytest.mark.django_db
EVENT, SEAL = "audit_auditevent", "audit_auditseal"


def faults() -> list[tuple[str, int | None]]:
    """Each fault's rule, and the event that it names."""
    return [(fault.rule, fault.event) for fault in verify_trail().faults]


def verify(*arguments: str) -> tuple[int, str, str]:
    """The command's exit status, and what it said to stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command("verify_audit", *arguments, stdout=out, stderr=err)
    except SystemExit as end:
        return int(end.code or 0), out.getvalue(), err.getvalue()
    return 0, out.getvalue(), err.getvalue()


# --- what holds -------------------------------------------------------------------------------------------


def test_a_trail_that_nobody_touched_holds() -> None:
    sealed(12)
    found = verify_trail()
    assert (found.faults, found.sealed, found.unsealed, found.position) == ([], 12, 0, 12)
    assert found.digest == bytes(seals()[-1].digest).hex()


def test_an_empty_trail_holds() -> None:
    status, said, _ = verify()
    assert status == 0
    assert "Everything sealed holds." in said


def test_what_is_not_sealed_yet_is_named_and_is_no_fault() -> None:
    sealed(3)
    late = write(2, start=NOON + datetime.timedelta(minutes=1))
    status, said, _ = verify("--json")
    report = json.loads(said)
    assert status == 0
    assert (report["status"], report["unsealed"], report["unsealed_events"]) == ("ok", 2, late)
    assert report["events"] == 5


# --- what does not ----------------------------------------------------------------------------------------

OTHERWISE = {
    "at": "'2026-09-01 12:00:09+00:00'",
    "actor_kind": "'system'",
    "actor_id": "'8'",
    "actor_name": "'somebody else'",
    "action": "'user.created'",
    "subject_type": "'apiauth.consumer'",
    "subject_id": "'99'",
    "reason": "'because'",
    "detail": '\'{"fields": ["email"], "count": 4, "student": "S0000001"}\'',
    "request_id": "''",
    "address": "'192.0.2.2'",
}


@pytest.mark.parametrize("column", OTHERWISE)
def test_an_edited_event_is_named_whatever_was_edited(column: str) -> None:
    pks = sealed(6)
    with tampering() as execute:
        assert execute(f"UPDATE {EVENT} SET {column} = {OTHERWISE[column]} WHERE id = %s", pks[3]) == 1
    assert faults() == [("event_edited", pks[3])]


def test_the_command_fails_and_says_what_it_means() -> None:
    pks = sealed(3)
    with tampering() as execute:
        execute(f"UPDATE {EVENT} SET reason = 'because' WHERE id = %s", pks[1])
    status, _, said = verify()
    assert status == 1
    assert f"Event {pks[1]} was edited after it was sealed (position 2)" in said
    status, said, _ = verify("--json")
    report = json.loads(said)
    assert (status, report["status"], report["fault_count"]) == (1, "failed", 1)
    assert report["faults"][0]["event"] == pks[1]


def test_a_deleted_event_is_named() -> None:
    pks = sealed(6)
    with tampering() as execute:
        execute(f"DELETE FROM {EVENT} WHERE id = %s", pks[2])
    assert faults() == [("event_deleted", pks[2])]


def test_an_event_that_was_deleted_with_its_seal_leaves_a_gap() -> None:
    pks = sealed(6)
    with tampering() as execute:
        execute(f"DELETE FROM {EVENT} WHERE id = %s", pks[2])
        execute(f"DELETE FROM {SEAL} WHERE position = 3")
    (fault,) = verify_trail().faults
    assert (fault.rule, fault.position) == ("seals_missing", 3)


def test_events_that_changed_places_are_named() -> None:
    pks = sealed(6)
    with tampering() as execute:
        execute(f"UPDATE {EVENT} SET id = 999999 WHERE id = %s", pks[1])
        execute(f"UPDATE {EVENT} SET id = %s WHERE id = %s", pks[1], pks[4])
        execute(f"UPDATE {EVENT} SET id = %s WHERE id = 999999", pks[4])
    assert faults() == [("event_edited", pks[1]), ("event_edited", pks[4])]


def test_seals_that_changed_places_are_named() -> None:
    pks = sealed(6)
    with tampering() as execute:
        for old, new in ((2, 99), (3, 2), (99, 3)):
            execute(f"UPDATE {SEAL} SET position = %s WHERE position = %s", new, old)
    named = faults()
    assert {("chain_broken", pks[2]), ("chain_broken", pks[1])} <= set(named)
    assert {event for _, event in named} == {pks[1], pks[2], pks[3]}


@pytest.mark.parametrize("column", ["event_digest", "previous_digest", "digest", "sealed_at"])
def test_an_edited_seal_is_named(column: str) -> None:
    pks = sealed(4)
    value: Any = NOON if column == "sealed_at" else b"x" * 32
    with tampering():
        AuditSeal.objects.filter(position=2).update(**{column: value})
    named = faults()
    assert ("seal_edited", pks[1]) in named
    assert {event for _, event in named} <= {pks[1], pks[2]}


def test_an_edit_that_fits_its_own_seal_breaks_the_chain_after_it() -> None:
    """Whoever edits an event and makes its seal anew would have to make every later one anew."""
    pks = sealed(5)
    with tampering() as execute:
        execute(f"UPDATE {EVENT} SET reason = 'because' WHERE id = %s", pks[1])
        reseal(2, only=1)
    assert faults() == [("chain_broken", pks[2])]


def test_an_event_inserted_with_a_time_of_long_ago_is_named_before_and_after_it_is_sealed() -> None:
    sealed(3)
    (pk,) = write(1, start=NOON - datetime.timedelta(days=30), reason="it was always here")
    assert faults() == [("event_backdated", pk)]
    seal_events()
    assert faults() == [("event_backdated", pk)]


def test_an_event_inserted_into_the_chain_is_named() -> None:
    sealed(4)
    (pk,) = write(1, start=NOON + datetime.timedelta(seconds=2))
    with tampering() as execute:
        execute(f"UPDATE {SEAL} SET position = position + 100 WHERE position > 2")
        execute(f"UPDATE {SEAL} SET position = position - 99 WHERE position > 100")
        AuditSeal.objects.bulk_create([copy_of(seals()[1], position=3, event_id=pk)])
    assert {rule for rule, _ in faults()} == {"event_edited", "chain_broken", "seal_edited"}
    assert pk in {event for _, event in faults()}


def copy_of(seal: AuditSeal, **values: Any) -> AuditSeal:
    return AuditSeal(**{**{field.attname: getattr(seal, field.attname) for field in AuditSeal._meta.concrete_fields}, **values})  # fmt: skip


# --- what only the heads see --------------------------------------------------------------------------------


def cut_tail(count: int) -> None:
    """Take the newest events and their seals away, as if they had never been."""
    with tampering() as execute:
        first = AuditSeal.objects.order_by("-position").values_list("position", flat=True)[count - 1]
        execute(f"DELETE FROM {EVENT} WHERE id IN (SELECT event_id FROM {SEAL} WHERE position >= %s)", first)
        execute(f"DELETE FROM {SEAL} WHERE position >= %s", first)


def reseal(start: int, *, only: int | None = None) -> None:
    """Make seals anew over what the events say now, from a position on."""
    from audit.encoding import event_columns, event_digest  # noqa: PLC0415

    previous = bytes(seals()[start - 2].digest)
    for seal in seals()[start - 1 :][:only]:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {event_columns('e')} FROM {EVENT} AS e WHERE id = %s", [seal.event_id])
            digest = event_digest(cursor.fetchone())
        own = seal_digest(seal.position, seal.event_id, microseconds(seal.sealed_at), digest, previous)
        AuditSeal.objects.filter(pk=seal.pk).update(event_digest=digest, previous_digest=previous, digest=own)
        previous = own


@pytest.mark.parametrize("keep", [export_head, keep_latest_head])
def test_a_tail_cut_after_a_head_was_exported_is_found_and_counted(keep: Callable[[], object]) -> None:
    sealed(10)
    keep()
    cut_tail(4)
    (fault,) = verify_trail().faults
    assert fault.rule == "tail_cut"
    assert "ends at position 6" in fault.sentence
    assert "4 events after it were cut" in fault.sentence
    assert verify()[0] == 1


def test_a_tail_cut_and_grown_again_is_found() -> None:
    sealed(10)
    export_head()
    cut_tail(4)
    write(7, start=NOON + datetime.timedelta(minutes=5))
    seal_events()
    assert rules() == ["chain_replaced"]


def test_a_chain_made_anew_from_an_edited_event_on_is_found() -> None:
    pks = sealed(6)
    export_head()
    with tampering() as execute:
        execute(f"UPDATE {EVENT} SET reason = 'because' WHERE id = %s", pks[1])
        reseal(2)
    assert rules() == ["chain_replaced"]


def test_the_whole_trail_deleted_is_found() -> None:
    sealed(5)
    keep_latest_head()
    cut_tail(5)
    assert rules() == ["tail_cut"]


def test_a_head_holds_while_the_chain_grows() -> None:
    sealed(3)
    export_head()
    write(3, start=NOON + datetime.timedelta(minutes=1))
    seal_events()
    assert (rules(), verify_trail().heads) == ([], 1)


def test_without_a_head_the_command_says_what_cannot_be_seen() -> None:
    sealed(2)
    assert "No head has been exported yet" in verify()[1]


# --- size -------------------------------------------------------------------------------------------------


def test_many_faults_are_counted_and_the_first_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "MAX_FAULTS", 3)
    sealed(8)
    with tampering() as execute:
        execute(f"UPDATE {EVENT} SET reason = 'because'")
    found = verify_trail()
    assert (found.fault_count, len(found.faults)) == (8, 3)
    assert "... and 5 more." in verify()[2]


def test_verifying_takes_memory_for_a_batch_and_not_for_the_trail(monkeypatch: pytest.MonkeyPatch) -> None:
    """The measurement over 1,000,000 rows is in docs/decisions/0013; this is its shape, small."""
    monkeypatch.setattr(verification, "BATCH", 200)
    write(4000)
    seal_events()

    def peak_of_verifying() -> int:
        tracemalloc.start()
        try:
            assert rules() == []
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak_of_verifying()  # whatever is loaded once is loaded now
    assert peak_of_verifying() < 2_000_000  # the rows alone are more than twice that


def test_an_event_with_the_least_said_is_verified_too() -> None:
    audit.record("user.changed", User())
    seal_events()
    assert rules() == []
