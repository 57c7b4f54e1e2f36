"""One sync run: what was asked, what came of it, and who holds it."""

from __future__ import annotations

import datetime

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.urls import reverse
from django.utils import timezone

from integrations.models.connection import Stream


class RunStatus(models.TextChoices):
    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    APPLIED = "applied", "Applied"
    PREVIEWED = "previewed", "Previewed"
    HELD = "held", "Held"
    APPROVED = "approved", "Approved"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"
    SUPERSEDED = "superseded", "Superseded"
    REFUSED = "refused", "Refused"


LIVE_STATUSES = [RunStatus.QUEUED, RunStatus.RUNNING]


class RunStep(models.TextChoices):
    WAITING = "waiting", "Waiting"
    EXTRACT = "extract", "Reading"
    PLAN = "plan", "Planning"
    GUARD = "guard", "Checking"
    APPLY = "apply", "Applying"
    DONE = "done", "Done"


class RunTrigger(models.TextChoices):
    SCHEDULE = "schedule", "Schedule"
    ADMIN = "admin", "Sync now"
    COMMAND = "command", "Command"
    APPROVAL = "approval", "Approval"
    UNDO = "undo", "Undo"
    REPLAY = "replay", "Replay"


class SyncRunQuerySet(models.QuerySet["SyncRun"]):
    def live(self) -> SyncRunQuerySet:
        """Narrow to runs that are queued or running."""
        return self.filter(status__in=LIVE_STATUSES)

    def waiting_since(self, moment: datetime.datetime) -> SyncRunQuerySet:
        """Narrow to queued runs that nobody has taken up since `moment`: their ring was lost."""
        return self.filter(status=RunStatus.QUEUED, requested_at__lt=moment)

    def held(self) -> SyncRunQuerySet:
        """Narrow to plans that wait for a person."""
        return self.filter(status=RunStatus.HELD)

    def lapsed(self, now: datetime.datetime) -> SyncRunQuerySet:
        """Narrow to running runs whose lease ran out: whoever held them has died or stalled."""
        return self.filter(status=RunStatus.RUNNING, lease__expires_at__lt=now)


