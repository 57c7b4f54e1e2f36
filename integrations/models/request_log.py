"""What was asked of other systems, and what came of it."""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass

from django.db import models
from django.db.models import Count, Q

from integrations.models.connection import Connection
from integrations.models.run import SyncRun

# The classes of failure (transports/errors.py) as a row keeps them.
ERROR_CLASSES = ("retry", "throttle", "refresh token", "exists", "blocked", "permanent", "config")
PURPOSES = ("pull", "do")


@dataclass(frozen=True)
class Figures:
    """How a system has answered: attempts, how many of them failed, and response times in milliseconds. Half of the
    attempts took no longer than `p50`, 95 of 100 no longer than `p95`; None where there were none."""

    attempts: int
    failed: int
    p50: int | None
    p95: int | None

    @property
    def error_percent(self) -> float | None:
        """Of 100 attempts, how many failed."""
        return 100 * self.failed / self.attempts if self.attempts else None

    @property
    def success_percent(self) -> float | None:
        """Of 100 attempts, how many succeeded."""
        return 100 - self.error_percent if self.error_percent is not None else None


class LoggedRequestQuerySet(models.QuerySet["LoggedRequest"]):
    def since(self, moment: datetime.datetime) -> LoggedRequestQuerySet:
        """Narrow to what was sent from a moment on."""
        return self.filter(sent_at__gte=moment)

    def failed(self) -> LoggedRequestQuerySet:
        """Narrow to attempts that failed."""
        return self.exclude(error_class="")

    def figures(self) -> Figures:
        """Count and time these attempts. A percentile is the value of its rank, which any database can give."""
        counted = self.aggregate(attempts=Count("id"), failed=Count("id", filter=~Q(error_class="")))
        attempts: int = counted["attempts"]
        times = self.order_by("milliseconds").values_list("milliseconds", flat=True)

        def at_rank(percent: int) -> int | None:
            rank = max(1, math.ceil(attempts * percent / 100))
            return next(iter(times[rank - 1 : rank]), None)

        return Figures(attempts, counted["failed"], at_rank(50), at_rank(95))


class LoggedRequest(models.Model):
    """One attempt to ask another system something. Its URL and body are masked before they come here."""

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="requests")
    run = models.ForeignKey(SyncRun, on_delete=models.CASCADE, null=True, related_name="requests")
    purpose = models.CharField(max_length=4)
    sent_at = models.DateTimeField()
    method = models.CharField(max_length=10)
    url = models.TextField("URL")
    attempt = models.PositiveIntegerField()
    status = models.PositiveIntegerField(null=True, help_text="Empty where no answer came.")
    milliseconds = models.PositiveIntegerField()
    bytes_sent = models.PositiveBigIntegerField()
    bytes_received = models.PositiveBigIntegerField()
    error_class = models.CharField(max_length=13, blank=True)
    error = models.TextField(blank=True)
    body = models.TextField(blank=True, help_text="The beginning of what a failure answered, masked.")

    objects = LoggedRequestQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                name="logged_request_error_class_known", condition=Q(error_class__in=["", *ERROR_CLASSES])
            ),
            models.CheckConstraint(name="logged_request_purpose_known", condition=Q(purpose__in=PURPOSES)),
            models.CheckConstraint(
                name="logged_request_failure_says_why",
                condition=(Q(error_class="") & Q(error="") & Q(body=""))
                | (~Q(error_class="") & ~Q(error="")),
            ),
        ]
        indexes = [
            models.Index(fields=["connection", "-sent_at"], name="logged_request_newest"),
            models.Index(fields=["run", "id"], name="logged_request_run"),
            models.Index(fields=["sent_at"], name="logged_request_age"),
        ]

    def __str__(self) -> str:
        return f"{self.method} {self.url}: {self.status or self.error_class}"
