"""A bill's rows are never changed or deleted, by whatever door; one step is allowed, from live to void."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from django.db import IntegrityError, ProgrammingError, connection, transaction

from audit.immutability import RefuseChanges
from registration.models import LedgerEntry, Student, Term
from tests.database_roles import as_owner
from tests.refusals import (
    copy_over_itself,
    execute,
    present_triggers,
    promised_triggers,
    refusals_in_migrations,
    refused_as_unchangeable,
    rolled_back,
)
from tests.university import make_students, make_terms

TABLE = "registration_ledgerentry"
NOW = datetime.datetime(2026, 9, 1, 12, tzinfo=datetime.UTC)
VOIDING = "state = 'void', voided_at = posted_at, voided_by = 'bursar', void_reason = 'a mistake'"

# For each column that a void must leave alone, another value for it: where it has one now, and where it has none.
FROZEN: dict[str, tuple[str, ...]] = {
    "id": ("id + 1000",),
    "account_id": ("(SELECT id FROM registration_student WHERE number = 'S0000002')",),
    "term_id": ("(SELECT id FROM registration_term WHERE code = '2027SP')",),
    "kind": ("'payment'",),
    "adjusts": ("'aid'",),
    "amount_minor": ("amount_minor + 1", "amount_minor - 1", "-amount_minor"),
    "currency": ("'EUR'",),
    "code": ("'OTHER'", "''", "lower(code)", "code || ' '"),
    "description": ("'something else'", "''"),
    "effective_on": ("'2026-09-02'", "NULL"),
    "posted_at": ("'2026-09-02 00:00:00+00:00'",),
    "posted_by": ("'somebody else'",),
    "posted_run": ("8", "NULL"),
    "posted_change": ("9", "NULL"),
    "fee_item_id": ("1",),
    "basis": ("'12.00 credits'",),
}
# What the void itself writes.
WRITTEN_BY_A_VOID = {"state", "voided_from", "voided_at", "voided_by", "voided_run", "void_reason"}
CHANGES = [f"{column} = {value}" for column, values in FROZEN.items() for value in values]


@pytest.fixture
def student(db: None) -> Student:
    make_terms()
    return make_students(2)[0]


def entry_of(student: Student, **given: Any) -> LedgerEntry:
    """One entry with a value in every column."""
    values: dict[str, Any] = {
        "kind": "aid",
        "state": "posted",
        "amount_minor": 12_345,
        "currency": "USD",
        "code": "GRANT",
        "description": "State grant",
        "effective_on": datetime.date(2026, 9, 1),
        "posted_at": NOW,
        "posted_by": "bursar",
        "posted_run": 7,
        "posted_change": 8,
    }
    return LedgerEntry.objects.create(
        account=student.billing_account, term=Term.objects.get(code="2026FA"), **{**values, **given}
    )


@pytest.fixture
def entry(student: Student) -> LedgerEntry:
    return entry_of(student)


@pytest.fixture
def void_entry(student: Student) -> LedgerEntry:
    return entry_of(student, state="void", voided_at=NOW, voided_by="bursar", void_reason="a mistake")


def test_each_column_is_either_frozen_or_written_by_a_void() -> None:
    columns = {field.column for field in LedgerEntry._meta.concrete_fields}
    assert set(FROZEN) | WRITTEN_BY_A_VOID == columns
    assert not set(FROZEN) & WRITTEN_BY_A_VOID


@pytest.mark.parametrize("change", CHANGES)
def test_no_column_of_a_live_entry_is_changed(entry: LedgerEntry, change: str) -> None:
    with refused_as_unchangeable(TABLE):
        execute(f"UPDATE {TABLE} SET {change} WHERE id = %s", entry.pk)


@pytest.mark.parametrize("change", CHANGES)
def test_no_column_is_changed_on_the_way_into_void(entry: LedgerEntry, change: str) -> None:
    with refused_as_unchangeable(TABLE):
        execute(f"UPDATE {TABLE} SET {VOIDING}, {change} WHERE id = %s", entry.pk)


@pytest.mark.parametrize(
    "change",
    [
        "effective_on = '2026-09-02'",
        "posted_run = 8",
        "posted_change = 9",
    ],
)
def test_nothing_is_filled_in_on_the_way_into_void(student: Student, change: str) -> None:
    entry = entry_of(student, effective_on=None, posted_run=None, posted_change=None)
    with refused_as_unchangeable(TABLE):
        execute(f"UPDATE {TABLE} SET {VOIDING}, {change} WHERE id = %s", entry.pk)


@pytest.mark.parametrize(
    "change", ["void_reason = 'soon'", "voided_run = 1", "voided_by = 'bursar'", "voided_at = posted_at"]
)
def test_a_live_entry_does_not_speak_of_a_void_to_come(entry: LedgerEntry, change: str) -> None:
    with refused_as_unchangeable(TABLE):
        execute(f"UPDATE {TABLE} SET {change} WHERE id = %s", entry.pk)


@pytest.mark.parametrize(
    "change",
    [
        "state = 'posted'",
        "state = 'anticipated'",
        "state = 'posted', voided_at = NULL, voided_by = '', void_reason = ''",
        "state = 'void', void_reason = 'another reason'",
        "voided_by = 'somebody else'",
        "voided_run = 1",
        *CHANGES,
    ],
)
def test_nothing_of_a_void_entry_is_changed_and_no_way_leads_back(
    void_entry: LedgerEntry, change: str
) -> None:
    with refused_as_unchangeable(TABLE):
        execute(f"UPDATE {TABLE} SET {change} WHERE id = %s", void_entry.pk)


@pytest.mark.parametrize(("before", "after"), [("anticipated", "posted"), ("posted", "anticipated")])
def test_anticipated_and_posted_do_not_become_each_other(student: Student, before: str, after: str) -> None:
    entry = entry_of(student, state=before)
    with refused_as_unchangeable(TABLE):
        execute(f"UPDATE {TABLE} SET state = %s WHERE id = %s", after, entry.pk)


@pytest.mark.parametrize("state", ["anticipated", "posted"])
@pytest.mark.parametrize("filled", [{}, {"effective_on": None, "posted_run": None, "posted_change": None}])
def test_the_one_step_that_is_allowed_leads_to_void_and_says_by_whom(
    student: Student, state: str, filled: dict[str, Any]
) -> None:
    entry = entry_of(student, state=state, **filled)
    before = {column: getattr(entry, column) for column in FROZEN}
    met = execute(f"UPDATE {TABLE} SET {VOIDING}, voided_run = 9 WHERE id = %s", entry.pk)
    entry.refresh_from_db()
    assert met == 1
    assert (entry.state, entry.voided_by, entry.voided_run, entry.void_reason) == (
        "void",
        "bursar",
        9,
        "a mistake",
    )
    assert {column: getattr(entry, column) for column in FROZEN} == before


def test_an_entry_is_not_deleted_whatever_its_state(entry: LedgerEntry, void_entry: LedgerEntry) -> None:
    for pk in (entry.pk, void_entry.pk):
        with refused_as_unchangeable(TABLE):
            execute(f"DELETE FROM {TABLE} WHERE id = %s", pk)
    with refused_as_unchangeable(TABLE):
        execute(f"DELETE FROM {TABLE}")
    with refused_as_unchangeable(TABLE):
        LedgerEntry.objects.all().delete()


def test_the_ledger_is_not_emptied_by_truncate(entry: LedgerEntry) -> None:
    connection.check_constraints()  # PostgreSQL does not truncate what it still has to check
    if connection.vendor == "sqlite":  # it has no TRUNCATE; its word for all rows is DELETE, tried above
        with pytest.raises(Exception, match="TRUNCATE"), transaction.atomic():
            execute(f"TRUNCATE {TABLE}")
        return
    for statement in (f"TRUNCATE {TABLE}", "TRUNCATE registration_billingaccount CASCADE"):
        with pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic():
            execute(statement)
        with as_owner(), refused_as_unchangeable(TABLE):
            execute(statement)


def test_an_entry_is_not_replaced_by_an_insert_of_the_same_key(entry: LedgerEntry) -> None:
    with refused_as_unchangeable(TABLE):
        execute(copy_over_itself(TABLE))


def test_the_orm_finds_no_way_around(entry: LedgerEntry) -> None:
    entry.amount_minor = 1
    with refused_as_unchangeable(TABLE):
        entry.save()
    with refused_as_unchangeable(TABLE):
        LedgerEntry.objects.bulk_update([entry], ["amount_minor"])
    with refused_as_unchangeable(TABLE):
        LedgerEntry.objects.bulk_create(
            [entry], update_conflicts=True, unique_fields=["id"], update_fields=["amount_minor"]
        )


def test_an_insert_of_a_key_that_is_taken_leaves_the_row_that_is_there(entry: LedgerEntry) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        LedgerEntry.objects.bulk_create([entry])
    assert LedgerEntry.objects.get().amount_minor == 12_345


# --- the triggers themselves --------------------------------------------------------------------------------


def test_the_tables_that_must_not_change_are_kept_from_it_by_a_migration() -> None:
    assert {TABLE, "audit_auditevent"} <= {refusal.table for refusal in refusals_in_migrations()}


@pytest.mark.django_db
@pytest.mark.parametrize("refusal", refusals_in_migrations(), ids=lambda refusal: refusal.table)
def test_every_trigger_is_there_after_all_migrations(refusal: RefuseChanges) -> None:
    """SQLite remakes a table to alter it, and its triggers go without a word: then this fails."""
    promised = promised_triggers(refusal)
    assert {name.rpartition("_")[2] for name in promised} >= {"update", "delete"}
    assert promised <= present_triggers(refusal.table)


@pytest.mark.django_db
def test_a_trigger_that_a_later_migration_lost_would_be_noticed() -> None:
    with as_owner(), rolled_back():
        execute(f"DROP TRIGGER {TABLE}_no_update" + (f" ON {TABLE}" * (connection.vendor == "postgresql")))
        assert f"{TABLE}_no_update" not in present_triggers(TABLE)
    assert f"{TABLE}_no_update" in present_triggers(TABLE)
