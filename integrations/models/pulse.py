"""Signs of life: when beat, and a worker, were last seen at work."""

from __future__ import annotations

from django.db import models
from django.db.models import Q


class Part(models.TextChoices):
    """A kind of process that nobody waits for, so that its silence has to be noticed."""

    BEAT = "beat", "Beat"
    WORKER = "worker", "Worker"


class Pulse(models.Model):
    """One kind of process, and when it last showed that it works."""

    part = models.CharField(max_length=10, choices=Part.choices, primary_key=True)
    seen_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="pulse_part_known", condition=Q(part__in=[value for value, _ in Part.choices])
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_part_display()} at {self.seen_at:%Y-%m-%d %H:%M:%S} UTC"
