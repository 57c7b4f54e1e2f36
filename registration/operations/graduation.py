"""Graduation: the student has left with a degree."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

import audit
from registration.bulk import hash_joins
from registration.models import Enrollment, Student
from registration.models.people import StudentStatus
from registration.operations.library import follow_library_access
from registration.operations.refusal import Refused


@dataclass(frozen=True)
class Graduation:
    """Who graduated, and who did not and why: by student number."""

    graduated: tuple[str, ...]
    left_out: dict[str, str]


@transaction.atomic
def graduate(numbers: Iterable[str], *, reason: str) -> Graduation:
    """Make these students graduates, however many they are; the seats that they hold, and so their bills, stay as they are.

    Left out, each with the reason, are those who are not active or on leave, and those with a seat in a term that has
    not begun: that has to be dropped first, so that nobody is charged for it. Raises Refused without a reason.
    """
    if not reason.strip():
        raise Refused("Say why: the reason is kept with the graduation.")
    asked = list(dict.fromkeys(numbers))
    seats_to_come = Enrollment.objects.enrolled().filter(
        student=OuterRef("pk"), section__term__starts_on__gt=timezone.localdate()
    )
    found = {
        student.number: student
        for student in Student.objects.numbered(asked)
        .select_for_update()
        .order_by("pk")
        .annotate(has_seats_to_come=Exists(seats_to_come))
    }
    left_out = {number: why for number in asked if (why := _in_the_way(found.get(number)))}
    leaving = [found[number] for number in asked if number not in left_out]
    graduates = Student.objects.filter(pk__in=[student.pk for student in leaving])
    graduates.update(status=StudentStatus.GRADUATED)
    for student in leaving:
        audit.record("student.graduated", student, reason=reason, detail={"student": student.number})
    with hash_joins():
        follow_library_access(graduates)
    return Graduation(tuple(student.number for student in leaving), left_out)


def _in_the_way(student: Student | None) -> str:
    """Why the student cannot graduate; "" where nothing is in the way."""
    if student is None:
        return "there is no student with this number"
    if student.status not in (StudentStatus.ACTIVE, StudentStatus.LEAVE):
        return f"the student is {student.get_status_display().lower()} already"
    if getattr(student, "has_seats_to_come", False):
        return "the student has a seat in a term that has not begun: drop it first"
    return ""
