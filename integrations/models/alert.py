"""Something that a person should know about, who looks after it, and the letters that tell of it."""

from __future__ import annotations

import datetime
from typing import Final

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse

from integrations.models.connection import Connection, Stream
from integrations.models.outbox import OutboxMessage
from integrations.models.run import RunStatus, SyncRun

# Where incidents of the installation are seen, if not on the front page.
_PAGES: Final = {"library": "admin:registration_libraryaccount_sweep"}
# How incidents end that have words of their own for it, by what their names begin with.
_ENDS: Final = {
    "overdue": "It closes by itself when everything that was promised is done.",
    "ledger": "It closes by itself when the next verification finds nothing wrong.",
    "beat": "It is over, and closes by itself after an hour.",
    "worker": "It is over, and closes by itself after an hour.",
    "disk": "It closes by itself when there is room again.",
    "library": "It closes by itself when the sweep is approved, or has nothing unusual to end any more.",
}
# An incident that comes again this soon after it was over was never over; nobody is told that it was.
CALM: Final = datetime.timedelta(minutes=5)


class Severity(models.IntegerChoices):
    """How soon somebody has to look."""

    LOW = 1, "Low"
    NORMAL = 2, "Normal"
    URGENT = 3, "Urgent"


class AlertQuerySet(models.QuerySet["Alert"]):
    def open(self) -> AlertQuerySet:
        """Narrow to incidents that are not over."""
        return self.filter(resolved_at__isnull=True)

    def snoozed(self, now: datetime.datetime) -> AlertQuerySet:
        """Narrow to incidents that somebody has put off."""
        return self.open().filter(snooze_ends_at__gt=now)

    def needing_somebody(self, now: datetime.datetime) -> AlertQuerySet:
        """Narrow to open incidents that are not put off, what is most urgent first."""
        return self.open().exclude(snooze_ends_at__gt=now).order_by("-severity", "raised_at")

    def untold(self) -> AlertQuerySet:
        """Narrow to incidents that nobody has been told of yet."""
        return self.filter(told_at__isnull=True)

    def over(self, now: datetime.datetime) -> AlertQuerySet:
        """Narrow to incidents that people were told of, and not yet that they have been over for a while."""
        return self.filter(told_at__isnull=False, over_told_at__isnull=True, resolved_at__lte=now - CALM)

    def lately_over(self, incident: str, now: datetime.datetime) -> AlertQuerySet:
        """Narrow to what the incident was until a moment ago: too short to have been over."""
        return self.filter(incident=incident, over_told_at__isnull=True, resolved_at__gt=now - CALM)


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
    severity = models.PositiveSmallIntegerField(choices=Severity.choices, default=Severity.NORMAL)
    title = models.CharField(max_length=200)
    text = models.TextField()
    raised_at = models.DateTimeField(auto_now_add=True)
    last_seen_at = models.DateTimeField()
    times = models.PositiveIntegerField(default=1)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        related_name="owned_alerts",
        null=True,
        blank=True,
    )
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    snooze_ends_at = models.DateTimeField(null=True, blank=True)
    snoozes = models.PositiveIntegerField(
        default=0, help_text="How often it has come back from being put off."
    )
    told_at = models.DateTimeField(null=True, blank=True, help_text="When the letters about it were written.")
    over_told_at = models.DateTimeField(
        null=True, blank=True, help_text="When the letters that it is over were written."
    )
    resolved_at = models.DateTimeField(null=True, blank=True)

    objects = AlertQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        permissions = [("triage_alert", "Can acknowledge, assign and snooze alerts")]
        constraints = [
            models.UniqueConstraint(
                fields=["incident"], condition=Q(resolved_at__isnull=True), name="alert_one_open_an_incident"
            ),
            models.CheckConstraint(
                name="alert_is_about_one_thing",
                condition=Q(stream__isnull=True) | Q(connection__isnull=True),
            ),
            models.CheckConstraint(name="alert_says_what", condition=~Q(title="") & ~Q(text="")),
            models.CheckConstraint(
                name="alert_severity_known",
                condition=Q(severity__in=[value for value, _ in Severity.choices]),
            ),
        ]
        indexes = [models.Index(fields=["incident", "-id"], name="alert_of_an_incident")]

    def __str__(self) -> str:
        return self.title

    @property
    def ends(self) -> str:
        """How the incident ends."""
        if self.run is not None and self.run.status == RunStatus.HELD:
            return "It waits for a person: approve the plan, withhold what tripped, or refuse it."
        if (words := _ENDS.get(self.incident.partition(":")[0])) is not None:
            return words
        if self.message is not None:
            return "It closes by itself when everything that was escalated is delivered. Retry it there, one or all."
        if self.stream is None:
            return "It closes by itself when its cause is gone."
        return "It closes by itself when the next run succeeds as it should."

    @property
    def source(self) -> Connection | None:
        """The connection that the incident is about; None where it is about the installation."""
        return self.stream.connection if self.stream else self.connection

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

    @property
    def page(self) -> str:
        """The alert's own page, where it is acknowledged, given to somebody and put off."""
        return reverse("admin:integrations_alert_change", args=[self.pk])


