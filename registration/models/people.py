"""Students, and the colleges and programs that they belong to."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.db.models import Expression, QuerySet, Subquery
from django.db.models.functions import Coalesce, Now

from registration.models.constraints import filled, one_of

if TYPE_CHECKING:
    from registration.models.disclosure import StudentGrant


class College(models.Model):
    code = models.CharField(max_length=20, unique=True)
    name = models.CharField(max_length=200)

    class Meta:
        ordering = ["code"]
        constraints = [models.CheckConstraint(name="college_named", condition=filled("code", "name"))]

    def __str__(self) -> str:
        return self.name


class Program(models.Model):
    """A course of study that leads to a degree, taught by one college."""

    code = models.CharField(max_length=20, unique=True)
    name = models.CharField(max_length=200)
    college = models.ForeignKey(College, on_delete=models.PROTECT, related_name="programs")
    full_time_credits = models.DecimalField(
        max_digits=4,
        decimal_places=2,
        default=Decimal(12),
        db_default=Decimal(12),
        help_text="How many credits in a term make a full-time student: 12 for most undergraduates, 9 for most graduates.",
    )
    changed_at = models.DateTimeField(
        db_default=Now(), editable=False
    )  # stamped by the database, migration 0012

    class Meta:
        ordering = ["code"]
        constraints = [
            models.CheckConstraint(name="program_named", condition=filled("code", "name")),
            models.CheckConstraint(
                name="program_full_time_credits_positive",
                condition=models.Q(full_time_credits__gt=0),
                violation_error_message="A full-time student takes some credits.",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class StudentStatus(models.TextChoices):
    ACTIVE = "active", "Active"
    LEAVE = "leave", "On leave"
    WITHDRAWN = "withdrawn", "Withdrawn"
    GRADUATED = "graduated", "Graduated"


# Who has left: nobody of these is entitled to anything, whatever they are still enrolled in.
GONE = (StudentStatus.WITHDRAWN, StudentStatus.GRADUATED)


class TuitionResidency(models.TextChoices):
    IN_STATE = "in_state", "In state"
    OUT_OF_STATE = "out_of_state", "Out of state"
    INTERNATIONAL = "international", "International"


class StudentQuerySet(models.QuerySet["Student"]):
    def numbered(self, numbers: Iterable[str]) -> StudentQuerySet:
        """Narrow to the students with these numbers."""
        return self.filter(number__in=list(numbers))

    def of_college(self, college: College) -> StudentQuerySet:
        """Narrow to the students of a college: those of its programs."""
        return self.filter(program__college=college)

    def visible_to(self, consumer: int | Expression) -> StudentQuerySet:
        """Narrow to those whom a consumer (its id, or an expression for it) may see: granted by name or, where the student asked for no disclosure
        hold, as one of all, of a program or of a college. One statement, whatever it is combined with."""
        by_name, as_one_of_many = _grants(consumer)
        return self.filter(
            models.Exists(by_name) | (models.Q(disclosure_hold=False) & models.Exists(as_one_of_many))
        )

    def with_grant_to(self, consumer: int | Expression) -> StudentQuerySet:
        """Say of each who is visible to the consumer by which grant, as `shown_by`: the one by name before any other."""
        by_name, as_one_of_many = (
            Subquery(grants.order_by("pk").values("pk")[:1]) for grants in _grants(consumer)
        )
        return self.annotate(shown_by=Coalesce(by_name, as_one_of_many))


def _grants(consumer: int | Expression) -> tuple[QuerySet[StudentGrant], QuerySet[StudentGrant]]:
    """The grants of a consumer that name the student at hand, and those that show them as one of many."""
    # Imported here: grants point at students.
    from registration.models.disclosure import StudentGrant  # noqa: PLC0415

    grants = StudentGrant.objects.current().filter(consumer=consumer)
    as_one_of_many = (
        models.Q(audience="all")
        | models.Q(program=models.OuterRef("program"))
        | models.Q(college=models.OuterRef("program__college"))
    )
    return grants.filter(student=models.OuterRef("pk")), grants.filter(as_one_of_many)


class Student(models.Model):
    number = models.CharField(max_length=32, unique=True)
    given_name = models.CharField(max_length=100, blank=True)
    family_name = models.CharField(max_length=100)
    email = models.EmailField(blank=True)
    program = models.ForeignKey(
        Program, on_delete=models.PROTECT, related_name="students", null=True, blank=True
    )
    status = models.CharField(max_length=20, choices=StudentStatus.choices, default=StudentStatus.ACTIVE)
    residency = models.CharField(
        "tuition residency",
        max_length=20,
        choices=TuitionResidency.choices,
        default=TuitionResidency.IN_STATE,
        help_text="Decides the tuition rate; not where the student lives.",
    )
    disclosure_hold = models.BooleanField(
        default=False, help_text="The student asked that nothing be disclosed to anyone outside."
    )
    # Stamped by the database, migration 0012: when the status became what it is (nothing: longer ago than
    # anybody wrote down), and when anything changed that decides
    # what a partner is told.
    status_since_at = models.DateTimeField(null=True, db_default=Now(), editable=False)
    changed_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = StudentQuerySet.as_manager()

    class Meta:
        ordering = ["number"]
        permissions = [
            ("withdraw_student", "Can withdraw student"),
            ("graduate_student", "Can graduate student"),
        ]
        constraints = [
            models.CheckConstraint(
                name="student_numbered_and_named", condition=filled("number", "family_name")
            ),
            models.CheckConstraint(name="student_status_known", condition=one_of("status", StudentStatus)),
            models.CheckConstraint(
                name="student_residency_known", condition=one_of("residency", TuitionResidency)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.number} {self.name}"

    @property
    def name(self) -> str:
        """The name as people say it."""
        return f"{self.given_name} {self.family_name}".strip()


class CollegeMember(models.Model):
    """The college that a principal belongs to: what a principal sees and decides ends at its students."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="college_member"
    )
    college = models.ForeignKey(College, on_delete=models.PROTECT, related_name="members")

    class Meta:
        ordering = ["user"]
        verbose_name = "college of a principal"
        verbose_name_plural = "colleges of principals"

    def __str__(self) -> str:
        return f"{self.user} of {self.college}"
