"""What the library is asked to do for a student, and what it has confirmed."""

from __future__ import annotations

import datetime
from typing import Final

from django.db import models
from django.db.models import Q
from django.utils import timezone

from registration.models.constraints import one_of
from registration.models.people import Student

# Within this time the library has to have been asked (INT-003).
PROMISE: Final = datetime.timedelta(hours=1)
# An account that ends within this time is renewed, as long as its student is entitled; asked for once a day at most.
RENEWED_BEFORE: Final = datetime.timedelta(days=30)
RENEWED_EVERY: Final = datetime.timedelta(days=1)


class LibraryStatus(models.TextChoices):
    PENDING = "pending", "Pending"
    PROVISIONED = "provisioned", "Provisioned"
    FAILED = "failed", "Failed"
    BLOCKED = "blocked", "Blocked"
    DEPROVISIONED = "deprovisioned", "De-provisioned"


class LibraryOverride(models.TextChoices):
    """What a person has said, whatever the student is enrolled in."""

    PROVISION = "provision", "Provisioned by hand"
    DEPROVISION = "deprovision", "De-provisioned by hand"


class LibraryAccountQuerySet(models.QuerySet["LibraryAccount"]):
    def of_students(self, students: models.QuerySet[Student] | None) -> LibraryAccountQuerySet:
        """Narrow to the accounts of these students; None is everybody."""
        return self if students is None else self.filter(student__in=students.values("pk"))

    def wanted(self) -> LibraryAccountQuerySet:
        """Narrow to those that the library was last asked to provide."""
        return self.filter(is_wanted=True)

    def ending(self, now: datetime.datetime) -> LibraryAccountQuerySet:
        """Narrow to those whose grace is over, and about which no person has said otherwise."""
        return self.wanted().filter(grace_ends_at__lte=now, override="")

    def ending_there(self, now: datetime.datetime) -> LibraryAccountQuerySet:
        """Narrow to provided ones that the library itself will end soon, and that were not asked for just now."""
        last_day = timezone.localdate(now) + RENEWED_BEFORE
        provided = self.wanted().filter(status=LibraryStatus.PROVISIONED, expires_on__lte=last_day)
        return provided.filter(settled_at__lte=now - RENEWED_EVERY)


class LibraryAccount(models.Model):
    """One row for a student who was ever to have an account. `request_number` counts what was asked for: each request is
    a change of `is_wanted`, or one that a person repeats, and whatever answers an earlier one changes nothing here."""

    student = models.OneToOneField(
        Student, on_delete=models.PROTECT, primary_key=True, related_name="library_account"
    )
    status = models.CharField(max_length=13, choices=LibraryStatus.choices, default=LibraryStatus.PENDING)
    is_wanted = models.BooleanField(
        default=True, help_text="Whether the library was last asked to provide it."
    )
    request_number = models.PositiveIntegerField(default=1)
    requested_at = models.DateTimeField(
        help_text="When the last request was caused: the promise counts from here."
    )
    settled_at = models.DateTimeField(
        null=True, blank=True, help_text="When the library confirmed the last request."
    )
    why = models.CharField(max_length=500, help_text="What caused the last request.")
    reason = models.CharField(max_length=500, blank=True, help_text="Why it failed, or what it waits for.")
    grace_ends_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="Until when an account is kept whose student has no enrollment any more.",
    )
    override = models.CharField(max_length=11, choices=LibraryOverride.choices, blank=True, default="")
    override_reason = models.CharField(max_length=500, blank=True)
    overridden_by = models.CharField(max_length=150, blank=True)
    overridden_at = models.DateTimeField(null=True, blank=True)
    remote_id = models.CharField(
        max_length=120, blank=True, help_text="What the library calls the account, once it has confirmed it."
    )

    expires_on = models.DateField(
        null=True, blank=True, help_text="The account's last day at the library, where it has told one."
    )

    objects = LibraryAccountQuerySet.as_manager()

    class Meta:
        ordering = ["student"]
        permissions = [("override_libraryaccount", "Can provision and de-provision library accounts by hand")]
        constraints = [
            models.CheckConstraint(
                name="library_account_status_known", condition=one_of("status", LibraryStatus)
            ),
            models.CheckConstraint(
                name="library_account_override_known",
                condition=Q(override="") | one_of("override", LibraryOverride),
            ),
            models.CheckConstraint(
                name="library_account_override_says_who_and_why",
                condition=Q(override="") | (~Q(override_reason="") & ~Q(overridden_by="")),
            ),
            models.CheckConstraint(
                name="library_account_settled_is_as_wanted",
                condition=~Q(status="provisioned", is_wanted=False)
                & ~Q(status="deprovisioned", is_wanted=True),
            ),
            models.CheckConstraint(
                name="library_account_confirmed_says_when",
                condition=~Q(status__in=["provisioned", "deprovisioned"]) | Q(settled_at__isnull=False),
            ),
            models.CheckConstraint(
                name="library_account_trouble_says_why",
                condition=~Q(status__in=["failed", "blocked"]) | ~Q(reason=""),
            ),
        ]
        indexes = [
            models.Index(fields=["student"], name="library_account_pending", condition=Q(status="pending")),
            models.Index(
                fields=["grace_ends_at"],
                name="library_account_grace",
                condition=Q(grace_ends_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.student.number}: {self.get_status_display().lower()}"

    @property
    def promised_by_at(self) -> datetime.datetime:
        """When the library has to have been asked at the latest."""
        return self.requested_at + PROMISE

    @property
    def seconds_to_settle(self) -> float | None:
        """From the cause of the last request to its confirmation; None until then."""
        return (self.settled_at - self.requested_at).total_seconds() if self.settled_at else None
