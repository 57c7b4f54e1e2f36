"""The circuit breaker of a connection: whether its system is called at the moment. One row, shared by all processes."""

from __future__ import annotations

import datetime
from typing import Final

from django.db import models
from django.db.models import Q

from integrations.models.connection import Connection

FAILURES_TO_OPEN: Final = 5
COOL_DOWN: Final = datetime.timedelta(seconds=60)


class BreakerState(models.TextChoices):
    CLOSED = "closed", "Closed"
    OPEN = "open", "Open"
    HALF_OPEN = "half_open", "Half open"


class Hold(models.TextChoices):
    """What a person has said, whatever the attempts show."""

    OPEN = "open", "Held open"
    CLOSED = "closed", "Held closed"


class BreakerQuerySet(models.QuerySet["Breaker"]):
    def stopping(self) -> BreakerQuerySet:
        """Narrow to breakers that keep ordinary attempts away, by themselves or held open."""
        return self.filter(connection__archived_at__isnull=True).filter(
            Q(hold=Hold.OPEN) | (Q(hold="") & ~Q(state=BreakerState.CLOSED))
        )


class Breaker(models.Model):
    """Closed: attempts go through. Open: none does, until `opened_at` and a cool-down. Half open: one attempt, the
    probe, is under way; it has until `probe_ends_at`, and what it shows closes or opens the breaker."""

    connection = models.OneToOneField(
        Connection, on_delete=models.CASCADE, primary_key=True, related_name="breaker"
    )
    state = models.CharField(max_length=9, choices=BreakerState.choices, default=BreakerState.CLOSED)
    hold = models.CharField(max_length=6, choices=Hold.choices, blank=True, default="")
    failures = models.PositiveIntegerField(default=0, help_text="Failed attempts in a row.")
    opened_at = models.DateTimeField(null=True, blank=True)
    probe = models.CharField(max_length=32, blank=True, default="", help_text="Names the attempt that tries.")
    probe_ends_at = models.DateTimeField(null=True, blank=True)
    reason = models.TextField(blank=True, help_text="What the last failed attempt said.")
    changed_by = models.CharField(max_length=150, blank=True)
    changed_at = models.DateTimeField(auto_now=True)

    objects = BreakerQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="breaker_state_known",
                condition=Q(state__in=[value for value, _ in BreakerState.choices]),
            ),
            models.CheckConstraint(
                name="breaker_hold_known",
                condition=Q(hold="") | Q(hold__in=[value for value, _ in Hold.choices]),
            ),
            models.CheckConstraint(
                name="breaker_not_closed_says_since",
                condition=Q(state=BreakerState.CLOSED) | Q(opened_at__isnull=False),
            ),
            models.CheckConstraint(
                name="breaker_half_open_has_one_probe",
                condition=(Q(state=BreakerState.HALF_OPEN) & ~Q(probe="") & Q(probe_ends_at__isnull=False))
                | (~Q(state=BreakerState.HALF_OPEN) & Q(probe="") & Q(probe_ends_at__isnull=True)),
            ),
        ]
        permissions = [("override_breaker", "Can hold a circuit breaker open or closed, and reset it")]

    def __str__(self) -> str:
        return f"{self.connection.slug}: {self.get_hold_display() if self.hold else self.get_state_display()}"

    @property
    def tries_again_at(self) -> datetime.datetime | None:
        """When the next probe may go out; None while attempts go through, or when a person keeps it open."""
        return self.opened_at + COOL_DOWN if self.opened_at and not self.hold else None
