"""A configured external system, and the streams of records that are pulled from it."""

from __future__ import annotations

import datetime
import uuid
from typing import Any
from urllib.parse import urlsplit

import orjson
import xxhash
from django.db import models
from django.db.models import F, Q

from integrations.models.sealed import SealedJSONField

MIN_INTERVAL_MINUTES = 5
MAX_INTERVAL_MINUTES = 365 * 24 * 60


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
        help_text="Minutes between two syncs; empty: only when somebody asks.",
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

    def due(self, now: datetime.datetime) -> StreamQuerySet:
        """Narrow to active streams whose time has come and that no live run is working on."""
        return self.active().filter(next_run_at__lte=now).exclude(runs__status__in=["queued", "running"])


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
    next_run_at = models.DateTimeField(null=True, blank=True)

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

    def time_after(self, now: datetime.datetime) -> datetime.datetime | None:
        """When the stream is due after a run at `now`; never, where only a person starts it."""
        minutes = self.connection.every_minutes
        return now + datetime.timedelta(minutes=minutes) if minutes else None
