"""Where a student lives during a term, as the housing office says it."""

from __future__ import annotations

import datetime

from django.db import models
from django.db.models import F, Min, Q

from registration.models.catalogue import Term
from registration.models.constraints import filled, one_of
from registration.models.people import Student


class LivingArrangement(models.TextChoices):
    ON_CAMPUS = "on_campus", "On campus"
    OFF_CAMPUS = "off_campus", "Off campus"


class HousingStatus(models.TextChoices):
    ASSIGNED = "assigned", "Assigned"
    CHECKED_IN = "checked_in", "Checked in"
    CHECKED_OUT = "checked_out", "Checked out"
    CANCELLED = "cancelled", "Cancelled"


LIVE = (HousingStatus.ASSIGNED, HousingStatus.CHECKED_IN)
# What only those may see who hold the permission `view_contact_housingassignment`, each look audited.
CONTACT_FIELDS = (
    "residence_address",
    "residence_phone",
    "emergency_contact_name",
    "emergency_contact_phone",
    "emergency_contact_relation",
)


class HousingAssignmentQuerySet(models.QuerySet["HousingAssignment"]):
    def live(self) -> HousingAssignmentQuerySet:
        """Narrow to the rooms that are kept for somebody now: one for a student and term at most."""
        return self.filter(status__in=LIVE)

    def on_campus(self) -> HousingAssignmentQuerySet:
        """Narrow to what makes a student live on campus for a term's fees: a live assignment on campus, or one
        that ended after the term's census. Whoever moved out by the census day counts as living off campus."""
        return self.filter(
            Q(status__in=LIVE) | Q(status=HousingStatus.CHECKED_OUT, move_out_on__gt=F("term__census_on")),
            on_campus=True,
        )

    def since(self) -> dict[int, datetime.date]:
        """Since when a student, to whose rows this is narrowed, has had these rooms, by the ids of terms; a term of which
        nobody says when is left out."""
        rows = self.order_by().values_list("term_id").annotate(first=Min("move_in_on"))
        return {term: first for term, first in rows if first is not None}


class HousingAssignment(models.Model):
    """A room kept for a student in a term. A move ends one row and begins another, so that history stays.

    The run and change columns name the sync that said so last, by their ids alone, as in the ledger; `edited_*` says that
    a person has corrected it since, which the next sync must notice. `cancelled_from` is the status that a sync took
    from a cancelled row, so that an undo can give it back.
    """

    student = models.ForeignKey(Student, on_delete=models.PROTECT, related_name="housing_assignments")
    term = models.ForeignKey(Term, on_delete=models.PROTECT, related_name="housing_assignments")
    reference = models.CharField(
        max_length=64, blank=True, help_text="The housing system's name for the assignment."
    )
    hall = models.CharField(max_length=100)
    room = models.CharField(max_length=40)
    status = models.CharField(max_length=12, choices=HousingStatus.choices, default=HousingStatus.ASSIGNED)
    on_campus = models.BooleanField(
        default=True, help_text="Whether the hall counts as on campus for the fee schedule."
    )
    move_in_on = models.DateField(null=True, blank=True)
    move_out_on = models.DateField(null=True, blank=True)

    residence_address = models.CharField(max_length=300, blank=True)
    residence_phone = models.CharField(max_length=40, blank=True)
    emergency_contact_name = models.CharField(max_length=150, blank=True)
    emergency_contact_phone = models.CharField(max_length=40, blank=True)
    emergency_contact_relation = models.CharField(max_length=60, blank=True)

    moved_from = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        editable=False,
        related_name="moved_on_to",
        help_text="The room that the student came from within the term.",
    )
    cancelled_from = models.CharField(max_length=12, blank=True, default="", db_default="", editable=False)

    recorded_at = models.DateTimeField()
    recorded_by = models.CharField(max_length=150)
    recorded_run = models.BigIntegerField(null=True, blank=True)
    recorded_change = models.BigIntegerField(null=True, blank=True)
    edited_at = models.DateTimeField(null=True, blank=True)
    edited_by = models.CharField(max_length=150, blank=True)

    objects = HousingAssignmentQuerySet.as_manager()

    class Meta:
        ordering = ["-term__starts_on", "-id"]
        permissions = [("view_contact_housingassignment", "Can view contact housingassignment")]
        indexes = [
            models.Index(fields=["term", "student"], name="housing_assignment_term"),
            # Few, and every sync asks for them.
            models.Index(
                fields=["edited_at"],
                condition=Q(edited_at__isnull=False),
                name="housing_assignment_edited",
            ),
        ]
        constraints = [
            models.CheckConstraint(
                name="housing_assignment_status_known", condition=one_of("status", HousingStatus)
            ),
            models.CheckConstraint(name="housing_assignment_placed", condition=filled("hall", "room")),
            models.CheckConstraint(
                name="housing_assignment_dates_in_order",
                condition=Q(move_in_on__isnull=True)
                | Q(move_out_on__isnull=True)
                | Q(move_out_on__gte=F("move_in_on")),
                violation_error_message="Nobody moves out before moving in.",
            ),
            models.CheckConstraint(
                name="housing_assignment_checked_out_says_when",
                condition=~Q(status=HousingStatus.CHECKED_OUT) | Q(move_out_on__isnull=False),
                violation_error_message="Say when the student moved out: the day decides the fees.",
            ),
            models.UniqueConstraint(
                fields=["student", "term"],
                condition=Q(status__in=["assigned", "checked_in"]),
                name="housing_assignment_one_live_a_term",
                violation_error_message="The student has a room in this term already: end that assignment first.",
            ),
            models.CheckConstraint(
                name="housing_assignment_cancelled_from_only_when_cancelled",
                condition=Q(cancelled_from="") | Q(status=HousingStatus.CANCELLED),
            ),
            models.CheckConstraint(name="housing_assignment_says_who", condition=~Q(recorded_by="")),
            models.CheckConstraint(
                name="housing_assignment_edit_says_when_and_who",
                condition=(Q(edited_at__isnull=True, edited_by=""))
                | (Q(edited_at__isnull=False) & ~Q(edited_by="")),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.hall} {self.room}"

    @property
    def is_live(self) -> bool:
        """Whether the room is kept for the student now."""
        return self.status in LIVE
