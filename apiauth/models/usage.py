"""How much a consumer has called, hour by hour."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from apiauth.models.consumer import Consumer


class ConsumerUsage(models.Model):
    """The requests of one consumer in one hour, which starts at `hour_at`. Written by a worker (apiauth/usage.py)."""

    consumer = models.ForeignKey(Consumer, on_delete=models.PROTECT, related_name="usage")
    hour_at = models.DateTimeField()
    requests = models.PositiveIntegerField()

    class Meta:
        ordering = ["-hour_at"]
        constraints = [
            models.UniqueConstraint(fields=["consumer", "hour_at"], name="consumer_usage_once_an_hour"),
            models.CheckConstraint(name="consumer_usage_counts_something", condition=Q(requests__gt=0)),
        ]

    def __str__(self) -> str:
        return f"{self.consumer} {self.hour_at:%Y-%m-%d %H}h: {self.requests}"
