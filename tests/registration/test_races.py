"""Two people at once: what both attempt on one row comes out as if one had been first."""

from __future__ import annotations

import datetime
from functools import partial

import pytest

from audit.models import AuditEvent
from registration import operations
from registration.models import BillingAccount, Enrollment, LedgerEntry, Section, Student
from registration.models.billing import EntryKind
from registration.operations import Line, Refused
from tests.racing import race
from tests.university import make_section, make_students, make_terms

pytestmark = pytest.mark.django_db(transaction=True)
NOW = datetime.datetime(2026, 9, 1, 12, tzinfo=datetime.UTC)


@pytest.fixture
def section(db: None) -> Section:
    return make_section(make_terms()[0], capacity=1)


@pytest.fixture
def student(section: Section) -> Student:
    return make_students(1)[0]


def kinds(outcomes: list[object]) -> list[str]:
    return sorted(type(outcome).__name__ for outcome in outcomes)


@pytest.mark.parametrize(("seats", "rivals"), [(1, 2), (2, 5)])
def test_of_those_who_want_the_last_seats_as_many_get_one_as_there_are_and_the_others_wait(
    section: Section, seats: int, rivals: int
) -> None:
    Section.objects.update(capacity=seats)
    students = make_students(rivals)
    outcomes = race(section, [partial(operations.enroll, each, section) for each in students])
    assert kinds(list(outcomes)) == ["Enrollment"] * rivals
    statuses = sorted(Enrollment.objects.values_list("status", flat=True))
    assert statuses == ["enrolled"] * seats + ["waitlisted"] * (rivals - seats)
    audited = sorted(AuditEvent.objects.values_list("action", flat=True))
    assert audited == [f"enrollment.{status}" for status in statuses]


def test_a_student_who_presses_twice_is_enrolled_once(section: Section, student: Student) -> None:
    outcomes = race(section, [lambda: operations.enroll(student, section)] * 2)
    assert kinds(list(outcomes)) == ["Enrollment", "Refused"]
    assert Enrollment.objects.get().status == "enrolled"
    assert AuditEvent.objects.get().action == "enrollment.enrolled"


def test_a_seat_is_given_up_once(section: Section, student: Student) -> None:
    enrollment = Enrollment.objects.create(student=student, section=section, status_since_at=NOW)
    outcomes = race(enrollment, [lambda: operations.drop(enrollment)] * 2)
    assert kinds(list(outcomes)) == ["Enrollment", "Refused"]
    assert AuditEvent.objects.get().action == "enrollment.dropped"


def test_a_line_of_a_bill_is_voided_by_one_of_two(section: Section, student: Student) -> None:
    entry = operations.post(student, section.term, Line(EntryKind.CHARGE, 100, "FEE"))
    outcomes = race(
        entry, [partial(operations.void, entry, reason=why) for why in ("wrong fee", "wrong student")]
    )
    assert kinds(list(outcomes)) == ["LedgerEntry", "Refused"]
    kept = LedgerEntry.objects.get()
    assert AuditEvent.objects.get(action="ledger_entry.voided").reason == kept.void_reason
    refusal = next(outcome for outcome in outcomes if isinstance(outcome, Refused))
    assert "void already" in str(refusal)


def test_a_student_s_account_is_opened_once(section: Section) -> None:
    newcomer = Student.objects.create(number="S0000009", family_name="Ng")
    line = Line(EntryKind.CHARGE, 100, "FEE")
    outcomes = race(newcomer, [lambda: operations.post(newcomer, section.term, line)] * 2)
    assert kinds(list(outcomes)) == ["LedgerEntry", "LedgerEntry"]
    assert BillingAccount.objects.get().totals().balance == 200
