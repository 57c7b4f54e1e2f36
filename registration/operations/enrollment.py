"""What may be done to a student's seats. Fees that were assessed already follow, and so does the library account, in the
same transaction."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

import audit
from registration.models import Enrollment, Section, Student, Term
from registration.models.enrollment import EnrollmentStatus, SeatExit
from registration.models.people import StudentStatus
from registration.operations.fees import follow_fees
from registration.operations.library import follow_library_access
from registration.operations.refusal import Refused
from registration.signals import enrollment_changed


@transaction.atomic
def enroll(student: Student, section: Section) -> Enrollment:
    """Give the student a seat in the section, or a place on its waiting list when no seat is free.

    Returns the enrollment. Raises Refused when the student is not active, is already in the section or has
    completed it, or the term's books are closed.
    """
    student = Student.objects.get(pk=student.pk)  # whoever calls may have looked a while ago
    section = (
        Section.objects.select_for_update(of=("self",)).select_related("term", "course").get(pk=section.pk)
    )
    if student.status != StudentStatus.ACTIVE:
        raise Refused(
            f"{student} is {student.get_status_display().lower()}: only an active student can enroll."
        )
    if section.term.is_closed:
        raise Refused(f"The books of {section.term} are closed: nobody can enroll in it any more.")
    enrollment = Enrollment.objects.filter(student=student, section=section).first()
    if enrollment and enrollment.status in (EnrollmentStatus.ENROLLED, EnrollmentStatus.WAITLISTED):
        raise Refused(f"{student} is already {enrollment.status} in {section}.")
    if enrollment and enrollment.status == EnrollmentStatus.COMPLETED:
        raise Refused(f"{student} has completed {section}: enroll in a section of another term instead.")
    enrollment = enrollment or Enrollment(student=student, section=section)
    has_seat = section.enrollments.enrolled().count() < section.capacity
    enrollment.status = EnrollmentStatus.ENROLLED if has_seat else EnrollmentStatus.WAITLISTED
    enrollment.status_since_at = timezone.now()
    if has_seat:  # whoever waits again still owes what was kept of the seat given up before
        enrollment.seat_given_up_on, enrollment.seat_given_up_by = None, ""
    enrollment.save()
    audit.record(
        f"enrollment.{enrollment.status}", enrollment, detail={"student": student.number, "crn": section.crn}
    )
    enrollment_changed.send(sender=Enrollment, enrollment=enrollment)
    follow_fees(student, section.term, why=f"Enrolled in {section}.")
    follow_library_access(Student.objects.filter(pk=student.pk))
    return enrollment


@transaction.atomic
def drop(enrollment: Enrollment, *, reason: str = "") -> Enrollment:
    """Take the student out of the section; what the fee schedule refunds for the day is taken off the bill.

    Raises Refused when there is no seat or place to give up.
    """
    enrollment = (
        Enrollment.objects.select_for_update(of=("self",))
        .select_related("student", "section__course", "section__term")
        .get(pk=enrollment.pk)
    )
    if enrollment.status not in (EnrollmentStatus.ENROLLED, EnrollmentStatus.WAITLISTED):
        raise Refused(f"{enrollment} is {enrollment.status}: there is nothing to drop.")
    _give_up(enrollment, EnrollmentStatus.DROPPED, SeatExit.DROP)
    audit.record(
        "enrollment.dropped",
        enrollment,
        reason=reason,
        detail={"student": enrollment.student.number, "crn": enrollment.section.crn},
    )
    enrollment_changed.send(sender=Enrollment, enrollment=enrollment)
    follow_fees(enrollment.student, enrollment.section.term, why=f"Dropped {enrollment.section}.")
    follow_library_access(Student.objects.filter(pk=enrollment.student_id))
    return enrollment


@transaction.atomic
def withdraw(student: Student, term: Term, *, reason: str) -> list[Enrollment]:
    """Take the student out of every section of the term; what the schedule refunds for a withdrawal on this day is
    taken off the bill. Returns the enrollments that were given up.

    Raises Refused without a reason, when the term's books are closed, or when there is nothing to withdraw from.
    """
    if not reason.strip():
        raise Refused("Say why: the reason is kept with the withdrawal.")
    if Term.objects.get(pk=term.pk).is_closed:
        raise Refused(f"The books of {term} are closed: nobody can withdraw from it any more.")
    held = list(
        student.enrollments.select_for_update(of=("self",))
        .select_related("student", "section__course", "section__term")
        .filter(section__term=term, status__in=(EnrollmentStatus.ENROLLED, EnrollmentStatus.WAITLISTED))
        .order_by("pk")
    )
    if not held:
        raise Refused(f"{student} is enrolled in nothing in {term}: there is nothing to withdraw from.")
    for enrollment in held:
        _give_up(enrollment, EnrollmentStatus.WITHDRAWN, SeatExit.WITHDRAWAL)
        enrollment_changed.send(sender=Enrollment, enrollment=enrollment)
    crns = [enrollment.section.crn for enrollment in held]
    audit.record(
        "student.withdrawn",
        student,
        reason=reason,
        detail={"student": student.number, "term": term.code, "crns": [*crns]},
    )
    follow_fees(student, term, why=f"Withdrawn from {term}.")
    follow_library_access(Student.objects.filter(pk=student.pk))
    return held


def _give_up(enrollment: Enrollment, status: EnrollmentStatus, seat_exit: SeatExit) -> None:
    """Only a seat that was held is given up, on a day where the institution is; a place in the queue just goes."""
    if enrollment.status == EnrollmentStatus.ENROLLED:
        enrollment.seat_given_up_on, enrollment.seat_given_up_by = timezone.localdate(), seat_exit
    enrollment.status = status
    enrollment.status_since_at = timezone.now()
    enrollment.save(update_fields=["status", "status_since_at", "seat_given_up_on", "seat_given_up_by"])