class Letters(models.TextChoices):
    """Which alerts a person gets a letter about at once; what is less urgent comes in a letter a day, in the morning."""

    ALL = "all", "All at once"
    NORMAL = "normal", "Urgent and normal ones at once, low ones in the letter of the day"
    URGENT = "urgent", "Urgent ones at once, the others in the letter of the day"
    DAILY = "daily", "All in the letter of the day"
    NONE = "none", "No letters"


class AlertSubscription(models.Model):
    """What a person wants to be told. An administrator without one gets what is usual."""

    person = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        primary_key=True,
        related_name="alert_subscription",
    )
    letters = models.CharField(max_length=6, choices=Letters.choices, default=Letters.NORMAL)
    connections = models.ManyToManyField(
        Connection,
        blank=True,
        related_name="+",
        help_text="Alerts of these connections, and of the installation. None chosen: of all.",
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="alert_subscription_letters_known",
                condition=Q(letters__in=[value for value, _ in Letters.choices]),
            )
        ]

    def __str__(self) -> str:
        return f"{self.person}: {self.get_letters_display()}"


class Moment(models.TextChoices):
    """What of an incident a letter tells."""

    OPENED = "opened", "It began"
    AGAIN = "again", "It is still there after it was put off"
    GIVEN = "given", "It was given to this person"
    OVER = "over", "It is over"


class AlertNoticeQuerySet(models.QuerySet["AlertNotice"]):
    def owed(self, now: datetime.datetime) -> AlertNoticeQuerySet:
        """Narrow to what is due and not sent, and that nobody is sending at the moment."""
        free = Q(claim_ends_at__isnull=True) | Q(claim_ends_at__lt=now)
        return self.filter(free, sent_at__isnull=True, due_at__lte=now)


class AlertNotice(models.Model):
    """What one person is to be told of one moment of an incident: sent once, by a letter of its own or in that of the
    day."""

    alert = models.ForeignKey(Alert, on_delete=models.CASCADE, related_name="notices")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    moment = models.CharField(max_length=6, choices=Moment.choices)
    occasion = models.PositiveIntegerField(default=0, help_text="Tells apart what may happen more than once.")
    is_daily = models.BooleanField(default=False, help_text="Whether it goes into the letter of the day.")
    due_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True, blank=True)
    claim_ends_at = models.DateTimeField(null=True, blank=True)

    objects = AlertNoticeQuerySet.as_manager()

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["alert", "person", "moment", "occasion"], name="alert_notice_once_a_moment"
            ),
            models.CheckConstraint(
                name="alert_notice_moment_known",
                condition=Q(moment__in=[value for value, _ in Moment.choices]),
            ),
        ]
        indexes = [
            models.Index(fields=["due_at"], name="alert_notice_owed", condition=Q(sent_at__isnull=True))
        ]

    def __str__(self) -> str:
        return f"{self.person}: {self.alert}, {self.get_moment_display()}"
