"""Which students a consumer may see, and why: the record of disclosure that FERPA asks for (34 CFR 99.32)."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from apiauth.models import Consumer
from registration.models.constraints import filled, one_of
from registration.models.people import College, Program, Student


class Audience(models.TextChoices):
    ALL = "all", "All students"
    PROGRAM = "program", "The students of a program"
    COLLEGE = "college", "The students of a college"
    STUDENT = "student", "One student, by name"


# What each audience points at, and nothing else: the columns that are filled.
TARGETS = {
    Audience.ALL: None,
    Audience.PROGRAM: "program",
    Audience.COLLEGE: "college",
    Audience.STUDENT: "student",
}


def _target_fits() -> Q:
    condition = Q()
    for audience, filled_one in TARGETS.items():
        columns = {f"{column}__isnull": column != filled_one for column in ("program", "college", "student")}
        condition |= Q(audience=audience.value, **columns)
    return condition


class StudentGrantQuerySet(models.QuerySet["StudentGrant"]):
    def current(self) -> StudentGrantQuerySet:
        """Narrow to those that were not revoked."""
        return self.filter(revoked_at__isnull=True)


class StudentGrant(models.Model):
    """A consumer may see these students for this purpose. It is never edited or deleted: revoking keeps the row.

    A grant by name is explicit, so that it shows a student with a disclosure hold too; no other does.
    """

    consumer = models.ForeignKey(Consumer, on_delete=models.PROTECT, related_name="student_grants")
    audience = models.CharField(max_length=10, choices=Audience.choices)
    program = models.ForeignKey(Program, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    college = models.ForeignKey(College, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    student = models.ForeignKey(
        Student, on_delete=models.PROTECT, null=True, blank=True, related_name="grants_by_name"
    )
    purpose = models.TextField(help_text="What the partner needs it for; it is kept with each disclosure.")
    granted_at = models.DateTimeField(auto_now_add=True)
    granted_by = models.CharField(max_length=150)
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_by = models.CharField(max_length=150, blank=True)
    revoke_reason = models.TextField(blank=True)

    objects = StudentGrantQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                name="student_grant_audience_known", condition=one_of("audience", Audience)
            ),
            models.CheckConstraint(name="student_grant_names_its_audience", condition=_target_fits()),
            models.CheckConstraint(
                name="student_grant_has_a_purpose", condition=filled("purpose", "granted_by")
            ),
            models.CheckConstraint(
                name="student_grant_revoked_by_somebody",
                condition=Q(revoked_at__isnull=True, revoked_by="", revoke_reason="")
                | (Q(revoked_at__isnull=False) & ~Q(revoked_by="")),
            ),
            models.UniqueConstraint(
                fields=["consumer"],
                condition=Q(audience="all", revoked_at__isnull=True),
                name="student_grant_all_once",
            ),
            *(
                models.UniqueConstraint(
                    fields=["consumer", column],
                    condition=Q(revoked_at__isnull=True),
                    name=f"student_grant_{column}_once",
                )
                for column in ("program", "college", "student")
            ),
        ]

    def __str__(self) -> str:
        return self.words

    @property
    def words(self) -> str:
        """Whom it shows, in words."""
        target = self.program or self.college or self.student
        return str(target) if target else self.get_audience_display()
