"""The general ledger's file: each movement on its day, and a range that was exported once stays as it was."""

from __future__ import annotations

import csv
import datetime
import io
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.db import transaction
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from config.checks import check_settings
from registration import operations
from registration.ledger_export import export_ledger
from registration.models import LedgerEntry, Student, Term
from registration.models.billing import EntryKind
from registration.operations import Line
from tests.registration.bills import noon
from tests.university import make_students, make_terms


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(noon(9, 1), tick=False) as coordinates:
        yield coordinates


@pytest.fixture
def term(db: None) -> Term:
    return make_terms()[0]


@pytest.fixture
def student(term: Term) -> Student:
    return make_students(1)[0]


def rows_of(first: int, last: int) -> list[dict[str, str]]:
    export = export_ledger(datetime.date(2026, 9, first), datetime.date(2026, 9, last))
    return list(csv.DictReader(io.StringIO(export.csv.decode())))


def test_an_entry_moves_when_posted_and_back_when_voided(
    clock: time_machine.Traveller, student: Student, term: Term
) -> None:
    entry = operations.post(student, term, Line(EntryKind.CHARGE, 5_000, "LAB"))
    before = export_ledger(datetime.date(2026, 9, 1), datetime.date(2026, 9, 1))
    clock.move_to(noon(9, 3))
    operations.void(entry, reason="x")
    operations.post(student, term, Line(EntryKind.AID, 700, "PELL"))
    operations.post(student, term, Line(EntryKind.ADJUSTMENT, 200, "PELL", adjusts=EntryKind.AID))
    again = export_ledger(datetime.date(2026, 9, 1), datetime.date(2026, 9, 1))
    assert (again.csv, again.checksum) == (before.csv, before.checksum)
    assert [
        (row["movement"], row["moved_on"], row["account"], row["debit"], row["credit"])
        for row in rows_of(2, 3)
    ] == [
        ("voided", "2026-09-03", "Tuition and fees", "50.00", ""),
        ("voided", "2026-09-03", "Student receivables", "", "50.00"),
        ("posted", "2026-09-03", "Financial aid", "7.00", ""),
        ("posted", "2026-09-03", "Student receivables", "", "7.00"),
        ("posted", "2026-09-03", "Student receivables", "2.00", ""),
        ("posted", "2026-09-03", "Financial aid", "", "2.00"),
    ]
    whole = export_ledger(datetime.date(2026, 9, 1), datetime.date(2026, 9, 30))
    assert whole.totals == {("USD", "charge"): 0, ("USD", "aid"): -500}
    assert whole.total == student.billing_account.totals().balance == -500
    assert rows_of(2, 2) == []


def test_what_was_only_anticipated_never_moves(student: Student, term: Term) -> None:
    entry = LedgerEntry.objects.create(
        account_id=student.pk, term=term, kind="aid", state="anticipated", amount_minor=5, currency="USD",
        code="LOAN", posted_at=noon(9, 1), posted_by="bea",
    )  # fmt: skip
    assert rows_of(1, 30) == []
    operations.void(entry, reason="x")
    assert rows_of(1, 30) == []


def test_a_day_is_a_day_where_the_institution_is(
    clock: time_machine.Traveller, settings: Any, student: Student, term: Term
) -> None:
    settings.TIME_ZONE = "America/New_York"
    clock.move_to(datetime.datetime(2026, 9, 2, 3, 59, tzinfo=datetime.UTC))
    operations.post(student, term, Line(EntryKind.CHARGE, 5_000, "LAB"))
    assert [row["moved_on"] for row in rows_of(1, 1)] == ["2026-09-01"] * 2
    assert rows_of(2, 2) == []


def test_no_cell_is_a_formula(student: Student, term: Term) -> None:
    for text in ("=1+1", "+1", "-1", "@A1", "\tx"):
        operations.post(student, term, Line(EntryKind.CHARGE, 1, text))
    assert [row["code"][0] for row in rows_of(1, 1)] == ["'"] * 10


def test_a_range_that_ends_before_it_begins_is_refused(db: None) -> None:
    with pytest.raises(ValueError, match="before the first"):
        export_ledger(datetime.date(2026, 9, 2), datetime.date(2026, 9, 1))


LINES = st.lists(
    st.tuples(
        st.sampled_from([*EntryKind.values, "aid corrected", "charge corrected"]),
        st.integers(min_value=1, max_value=10**9),
        st.booleans(),
    ),
    max_size=12,
)


@hypothesis_settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(LINES)
def test_whatever_was_posted_and_voided_debits_are_credits_and_receivables_are_what_students_owe(
    student: Student, term: Term, lines: list[tuple[str, int, bool]]
) -> None:
    with transaction.atomic():
        undone = transaction.savepoint()
        for kind, minor, is_voided in lines:
            corrected = kind.removesuffix(" corrected")
            adjusts = (
                corrected if corrected != kind else EntryKind.CHARGE if kind == EntryKind.ADJUSTMENT else ""
            )
            own = EntryKind.ADJUSTMENT if adjusts else kind
            entry = LedgerEntry.objects.create(
                account_id=student.pk, term=term, kind=own, adjusts=adjusts, state="posted", amount_minor=minor,
                currency="USD", code="X", posted_at=noon(9, 1), posted_by="bea",
            )  # fmt: skip
            if is_voided:
                operations.void(entry, reason="x")
        export = export_ledger(datetime.date(2026, 9, 1), datetime.date(2026, 9, 1))
        balance = student.billing_account.totals().balance
        transaction.savepoint_rollback(undone)
    rows = list(csv.DictReader(io.StringIO(export.csv.decode())))
    assert len(rows) == export.rows
    by_account = {moved.account: moved for moved in export.accounts}
    assert sum(moved.debit - moved.credit for moved in export.accounts) == 0
    owed = by_account.get("Student receivables")
    assert (owed.debit - owed.credit if owed else 0) == balance == export.total
    for account, moved in by_account.items():
        for side, total in (("debit", moved.debit), ("credit", moved.credit)):
            written = sum(Decimal(row[side] or 0) for row in rows if row["account"] == account)
            assert written == Decimal(total) / 100


def test_an_institution_names_its_own_accounts(settings: Any, student: Student, term: Term) -> None:
    settings.LEDGER_ACCOUNTS = {"receivable": "1200", "charge": "=4000"}
    operations.post(student, term, Line(EntryKind.CHARGE, 5_000, "LAB"))
    assert [(row["account"], row["debit"], row["credit"]) for row in rows_of(1, 1)] == [
        ("1200", "50.00", ""),
        ("'=4000", "", "50.00"),
    ]


@pytest.mark.parametrize("named", [[], {"charges": "4000"}, {"charge": " "}, {"charge": 4000}])
def test_accounts_that_are_none_are_told_by_the_check(settings: Any, named: Any) -> None:
    settings.LEDGER_ACCOUNTS = named
    assert [found.id for found in check_settings(None)] == ["matricula.E014"]
