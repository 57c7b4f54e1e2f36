"""How often and how many at once a system may be asked: one account of attempts, shared by all processes."""

from __future__ import annotations

import datetime
from typing import Final

from django.db import models
from django.db.models import F, Q

WINDOW: Final = datetime.timedelta(minutes=1)


class Allowance(models.Model):
    """The account of one connection, or of one host that several connections share; `key` says which."""

    key = models.CharField(max_length=300, unique=True)
    paused_until_at = models.DateTimeField(
        null=True, blank=True, help_text="Until when the other system wants to be left alone."
    )

    class Meta:
        constraints = [models.CheckConstraint(name="allowance_named", condition=~Q(key=""))]

    def __str__(self) -> str:
        return self.key


class PassageQuerySet(models.QuerySet["Passage"]):
    def within(self, now: datetime.datetime) -> PassageQuerySet:
        """Narrow to the attempts of the last minute."""
        return self.filter(sent_at__gt=now - WINDOW)

    def under_way(self, now: datetime.datetime) -> PassageQuerySet:
        """Narrow to attempts that have not ended. One whose process died ends with the time that it had."""
        return self.filter(ends_at__gt=now)

    def past(self, now: datetime.datetime) -> PassageQuerySet:
        """Narrow to what no limit looks at any more."""
        return self.filter(sent_at__lte=now - WINDOW, ends_at__lte=now)


class Passage(models.Model):
    """One attempt that was let through, under way until `ends_at`."""

    allowance = models.ForeignKey(Allowance, on_delete=models.CASCADE, related_name="passages")
    sent_at = models.DateTimeField()
    ends_at = models.DateTimeField()

    objects = PassageQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(name="passage_ends_after_it_began", condition=Q(ends_at__gte=F("sent_at")))
        ]
        indexes = [models.Index(fields=["allowance", "sent_at"], name="passage_allowance_sent")]

    def __str__(self) -> str:
        return f"{self.allowance_id} {self.sent_at:%H:%M:%S}"
