"""Something that a person should know about."""

from __future__ import annotations

import datetime
from typing import Final

from django.db import models
from django.db.models import Q
from django.urls import reverse

from integrations.models.connection import Connection, Stream
from integrations.models.outbox import OutboxMessage
from integrations.models.run import RunStatus, SyncRun

# Where incidents of the installation are seen, if not on the front page.
_PAGES: Final = {"library": "admin:registration_libraryaccount_sweep"}


class AlertQuerySet(models.QuerySet["Alert"]):
    def open(self) -> AlertQuerySet:
        """Narrow to incidents that are not over."""
        return self.filter(resolved_at__isnull=True)

    def unsent(self, now: datetime.datetime) -> AlertQuerySet:
        """Narrow to alerts whose e-mail is still owed and that nobody is sending at the moment."""
        return self.filter(sent_at__isnull=True).filter(
            Q(claim_ends_at__isnull=True) | Q(claim_ends_at__lt=now)
        )


class Alert(models.Model):
    """One incident, of a stream, of a whole connection, or of the installation. What it suffers from has one open alert:
    a failure that repeats adds to its count."""

    stream = models.ForeignKey(Stream, on_delete=models.CASCADE, related_name="alerts", null=True)
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="alerts", null=True)
    run = models.ForeignKey(SyncRun, on_delete=models.CASCADE, related_name="alerts", null=True)
    message = models.ForeignKey(OutboxMessage, on_delete=models.CASCADE, related_name="alerts", null=True)
    incident = models.CharField(
        max_length=120, help_text="What the incident is about: one open alert for each."
    )
    title = models.CharField(max_length=200)
    text = models.TextField()
    raised_at = models.DateTimeField(auto_now_add=True)
    last_seen_at = models.DateTimeField()
    times = models.PositiveIntegerField(default=1)
    sent_at = models.DateTimeField(null=True, blank=True)
    claim_ends_at = models.DateTimeField(null=True, blank=True)
    resolved_at = models.DateTimeField(null=True, blank=True)

    objects = AlertQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["incident"], condition=Q(resolved_at__isnull=True), name="alert_one_open_an_incident"
            ),
            models.CheckConstraint(
                name="alert_is_about_one_thing",
                condition=Q(stream__isnull=True) | Q(connection__isnull=True),
            ),
            models.CheckConstraint(name="alert_says_what", condition=~Q(title="") & ~Q(text="")),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def ends(self) -> str:
        """How the incident ends."""
        if self.run is not None and self.run.status == RunStatus.HELD:
            return "It waits for a person: approve the plan, withhold what tripped, or refuse it."
        if self.message is not None:
            return "It closes by itself when everything that was escalated is delivered. Retry it there, one or all."
        if self.connection is not None:
            return "It closes by itself when its cause is gone."
        if self.incident == "library":
            return "It closes by itself when the sweep is approved, or has nothing unusual to end any more."
        if self.stream is None:
            return "It closes by itself when the next verification finds nothing wrong."
        return "It closes by itself when the next run succeeds as it should."

    def get_absolute_url(self) -> str:
        """Where the incident can be seen: its run, its message or, when there is neither, its connection; else the front page."""
        if self.run is not None:
            return self.run.get_absolute_url()
        if self.message is not None:
            return self.message.get_absolute_url()
        connection_id = self.stream.connection_id if self.stream else self.connection_id
        if connection_id is None:
            return reverse(_PAGES.get(self.incident, "admin:index"))
        return reverse("admin:integrations_connection_change", args=[connection_id])
