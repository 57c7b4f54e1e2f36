"""A change of fees after a term's census, which waits for a person."""

from __future__ import annotations

from typing import TypedDict

from django.db import models
from django.db.models import Q

from registration.models.catalogue import Term
from registration.models.constraints import currency_code, one_of
from registration.models.people import Student
from registration.money import display


class FeeChangeStatus(models.TextChoices):
    WAITING = "waiting", "Waiting for approval"
    APPROVED = "approved", "Approved"
    REFUSED = "refused", "Refused"
    LAPSED = "lapsed", "No longer needed"


class FeeLine(TypedDict):
    """One fee before and after, in minor units; zero where there is none."""

    code: str
    before: int
    after: int


class FeeChangeQuerySet(models.QuerySet["FeeChange"]):
    def waiting(self) -> FeeChangeQuerySet:
        """Narrow to what needs a person."""
        return self.filter(status=FeeChangeStatus.WAITING)


class FeeChange(models.Model):
    """What one student's fees in a term would become. One at a time waits; an assessment keeps it up to date."""

    student = models.ForeignKey(Student, on_delete=models.PROTECT, related_name="fee_changes")
    term = models.ForeignKey(Term, on_delete=models.PROTECT, related_name="fee_changes")
    status = models.CharField(max_length=12, choices=FeeChangeStatus.choices, default=FeeChangeStatus.WAITING)
    lines = models.JSONField(help_text="Each fee that would change: code, before and after in minor units.")
    before_minor = models.BigIntegerField()
    after_minor = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    why = models.CharField(max_length=500)
    raised_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.CharField(max_length=150, blank=True)
    reason = models.CharField(max_length=500, blank=True)

    objects = FeeChangeQuerySet.as_manager()

    class Meta:
        ordering = ["-raised_at", "-id"]
        permissions = [("approve_feechange", "Can approve feechange")]
        indexes = [models.Index(fields=["term", "status"], name="fee_change_term_status")]
        constraints = [
            models.CheckConstraint(
                name="fee_change_status_known", condition=one_of("status", FeeChangeStatus)
            ),
            models.UniqueConstraint(
                fields=["student", "term"],
                condition=Q(status="waiting"),
                name="fee_change_one_waiting_a_term",
            ),
            models.CheckConstraint(
                name="fee_change_decision_says_when_who_and_why",
                condition=(Q(status="waiting", decided_at__isnull=True, decided_by="", reason=""))
                | (Q(decided_at__isnull=False) & ~Q(status="waiting") & ~Q(decided_by="") & ~Q(reason="")),
            ),
            models.CheckConstraint(
                name="fee_change_amounts_not_negative", condition=Q(before_minor__gte=0, after_minor__gte=0)
            ),
            models.CheckConstraint(
                name="fee_change_currency_is_iso_code", condition=currency_code("currency")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.student.number} {self.term.code}: {self.displayed_difference}"

    @property
    def is_waiting(self) -> bool:
        """Whether it still needs a person."""
        return self.status == FeeChangeStatus.WAITING

    @property
    def displayed_before(self) -> str:
        return display(self.before_minor, self.currency)

    @property
    def displayed_after(self) -> str:
        return display(self.after_minor, self.currency)

    @property
    def displayed_difference(self) -> str:
        """What approving does to the bill, signed."""
        difference = self.after_minor - self.before_minor
        return f"{'+' if difference > 0 else ''}{display(difference, self.currency)}"

    def displayed_lines(self) -> list[dict[str, str]]:
        """Each fee that would change, as people read it."""
        return [
            {
                "code": line["code"],
                "before": display(line["before"], self.currency),
                "after": display(line["after"], self.currency),
            }
            for line in self.lines
        ]