class SyncRun(models.Model):
    stream = models.ForeignKey(Stream, on_delete=models.PROTECT, related_name="runs")
    status = models.CharField(max_length=12, choices=RunStatus.choices, default=RunStatus.QUEUED)
    step = models.CharField(max_length=12, choices=RunStep.choices, default=RunStep.WAITING)
    trigger = models.CharField(max_length=12, choices=RunTrigger.choices)
    started_by = models.CharField(max_length=150, help_text="Who or what asked for the run, as text.")
    is_dry_run = models.BooleanField("dry run", default=False)
    is_complete = models.BooleanField(default=True, help_text="Whether the extract was of everything.")
    asked_since = models.CharField(
        max_length=64, blank=True, db_default="", help_text="Of an incremental extract: since when it asked."
    )
    slot_at = models.DateTimeField(
        null=True, blank=True, help_text="Of a scheduled run: the slot that it is for. A slot has one run."
    )
    requested_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    # What was read, and what was applied of it (for dry and held runs: what would be). The run's `certificate`
    # has the sums of money in minor units under the same names.
    pages = models.PositiveIntegerField(default=0)
    read = models.PositiveIntegerField(default=0)
    created = models.PositiveIntegerField(default=0)
    modified = models.PositiveIntegerField(default=0)
    voided = models.PositiveIntegerField(default=0)
    absent = models.PositiveIntegerField(
        default=0, help_text="How many of the voided were missing from the feed."
    )
    unchanged = models.PositiveIntegerField(default=0)
    copies = models.PositiveIntegerField(default=0)
    rejected = models.PositiveIntegerField(default=0)
    held = models.PositiveIntegerField(default=0)
    live_before = models.PositiveIntegerField(default=0)
    live_after = models.PositiveIntegerField(default=0)
    certificate = models.JSONField(default=dict, blank=True)

    reason = models.TextField(blank=True, help_text="Why it failed or is held, in words.")
    technical = models.TextField(blank=True, help_text="What an engineer needs to know of a failure.")
    plan_checksum = models.CharField(max_length=64, blank=True)

    # Of a held plan: which guards tripped, and what a person decided.
    trips = models.JSONField(default=list, blank=True)
    decided_by = models.CharField(max_length=150, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)
    decision_reason = models.TextField(blank=True)
    # Of a run that carries a decision out: the held plan that is its ceiling, and whether what tripped stays out.
    carries_out = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="carried_out_by"
    )
    withholds_tripped = models.BooleanField(default=False)
    undoes = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="undone_by"
    )

    objects = SyncRunQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["stream"],
                condition=Q(status__in=["queued", "running"]),
                name="sync_run_one_live_for_a_stream",
            ),
            # NULL is no slot: runs that a person or a command asks for are as many as they like.
            models.UniqueConstraint(fields=["stream", "slot_at"], name="sync_run_one_for_a_slot"),
            models.CheckConstraint(
                name="sync_run_status_known",
                condition=Q(status__in=[value for value, _ in RunStatus.choices]),
            ),
            models.CheckConstraint(
                name="sync_run_step_known", condition=Q(step__in=[value for value, _ in RunStep.choices])
            ),
            models.CheckConstraint(
                name="sync_run_trigger_known",
                condition=Q(trigger__in=[value for value, _ in RunTrigger.choices]),
            ),
            models.CheckConstraint(
                name="sync_run_ended_says_when",
                condition=Q(status__in=["queued", "running"], finished_at__isnull=True)
                | (~Q(status__in=["queued", "running"]) & Q(finished_at__isnull=False)),
            ),
            models.CheckConstraint(
                name="sync_run_failed_says_why", condition=~Q(status__in=["failed", "held"]) | ~Q(reason="")
            ),
            models.CheckConstraint(
                name="sync_run_read_is_accounted_for",
                condition=~Q(status="applied")
                | Q(
                    read=F("created")
                    + F("modified")
                    + F("voided")
                    - F("absent")
                    + F("unchanged")
                    + F("copies")
                    + F("rejected")
                    + F("held")
                ),
            ),
            models.CheckConstraint(
                name="sync_run_live_records_add_up",
                condition=~Q(status="applied") | Q(live_after=F("live_before") + F("created") - F("voided")),
            ),
            models.CheckConstraint(
                name="sync_run_decision_says_who_when_and_why",
                condition=~Q(status__in=["approved", "refused"])
                | (Q(decided_at__isnull=False) & ~Q(decided_by="") & ~Q(decision_reason="")),
            ),
        ]
        permissions = [
            ("decide_syncrun", "Can approve, withhold, refuse, undo and cancel runs"),
            ("decide_college_syncrun", "Can decide about runs that concern only the own college"),
        ]
        indexes = [
            models.Index(fields=["stream", "-id"], name="sync_run_stream_newest"),
            # All that the charts of days are made of: they read no row, however large its certificate is.
            models.Index(
                fields=["finished_at", "status", "created", "modified", "voided", "rejected"],
                name="sync_run_days",
            ),
        ]

    def __str__(self) -> str:
        return f"Run {self.pk} of {self.stream}"

    def get_absolute_url(self) -> str:
        return reverse("admin:integrations_syncrun_change", args=[self.pk])

    @property
    def replay(self) -> SyncRun | None:
        """The replay that this run is or carries out: it reads kept records instead of the source."""
        asked = self.carries_out or self
        return asked if asked.trigger == RunTrigger.REPLAY else None

    @property
    def is_live(self) -> bool:
        return self.status in LIVE_STATUSES

    @property
    def seconds(self) -> float:
        """How long it ran, or has been running."""
        if self.started_at is None:
            return 0.0
        return round(((self.finished_at or timezone.now()) - self.started_at).total_seconds(), 3)

    @property
    def is_plan_only(self) -> bool:
        """Whether its counts say what would be done rather than what was."""
        return self.status != RunStatus.APPLIED


class RunLease(models.Model):
    """Who holds a running run, and until when. A table of its own, so that a heartbeat locks nothing else.

    `fence` grows each time the run changes hands. Whoever applies a plan checks it inside the applying
    transaction, so a process that slept through its lease cannot apply what another has taken over.
    """

    run = models.OneToOneField(SyncRun, on_delete=models.CASCADE, primary_key=True, related_name="lease")
    fence = models.PositiveIntegerField(default=1)
    holder = models.CharField(max_length=120)
    heartbeat_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    # How far the work has come, for whoever takes it over: which state of the connection was read, and the plan's
    # certificate (integrations/sync/certificate.py) once there is a plan.
    connection_changed_at = models.DateTimeField(null=True)
    planned_at = models.DateTimeField(null=True)
    plan = models.JSONField(default=dict, db_default={})

    class Meta:
        indexes = [models.Index(fields=["expires_at"], name="run_lease_expiry")]

    def __str__(self) -> str:
        return f"Lease of run {self.run_id} held by {self.holder}"

    @staticmethod
    def end(now: datetime.datetime) -> datetime.datetime:
        """When a lease that is renewed `now` runs out."""
        return now + datetime.timedelta(seconds=settings.RUN_LEASE_SECONDS)
