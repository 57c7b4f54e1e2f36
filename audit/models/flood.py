"""Floods: events of one kind from one source that come faster than anybody reads them."""

from __future__ import annotations

from django.db import models


class EventFlood(models.Model):
    """What one source does again and again, counted until its minute is over; then its event is written, with the count.

    The only rows of this room that change and go: they are a tally, and not the trail.
    """

    action = models.CharField(max_length=80)
    subject_type = models.CharField(max_length=80)
    subject_id = models.CharField(max_length=64, blank=True)
    address = models.CharField(max_length=45, blank=True)
    actor_kind = models.CharField(max_length=10)
    actor_id = models.CharField(max_length=64, blank=True)
    actor_name = models.CharField(max_length=150)
    times = models.BigIntegerField(default=0)
    ends_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["action", "subject_type", "subject_id", "address"], name="event_flood_one_a_source"
            ),
            models.CheckConstraint(name="event_flood_times_counted", condition=models.Q(times__gte=0)),
        ]

    def __str__(self) -> str:
        return f"{self.action} from {self.address}, {self.times} times more"
