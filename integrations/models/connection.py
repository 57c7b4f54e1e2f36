"""A configured external system, and the streams of records that are pulled from it."""

from __future__ import annotations

import datetime
import uuid
from functools import reduce
from operator import or_
from typing import Any
from urllib.parse import urlsplit

import orjson
import xxhash
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q, Value

from apiauth.sealed import SealedJSONField
from integrations.models.schedule import (
    MAX_INTERVAL_MINUTES,
    MIN_INTERVAL_MINUTES,
    Blackout,
    Schedule,
    ScheduleRefused,
)

# What the database itself can see of a cron expression: minute fields that come again sooner than every five minutes.
# The others, such as "1,3 * * * *", are for `Schedule.check`.
_TOO_OFTEN_IN_CRON = ("* ", "*/1 ", "*/2 ", "*/3 ", "*/4 ")


class ConflictPolicy(models.TextChoices):
    """What counts when a person has edited a record and the source says something else."""

    HOLD = "hold", "Hold the plan: a person decides"
    SOURCE = "source_wins", "The source wins"
    LOCAL = "local_wins", "The edit by hand wins"


class ConnectionQuerySet(models.QuerySet["Connection"]):
    def present(self) -> ConnectionQuerySet:
        """Leave out what was archived."""
        return self.filter(archived_at__isnull=True)


