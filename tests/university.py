"""A small university for tests: two terms, a section, and as many students as are asked for."""

from __future__ import annotations

import datetime
from collections.abc import Mapping

from registration.models import (
    BillingAccount,
    College,
    Course,
    FeeItem,
    FeeSchedule,
    Program,
    RefundStep,
    Section,
    Student,
    Term,
)
from registration.models.housing import LivingArrangement
from registration.models.people import TuitionResidency

# Per credit by residency; flat; flat, and only for those who live on campus. In cents.
TUITION: Mapping[str, int] = {"in_state": 45_000, "out_of_state": 110_000, "international": 123_750}
STUDENT_FEE, HALL_FEE = 41_200, 9_999
# Through which day of fall 2026 how much is refunded, in percent.
REFUNDS: Mapping[str, tuple[tuple[datetime.date, str], ...]] = {
    "drop": (
        (datetime.date(2026, 8, 30), "100"),
        (datetime.date(2026, 9, 6), "50"),
        (datetime.date(2026, 9, 9), "33.33"),
    ),
    "withdrawal": ((datetime.date(2026, 8, 30), "90"), (datetime.date(2026, 9, 30), "25")),
}


def make_terms() -> tuple[Term, Term]:
    """2026FA, the current one, and 2027SP."""
    day = datetime.date
    fall = Term.objects.create(
        code="2026FA",
        name="Fall 2026",
        starts_on=day(2026, 8, 24),
        ends_on=day(2026, 12, 18),
        census_on=day(2026, 9, 11),
        is_current=True,
    )
    spring = Term.objects.create(
        code="2027SP",
        name="Spring 2027",
        starts_on=day(2027, 1, 11),
        ends_on=day(2027, 5, 14),
        census_on=day(2027, 1, 29),
    )
    return fall, spring


def make_students(count: int, *, currency: str = "USD") -> list[Student]:
    """Students S0000001 upward, each with an empty billing account."""
    college, _ = College.objects.get_or_create(code="ENG", defaults={"name": "Engineering"})
    program, _ = Program.objects.get_or_create(
        code="BSCS", defaults={"name": "Computing", "college": college}
    )
    first = Student.objects.count() + 1
    students = Student.objects.bulk_create(
        Student(number=f"S{place:07d}", given_name="Ada", family_name="Okafor", program=program)
        for place in range(first, first + count)
    )
    BillingAccount.objects.bulk_create(
        BillingAccount(student=student, currency=currency) for student in students
    )
    return students


def make_section(term: Term, *, crn: str = "10001", capacity: int = 2) -> Section:
    """A section with free seats."""
    college, _ = College.objects.get_or_create(code="ENG", defaults={"name": "Engineering"})
    course, _ = Course.objects.get_or_create(
        code="CS 101", defaults={"title": "Introduction", "credits": 3, "college": college}
    )
    return Section.objects.create(term=term, course=course, crn=crn, capacity=capacity)


def make_schedules(term: Term) -> None:
    """A fee schedule for each living arrangement and residency of the term."""
    for arrangement in LivingArrangement:
        for residency in TuitionResidency:
            schedule = FeeSchedule.objects.create(
                term=term, living_arrangement=arrangement, residency=residency, currency="USD"
            )
            fees = [
                ("TUITION", "per_credit", TUITION[residency]),
                ("STUDENT-FEE", "flat", STUDENT_FEE),
                *([("HALL-FEE", "flat", HALL_FEE)] if arrangement == "on_campus" else []),
            ]
            for code, basis, amount in fees:
                FeeItem.objects.create(
                    schedule=schedule, code=code, description=code.title(), basis=basis, amount_minor=amount
                )
            for applies_to, steps in REFUNDS.items():
                for through_on, percent in steps:
                    RefundStep.objects.create(
                        schedule=schedule, applies_to=applies_to, through_on=through_on, percent=percent
                    )
