"""A student's seat in a section."""

from __future__ import annotations

from django.db import models

from registration.models.catalogue import Section
from registration.models.constraints import one_of
from registration.models.people import Student


class EnrollmentStatus(models.TextChoices):
    ENROLLED = "enrolled", "Enrolled"
    WAITLISTED = "waitlisted", "Waitlisted"
    DROPPED = "dropped", "Dropped"
    WITHDRAWN = "withdrawn", "Withdrawn"
    COMPLETED = "completed", "Completed"


class EnrollmentQuerySet(models.QuerySet["Enrollment"]):
    def enrolled(self) -> EnrollmentQuerySet:
        """Narrow to those who hold a seat."""
        return self.filter(status=EnrollmentStatus.ENROLLED)


class Enrollment(models.Model):
    """One row for a student and a section, whatever happens to it: dropping keeps it, so does coming back."""

    student = models.ForeignKey(Student, on_delete=models.PROTECT, related_name="enrollments")
    section = models.ForeignKey(Section, on_delete=models.PROTECT, related_name="enrollments")
    status = models.CharField(
        max_length=20, choices=EnrollmentStatus.choices, default=EnrollmentStatus.ENROLLED
    )
    created_at = models.DateTimeField(auto_now_add=True)
    status_since_at = models.DateTimeField(help_text="When the status became what it is.")

    objects = EnrollmentQuerySet.as_manager()

    class Meta:
        ordering = ["student", "section"]
        constraints = [
            models.UniqueConstraint(fields=["student", "section"], name="enrollment_once_a_section"),
            models.CheckConstraint(
                name="enrollment_status_known", condition=one_of("status", EnrollmentStatus)
            ),
        ]
        indexes = [models.Index(fields=["section", "status"], name="enrollment_section_status")]

    def __str__(self) -> str:
        return f"{self.student.number} in {self.section}"
