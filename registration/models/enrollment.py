"""A student's seat in a section."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from registration.models.catalogue import Section
from registration.models.constraints import one_of
from registration.models.people import GONE, Student


class EnrollmentStatus(models.TextChoices):
    ENROLLED = "enrolled", "Enrolled"
    WAITLISTED = "waitlisted", "Waitlisted"
    DROPPED = "dropped", "Dropped"
    WITHDRAWN = "withdrawn", "Withdrawn"
    COMPLETED = "completed", "Completed"


class SeatExit(models.TextChoices):
    """How a seat was given up; each has refund steps of its own."""

    DROP = "drop", "Drop"
    WITHDRAWAL = "withdrawal", "Withdrawal"


class EnrollmentQuerySet(models.QuerySet["Enrollment"]):
    def enrolled(self) -> EnrollmentQuerySet:
        """Narrow to those who hold a seat."""
        return self.filter(status=EnrollmentStatus.ENROLLED)

    def giving_library_access(self, terms: Iterable[int]) -> EnrollmentQuerySet:
        """Narrow to seats in these terms, held by students who have not left."""
        return self.enrolled().filter(section__term__in=list(terms)).exclude(student__status__in=GONE)


class Enrollment(models.Model):
    """One row for a student and a section, whatever happens to it: dropping keeps it, so does coming back."""

    student = models.ForeignKey(Student, on_delete=models.PROTECT, related_name="enrollments")
    section = models.ForeignKey(Section, on_delete=models.PROTECT, related_name="enrollments")
    status = models.CharField(
        max_length=20, choices=EnrollmentStatus.choices, default=EnrollmentStatus.ENROLLED
    )
    created_at = models.DateTimeField(auto_now_add=True)
    status_since_at = models.DateTimeField(help_text="When the status became what it is.")
    seat_given_up_on = models.DateField(
        null=True,
        blank=True,
        help_text="The day, where the institution is, on which a seat that was held was given up.",
    )
    seat_given_up_by = models.CharField(
        max_length=12, choices=SeatExit.choices, blank=True, default="", db_default=""
    )
    changed_at = models.DateTimeField(
        db_default=Now(), editable=False
    )  # stamped by the database, migration 0012

    objects = EnrollmentQuerySet.as_manager()

    class Meta:
        ordering = ["student", "section"]
        constraints = [
            models.UniqueConstraint(fields=["student", "section"], name="enrollment_once_a_section"),
            models.CheckConstraint(
                name="enrollment_status_known", condition=one_of("status", EnrollmentStatus)
            ),
            models.CheckConstraint(
                name="enrollment_seat_given_up_says_when_and_how",
                condition=Q(seat_given_up_on__isnull=True, seat_given_up_by="")
                | Q(seat_given_up_on__isnull=False, seat_given_up_by__in=["drop", "withdrawal"]),
            ),
        ]
        indexes = [models.Index(fields=["section", "status"], name="enrollment_section_status")]

    def __str__(self) -> str:
        return f"{self.student.number} in {self.section}"
