"""A letter that says that a consumer's keys will stop working: one for each of the days on which one is owed."""

from __future__ import annotations

import datetime

from django.db import models
from django.db.models import Q

from apiauth.models.consumer import Consumer


class ExpiryReminderQuerySet(models.QuerySet["ExpiryReminder"]):
    def unsent(self, now: datetime.datetime) -> ExpiryReminderQuerySet:
        """Narrow to those that are owed and that nobody is sending at the moment."""
        free = Q(claim_ends_at__isnull=True) | Q(claim_ends_at__lt=now)
        return self.filter(free, sent_at__isnull=True)


class ExpiryReminder(models.Model):
    """Owed `days` days before `expires_on`. A consumer that gets a new last day is reminded of that one anew."""

    consumer = models.ForeignKey(Consumer, on_delete=models.PROTECT, related_name="reminders")
    expires_on = models.DateField()
    days = models.PositiveSmallIntegerField()
    claim_ends_at = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(null=True)

    objects = ExpiryReminderQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["consumer", "expires_on", "days"], name="expiry_reminder_once_a_day_and_end"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.consumer}: {self.days} days before {self.expires_on}"
