"""What has to happen outside: one row for each effect, and one for each attempt to bring it about."""

from __future__ import annotations

import datetime

from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.urls import reverse
from django.utils import timezone

from integrations.models.connection import Connection
from integrations.models.request_log import ERROR_CLASSES


class MessageStatus(models.TextChoices):
    WAITING = "waiting", "Waiting"
    DELIVERED = "delivered", "Delivered"
    ESCALATED = "escalated", "Escalated"
    SUPERSEDED = "superseded", "Superseded"


class AttemptOutcome(models.TextChoices):
    UNDER_WAY = "under_way", "Under way"
    DELIVERED = "delivered", "Delivered"
    FAILED = "failed", "Failed"
    UNCERTAIN = "uncertain", "Not known"
    BLOCKED = "blocked", "Blocked"


class OutboxMessageQuerySet(models.QuerySet["OutboxMessage"]):
    def waiting(self) -> OutboxMessageQuerySet:
        """Narrow to what is still to be delivered by itself."""
        return self.filter(status=MessageStatus.WAITING)

    def escalated(self) -> OutboxMessageQuerySet:
        """Narrow to what waits for a person."""
        return self.filter(status=MessageStatus.ESCALATED)

    def unfinished(self) -> OutboxMessageQuerySet:
        """Narrow to what is not delivered, and not to be forgotten."""
        return self.filter(status__in=[MessageStatus.WAITING, MessageStatus.ESCALATED])

    def failing(self) -> OutboxMessageQuerySet:
        """Narrow to what failed its last attempt, whether it waits for the next one or for a person."""
        return self.unfinished().filter(lease_ends_at__isnull=True).exclude(error_class="")

    def under_way(self, now: datetime.datetime) -> OutboxMessageQuerySet:
        """Narrow to what somebody is attempting at this moment."""
        return self.waiting().filter(lease_ends_at__gt=now)

    def due(self, now: datetime.datetime) -> OutboxMessageQuerySet:
        """Narrow to what may be attempted now: nobody is at it, and nothing older about the same thing is unfinished."""
        older = OutboxMessage.objects.waiting().filter(subject=OuterRef("subject"), pk__lt=OuterRef("pk"))
        free = Q(lease_ends_at__isnull=True, due_at__lte=now) | Q(lease_ends_at__lte=now)
        return self.waiting().filter(free).exclude(Exists(older))


