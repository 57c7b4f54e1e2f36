"""The general ledger's file: each movement on its day, and a range that was exported once stays as it was."""

from __future__ import annotations

import csv
import datetime
import io
from collections.abc import Iterator
from typing import Any

import pytest
import time_machine

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
    assert [(row["movement"], row["moved_on"], row["effect"]) for row in rows_of(2, 3)] == [
        ("voided", "2026-09-03", "-50.00"),
        ("posted", "2026-09-03", "-7.00"),
        ("posted", "2026-09-03", "2.00"),
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
    assert [row["moved_on"] for row in rows_of(1, 1)] == ["2026-09-01"]
    assert rows_of(2, 2) == []


def test_no_cell_is_a_formula(student: Student, term: Term) -> None:
    for text in ("=1+1", "+1", "-1", "@A1", "\tx"):
        operations.post(student, term, Line(EntryKind.CHARGE, 1, text))
    assert [row["code"][0] for row in rows_of(1, 1)] == ["'"] * 5


def test_a_range_that_ends_before_it_begins_is_refused(db: None) -> None:
    with pytest.raises(ValueError, match="before the first"):
        export_ledger(datetime.date(2026, 9, 2), datetime.date(2026, 9, 1))
