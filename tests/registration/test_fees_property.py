"""Whatever happens and in whatever order: the bill is what the schedules say of how things stand at the end."""

from __future__ import annotations

import contextlib
import datetime
from typing import Any

import pytest
import time_machine
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from registration import operations
from registration.fees import FeeScope, found_differences
from registration.models import Course, Enrollment, FeeChange, LedgerEntry, Section, Student, Term
from registration.models.people import TuitionResidency
from tests.refusals import rolled_back
from tests.registration.bills import charged, end_stay, move_in, owed
from tests.university import make_schedules, make_section, make_students, make_terms

pytestmark = pytest.mark.django_db
STUDENTS = 2
# Credits of the sections, one of them with a single seat, so that somebody waits.
CREDITS = ("3.00", "1.50", "0.75", "4.00")

events = st.tuples(
    st.sampled_from(
        ["assess", "enroll", "enroll", "drop", "withdraw", "move_in", "move_hall", "off_campus_hall",
         "check_out", "cancel", "residency", "hand_void"]
    ),
    st.integers(0, STUDENTS - 1),
    st.integers(0, len(CREDITS) - 1),
    st.sampled_from([0, 0, 1, 3]),
)  # fmt: skip


@pytest.fixture
def term(db: None) -> Term:
    fall, _ = make_terms()
    make_students(STUDENTS)
    make_schedules(fall)
    first = make_section(fall, crn="10000", capacity=1).course
    for place, credit in enumerate(CREDITS[1:], start=1):
        course = Course.objects.create(code=f"CS {place}02", title="x", credits=credit, college=first.college)
        Section.objects.create(term=fall, course=course, crn=f"1000{place}", capacity=9)
    return fall


def happen(term: Term, what: str, student: Student, place: int) -> None:
    """One event; one that is refused has not happened."""
    section = Section.objects.get(crn=f"1000{place}")
    acts: dict[str, Any] = {
        "assess": lambda: operations.assess_fees(term),
        "enroll": lambda: operations.enroll(student, section),
        "drop": lambda: operations.drop(Enrollment.objects.get(student=student, section=section)),
        "withdraw": lambda: operations.withdraw(student, term, reason="leaves"),
        "move_in": lambda: move_in(student, term),
        "move_hall": lambda: move_in(student, term, hall=f"Hall {place}"),
        "off_campus_hall": lambda: move_in(student, term, hall="Elsewhere", on_campus=False),
        "check_out": lambda: end_stay(student, term, "checked_out"),
        "cancel": lambda: end_stay(student, term, "cancelled"),
        "residency": lambda: become(student, list(TuitionResidency)[place % 3]),
        "hand_void": lambda: void_one(student, place),
    }
    with contextlib.suppress(operations.Refused, Enrollment.DoesNotExist):
        acts[what]()


def become(student: Student, residency: str) -> None:
    student.residency = residency
    student.save()
    operations.follow_residency(student)


def void_one(student: Student, place: int) -> None:
    entries = LedgerEntry.objects.live().filter(account_id=student.pk).order_by("code")
    if entries:
        operations.void(entries[place % len(entries)], reason="by hand")


@examples(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(story=st.lists(events, max_size=14), past_census=st.booleans())
def test_the_ledger_is_what_the_schedule_says_of_the_end_whatever_the_order(
    term: Term, story: list[tuple[str, int, int, int]], past_census: bool
) -> None:
    students = list(Student.objects.order_by("pk"))
    with rolled_back(), time_machine.travel(datetime.datetime(2026, 8, 25, 12, tzinfo=datetime.UTC)) as clock:
        for what, who, place, days in story:
            clock.shift(datetime.timedelta(days=days))
            happen(term, what, students[who], place)
        if past_census:
            clock.move_to(datetime.datetime(2026, 10, 1, 12, tzinfo=datetime.UTC))
        operations.assess_fees(term)
        for change in FeeChange.objects.waiting():
            operations.approve_fee_change(change, reason="seen")
        for student in students:
            assert charged(student, term) == owed(student, term)
        assert found_differences(FeeScope([term.pk])) == []
        rows = list(LedgerEntry.objects.order_by("pk").values())
        operations.assess_fees(term)
        assert list(LedgerEntry.objects.order_by("pk").values()) == rows
        assert not FeeChange.objects.waiting().exists()


@examples(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(story=st.lists(events, max_size=10))
def test_once_assessed_the_bill_follows_each_event_by_itself(
    term: Term, story: list[tuple[str, int, int, int]]
) -> None:
    students = list(Student.objects.order_by("pk"))
    with rolled_back(), time_machine.travel(datetime.datetime(2026, 8, 25, 12, tzinfo=datetime.UTC)):
        for student in students:
            operations.enroll(student, Section.objects.get(crn="10003"))
        operations.assess_fees(term)
        for what, who, place, _ in story:
            if what == "hand_void":  # a person's own step stays until the next change or assessment
                continue
            had_entries = {
                student.pk
                for student in students
                if LedgerEntry.objects.from_schedules().filter(account_id=student.pk).exists()
            }
            assert len(had_entries) == STUDENTS
            happen(term, what, students[who], place)
            assert [charged(student, term) for student in students] == [
                owed(student, term) for student in students
            ]
