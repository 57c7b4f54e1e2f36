"""What a bill should say, in the plainest Python there is, and what it does say: for the tests of fees."""

from __future__ import annotations

import datetime
from decimal import ROUND_HALF_UP, Decimal

from django.contrib.auth.models import Group
from django.test import Client
from django.utils import timezone

from apiauth.models import User
from registration.models import Enrollment, HousingAssignment, LedgerEntry, Student, Term
from registration.operations import record_assignment
from tests.university import HALL_FEE, REFUNDS, STUDENT_FEE, TUITION

Bill = dict[str, int]
NOON = datetime.time(12)


def noon(month: int, day: int) -> datetime.datetime:
    """Noon of a day of fall 2026."""
    return datetime.datetime(2026, month, day, 12, tzinfo=datetime.UTC)


def charged(student: Student, term: Term) -> Bill:
    """What the student is charged by schedules, by fee."""
    entries = LedgerEntry.objects.live().from_schedules().filter(account_id=student.pk, term=term)
    rows = list(entries.values_list("code", "amount_minor"))
    assert len({code for code, _ in rows}) == len(rows)
    return dict(rows)


def owed(student: Student, term: Term) -> Bill:
    """What the schedules of tests.university say for the student as things are now."""
    seats = [
        (enrollment.section.course.credits, share)
        for enrollment in Enrollment.objects.filter(student=student, section__term=term).select_related(
            "section__course"
        )
        if (share := kept(enrollment)) is not None
    ]
    if not seats:
        return {}
    student.refresh_from_db()
    flat = max(share for _, share in seats)
    bill = {
        "TUITION": sum((credits_ * share for credits_, share in seats), Decimal(0))
        * TUITION[student.residency],
        "STUDENT-FEE": flat * STUDENT_FEE,
        "HALL-FEE": flat * HALL_FEE if lives_on_campus(student, term) else Decimal(0),
    }
    return {code: whole for code, amount in bill.items() if (whole := rounded(amount))}


def kept(enrollment: Enrollment) -> Decimal | None:
    """Which share of its fees a seat keeps; None where there never was one."""
    if enrollment.status in ("enrolled", "completed"):
        return Decimal(1)
    if enrollment.seat_given_up_on is None:
        return None
    for through_on, percent in REFUNDS[enrollment.seat_given_up_by]:
        if enrollment.seat_given_up_on <= through_on:
            return 1 - Decimal(percent) / 100
    return Decimal(1)


def lives_on_campus(student: Student, term: Term) -> bool:
    """Whether a room on campus is kept for the student, or was beyond the census."""
    return any(
        row.on_campus
        and (
            row.status in ("assigned", "checked_in")
            or (row.status == "checked_out" and row.move_out_on and row.move_out_on > term.census_on)
        )
        for row in HousingAssignment.objects.filter(student=student, term=term)
    )


def rounded(amount: Decimal) -> int:
    """Whole minor units, half up."""
    return int(amount.to_integral_value(ROUND_HALF_UP))


def move_in(
    student: Student, term: Term, *, hall: str = "North Hall", on_campus: bool = True
) -> HousingAssignment:
    """Give the student a room, or another one."""
    live = HousingAssignment.objects.live().filter(student=student, term=term).first()
    row = live or HousingAssignment(student=student, term=term, room="12")
    row.hall, row.on_campus = hall, on_campus
    return record_assignment(row)


def end_stay(student: Student, term: Term, status: str) -> None:
    """Check the student out today, or cancel the room, where there is one."""
    row = HousingAssignment.objects.live().filter(student=student, term=term).first()
    if row is not None:
        row.status = status
        today = timezone.localdate()
        row.move_out_on = max(today, row.move_in_on or today) if status == "checked_out" else None
        record_assignment(row)


def signed_on(role: str) -> Client:
    """A browser in which somebody of this role has signed on."""
    user = User.objects.create_user(role.lower(), is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client