class OutboxMessage(models.Model):
    """One effect on another system, written in the transaction of its cause. `key` is made from the cause: the same
    cause is one message, however often it is heard of. What is sent is read when it is sent: `payload` only refers."""

    connection = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="messages")
    kind = models.CharField(max_length=40)
    key = models.CharField(max_length=120, unique=True)
    subject = models.CharField(
        max_length=80,
        help_text="What it is about, such as library:42. Of one subject, the older message goes first.",
    )
    payload = models.JSONField(default=dict)
    cause = models.CharField(max_length=500, help_text="Why it is sent.")
    status = models.CharField(max_length=10, choices=MessageStatus.choices, default=MessageStatus.WAITING)
    created_at = models.DateTimeField()
    due_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveIntegerField(default=0, help_text="How often it was really attempted.")
    failures = models.PositiveIntegerField(
        default=0, help_text="Failed attempts that count, since it was queued or a person made it due again."
    )
    is_uncertain = models.BooleanField(
        default=False, help_text="Whether an attempt may have been carried out without our knowing."
    )
    error_class = models.CharField(max_length=13, blank=True, help_text="What the last attempt failed with.")
    reason = models.TextField(blank=True, help_text="What the last attempt said, in words.")
    lease_ends_at = models.DateTimeField(null=True, blank=True)
    fence = models.PositiveIntegerField(default=0, help_text="How often it was claimed.")
    holder = models.CharField(max_length=150, blank=True, help_text="The process that claimed it last.")

    objects = OutboxMessageQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        permissions = [
            ("retry_outboxmessage", "Can make outbox messages due again"),
            ("pause_outboxmessage", "Can pause and resume the deliveries of a connection"),
        ]
        constraints = [
            models.CheckConstraint(
                name="outbox_message_status_known",
                condition=Q(status__in=[value for value, _ in MessageStatus.choices]),
            ),
            models.CheckConstraint(
                name="outbox_message_error_class_known", condition=Q(error_class__in=["", *ERROR_CLASSES])
            ),
            models.CheckConstraint(
                name="outbox_message_says_what",
                condition=~Q(kind="") & ~Q(key="") & ~Q(subject="") & ~Q(cause=""),
            ),
            models.CheckConstraint(
                name="outbox_message_escalated_says_why",
                condition=~Q(status=MessageStatus.ESCALATED) | (~Q(reason="") & ~Q(error_class="")),
            ),
            models.CheckConstraint(
                name="outbox_message_is_held_while_waiting",
                condition=Q(lease_ends_at__isnull=True)
                | ~Q(status__in=["delivered", "escalated", "superseded"]),
            ),
            models.CheckConstraint(
                name="outbox_message_ended_says_when",
                condition=(~Q(status__in=["waiting", "escalated"]) | Q(ended_at__isnull=True))
                & (~Q(status__in=["delivered", "superseded"]) | Q(ended_at__isnull=False)),
            ),
        ]
        indexes = [
            # What is waiting, in the order of its causes: the rest is history, however long.
            models.Index(
                fields=["connection", "id"],
                name="outbox_message_waiting",
                condition=Q(status=MessageStatus.WAITING),
            ),
            models.Index(fields=["subject", "id"], name="outbox_message_subject"),
            models.Index(fields=["status", "id"], name="outbox_message_status"),
            models.Index(fields=["ended_at"], name="outbox_message_ended"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"

    @property
    def is_under_way(self) -> bool:
        return self.lease_ends_at is not None and self.lease_ends_at > timezone.now()

    def get_absolute_url(self) -> str:
        return reverse("admin:integrations_outboxmessage_change", args=[self.pk])


class DeliveryAttempt(models.Model):
    """One attempt to deliver a message. One that has no end belongs to a process that died: what became of it outside is
    not known."""

    message = models.ForeignKey(OutboxMessage, on_delete=models.CASCADE, related_name="delivery_attempts")
    number = models.PositiveIntegerField()
    fence = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=9, choices=AttemptOutcome.choices, default=AttemptOutcome.UNDER_WAY)
    error_class = models.CharField(max_length=13, blank=True)
    reason = models.TextField(blank=True)
    exchanges = models.JSONField(
        default=list,
        help_text="What was sent and answered, masked: method, url, sent, status, answer, milliseconds.",
    )
    holder = models.CharField(max_length=150)

    class Meta:
        ordering = ["message", "number"]
        constraints = [
            models.UniqueConstraint(fields=["message", "number"], name="delivery_attempt_numbered_once"),
            models.CheckConstraint(
                name="delivery_attempt_outcome_known",
                condition=Q(outcome__in=[value for value, _ in AttemptOutcome.choices]),
            ),
            models.CheckConstraint(
                name="delivery_attempt_error_class_known", condition=Q(error_class__in=["", *ERROR_CLASSES])
            ),
            models.CheckConstraint(
                name="delivery_attempt_ended_has_an_outcome",
                condition=Q(outcome=AttemptOutcome.UNDER_WAY, ended_at__isnull=True)
                | (~Q(outcome=AttemptOutcome.UNDER_WAY) & Q(ended_at__isnull=False)),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.message_id}, attempt {self.number}"

    @property
    def seconds(self) -> float | None:
        return (self.ended_at - self.started_at).total_seconds() if self.ended_at else None


class DeliveryPause(models.Model):
    """While a connection has one, nothing is delivered through it: a person has said so."""

    connection = models.OneToOneField(
        Connection, on_delete=models.CASCADE, primary_key=True, related_name="delivery_pause"
    )
    reason = models.CharField(max_length=500)
    paused_by = models.CharField(max_length=150)
    paused_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="delivery_pause_says_who_and_why", condition=~Q(reason="") & ~Q(paused_by="")
            )
        ]

    def __str__(self) -> str:
        return f"{self.connection.slug}: paused by {self.paused_by}"


def lease_end(now: datetime.datetime) -> datetime.datetime:
    """When a claim that is made or renewed now runs out."""
    return now + datetime.timedelta(seconds=settings.RUN_LEASE_SECONDS)