class Connection(models.Model):
    """One configured instance of a connector. Deleting archives it: its history stays."""

    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    slug = models.SlugField(max_length=60, unique=True)
    name = models.CharField(max_length=120)
    connector = models.CharField(max_length=40)
    enabled = models.BooleanField(default=True)
    base_url = models.URLField(max_length=500)
    auth_type = models.CharField("authentication", max_length=20, default="none")
    secrets = SealedJSONField(bound_to="uid", default=b"", editable=False)
    certificate_expires_at = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="Until when the client certificate among the secrets is good, where there is one.",
    )
    every_minutes = models.PositiveIntegerField(
        null=True,
        blank=True,
        default=1440,
        help_text="Minutes between two syncs, 5 or more.",
    )
    time_of_day = models.TimeField(
        "daily at", null=True, blank=True, help_text="When it syncs every day, such as 02:00."
    )
    cron = models.CharField(
        max_length=100,
        blank=True,
        default="",
        db_default="",
        help_text="When it syncs, such as 0 2 * * 1-5: weekdays at 02:00.",
    )
    time_zone = models.CharField(
        max_length=64,
        blank=True,
        default="",
        db_default="",
        help_text="Whose clocks time of day, cron and blackouts go by, such as America/Chicago; empty: those of the office.",
    )
    jitter_minutes = models.PositiveIntegerField(
        "jitter",
        default=0,
        db_default=0,
        help_text="Runs start within so many minutes after their time, spread evenly.",
    )
    blackouts = models.JSONField(
        default=list,
        blank=True,
        db_default=Value([], models.JSONField()),
        help_text="When no scheduled run starts; one that would starts afterwards.",
    )
    timeouts = models.JSONField(default=dict, blank=True)
    guards = models.JSONField(default=dict, blank=True)
    limits = models.JSONField(default=dict, blank=True)
    settings = models.JSONField(default=dict, blank=True)
    four_eyes = models.BooleanField(
        default=False, help_text="Whoever edited the connection or started a run may not approve its plan."
    )
    conflicts = models.CharField(
        max_length=12,
        choices=ConflictPolicy.choices,
        default=ConflictPolicy.HOLD,
        db_default=ConflictPolicy.HOLD,
        help_text="What counts when somebody has edited a record by hand and the source says something else.",
    )
    changed_by = models.CharField(max_length=150, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)
    archived_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = ConnectionQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                name="connection_interval_not_under_5_minutes",
                condition=Q(every_minutes__isnull=True) | Q(every_minutes__gte=MIN_INTERVAL_MINUTES),
                violation_error_message=f"A connection syncs at most every {MIN_INTERVAL_MINUTES} minutes.",
            ),
            models.CheckConstraint(
                name="connection_interval_not_over_a_year",
                condition=Q(every_minutes__isnull=True) | Q(every_minutes__lte=MAX_INTERVAL_MINUTES),
                violation_error_message="A connection syncs at least once a year; leave it empty to sync by hand.",
            ),
            models.CheckConstraint(
                name="connection_one_kind_of_schedule",
                condition=Q(every_minutes__isnull=True, time_of_day__isnull=True)
                | Q(every_minutes__isnull=True, cron="")
                | Q(time_of_day__isnull=True, cron=""),
                violation_error_message="A schedule is an interval, a time of day or a cron expression: one of them.",
            ),
            models.CheckConstraint(
                name="connection_cron_not_under_5_minutes",
                condition=~reduce(or_, (Q(cron__startswith=often) for often in _TOO_OFTEN_IN_CRON)),
                violation_error_message=f"A connection syncs at most every {MIN_INTERVAL_MINUTES} minutes.",
            ),
            models.CheckConstraint(
                name="connection_jitter_within_half_an_interval",
                condition=Q(every_minutes__isnull=True) | Q(jitter_minutes__lte=F("every_minutes") / 2),
                violation_error_message="The jitter is at most half of the time between two syncs.",
            ),
            models.CheckConstraint(
                name="connection_conflicts_known",
                condition=Q(conflicts__in=[value for value, _ in ConflictPolicy.choices]),
            ),
            models.CheckConstraint(
                name="connection_named",
                condition=~Q(slug="") & ~Q(name="") & ~Q(connector="") & ~Q(base_url=""),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def origin(self) -> str:
        """Scheme, host and port of the base URL: what a secret is bound to."""
        return origin_of(self.base_url)

    @property
    def schedule(self) -> Schedule:
        """When its streams are due."""
        return Schedule(
            every_minutes=self.every_minutes,
            time_of_day=self.time_of_day,
            cron=self.cron,
            time_zone=self.time_zone or settings.TIME_ZONE,
            jitter_minutes=self.jitter_minutes,
            blackouts=tuple(Blackout.from_json(part) for part in self.blackouts),
        )

    def clean(self) -> None:
        """Refuse a schedule that cannot be kept, as the document does."""
        try:
            self.schedule.check()
        except ScheduleRefused as error:
            raise ValidationError(f"Schedule: {error}.") from None

    @property
    def is_usable(self) -> bool:
        return self.enabled and self.archived_at is None


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL, in one spelling (RFC 6454): the scheme's own port is left out."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    port = parts.port if parts.port != {"http": 80, "https": 443}.get(scheme) else None
    host = (parts.hostname or "").lower()
    return f"{scheme}://{host}" + (f":{port}" if port else "")


class StreamQuerySet(models.QuerySet["Stream"]):
    def active(self) -> StreamQuerySet:
        """Narrow to streams that are synced: declared in their connection, which is enabled and present."""
        return self.filter(declared=True, connection__enabled=True, connection__archived_at__isnull=True)


class Stream(models.Model):
    """One dataset of one connection: where its records lie, how they map, and when they are due."""

    connection = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="streams")
    dataset = models.CharField(max_length=40)
    declared = models.BooleanField(
        default=True,
        help_text="Whether the connection's document names it. Its history stays when it no longer does.",
    )
    endpoint = models.JSONField(default=dict, blank=True)
    mapping = models.JSONField(default=dict, blank=True)
    known_with = models.CharField(
        max_length=32,
        blank=True,
        help_text="Version of the mapping that the links' raw fingerprints were read with.",
    )
    known_scope = models.CharField(
        max_length=32, blank=True, help_text="What the last applied extract was asked for, as a digest."
    )
    watermark = models.CharField(
        max_length=64,
        blank=True,
        db_default="",
        help_text="Since when the next incremental extract asks; empty: it reads everything.",
    )
    complete_at = models.DateTimeField(
        null=True, blank=True, help_text="When the last complete extract that was applied began."
    )
    next_slot_at = models.DateTimeField(
        null=True, blank=True, help_text="The nominal moment that the next scheduled run is for."
    )
    next_run_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="When that run starts: the slot, its jitter, and out of any blackout.",
    )

    objects = StreamQuerySet.as_manager()

    class Meta:
        ordering = ["connection", "dataset"]
        constraints = [
            models.UniqueConstraint(fields=["connection", "dataset"], name="stream_once_a_connection"),
        ]
        indexes = [models.Index(F("next_run_at"), name="stream_next_run")]

    def __str__(self) -> str:
        return f"{self.connection.slug}/{self.dataset}"

    @property
    def is_in_use(self) -> bool:
        return self.declared and self.connection.is_usable

    @property
    def params(self) -> dict[str, str]:
        """The request parameters that the administrator gave: their values are treated as secrets."""
        params: dict[str, Any] = self.connection.secrets.get("params", {})
        return dict(params.get(self.dataset, {}))

    @property
    def scope(self) -> str:
        """A digest of what an extract is asked for: its path and parameters. What it does not bring is absent only if
        it lies within that, so that a filter that moves on to the next year voids nothing of the last one."""
        asked_for = [self.endpoint.get("path", ""), sorted(self.params.items())]
        return xxhash.xxh3_128_hexdigest(orjson.dumps(asked_for))

    def slot_after(self, moment: datetime.datetime) -> datetime.datetime | None:
        """The first slot after `moment`; never, where only a person starts the stream."""
        return self.connection.schedule.slot_after(moment, self.next_slot_at or self.next_run_at)

    def wait_for(self, slot: datetime.datetime | None) -> None:
        """Make `slot` the next one; None: no run starts by itself. The caller saves."""
        self.next_slot_at = slot
        self.next_run_at = slot and self.start_of(slot)

    def start_of(self, slot: datetime.datetime) -> datetime.datetime:
        """When the run for a slot may start."""
        return self.connection.schedule.start_of(slot, salt=str(self.pk))
