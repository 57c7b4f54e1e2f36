"""What proves the trail: one seal for each event, each holding the digest of the one before, and checkpoints."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any, Final

from django.db import models
from django.db.models.functions import Length
from django.db.models.lookups import Exact

DIGEST_BYTES: Final = 32  # SHA-256
# What the first seal names as the digest before it.
GENESIS: Final = bytes(DIGEST_BYTES)


@dataclass(frozen=True)
class Head:
    """Where a chain ends: its last position, the digest there, and when that was sealed."""

    position: int = 0
    digest: bytes = GENESIS
    sealed_at: datetime.datetime | None = None


def _is_whole(column: str) -> Any:
    """A condition: the column holds a digest of its full length."""
    return Exact(Length(column), DIGEST_BYTES)


class AuditSealQuerySet(models.QuerySet["AuditSeal"]):
    def head(self) -> Head:
        """The end of the chain: its newest seal, or the checkpoint that stands for all of them."""
        newest = self.order_by("-position").values_list("position", "digest", "sealed_at").first()
        if newest:
            return Head(newest[0], bytes(newest[1]), newest[2])
        return AuditCheckpoint.objects.newest()


class AuditSeal(models.Model):
    """One link of the chain. Positions run from 1 without a gap, in order of discovery.

    `digest` is over position, event, its digest, the digest before and the time (audit/encoding.py). `event_id` is no
    foreign key: the chain has to outlive an event that somebody deleted past the triggers, and say so.
    """

    position = models.BigIntegerField(primary_key=True)
    event_id = models.BigIntegerField()
    event_digest = models.BinaryField(max_length=DIGEST_BYTES)
    previous_digest = models.BinaryField(max_length=DIGEST_BYTES)
    digest = models.BinaryField(max_length=DIGEST_BYTES)
    sealed_at = models.DateTimeField()

    objects = AuditSealQuerySet.as_manager()

    class Meta:
        ordering = ["-position"]
        constraints = [
            models.UniqueConstraint(fields=["event_id"], name="audit_seal_one_an_event"),
            models.CheckConstraint(name="audit_seal_position_counts", condition=models.Q(position__gt=0)),
            models.CheckConstraint(
                name="audit_seal_digests_whole",
                condition=models.Q(_is_whole("event_digest"))
                & models.Q(_is_whole("previous_digest"))
                & models.Q(_is_whole("digest")),
            ),
        ]

    def __str__(self) -> str:
        return f"seal {self.position} of event {self.event_id}"


class AuditCheckpointQuerySet(models.QuerySet["AuditCheckpoint"]):
    def newest(self) -> Head:
        """Where the rows that are still here begin: after this position, with this digest before them."""
        newest = self.order_by("-position").values_list("position", "digest", "archived_at").first()
        return Head(newest[0], bytes(newest[1]), newest[2]) if newest else Head()


class AuditCheckpoint(models.Model):
    """Stands for every event and seal up to a position: they are in an archive whose digest this is, and may go.

    `signature` is the archive's own, over what the checkpoint says, so that nobody makes one without the signing key.
    """

    position = models.BigIntegerField(primary_key=True)
    digest = models.BinaryField(max_length=DIGEST_BYTES)
    first_position = models.BigIntegerField()
    archive_name = models.CharField(max_length=200)
    archive_digest = models.BinaryField(max_length=DIGEST_BYTES)
    archived_at = models.DateTimeField()
    archived_by = models.CharField(max_length=150)
    key = models.CharField(max_length=16)
    signature = models.CharField(max_length=88)

    objects = AuditCheckpointQuerySet.as_manager()

    class Meta:
        ordering = ["-position"]
        constraints = [
            models.CheckConstraint(
                name="audit_checkpoint_range_counts",
                condition=models.Q(first_position__gt=0) & models.Q(position__gte=models.F("first_position")),
            ),
            models.CheckConstraint(
                name="audit_checkpoint_digests_whole",
                condition=models.Q(_is_whole("digest")) & models.Q(_is_whole("archive_digest")),
            ),
            models.CheckConstraint(name="audit_checkpoint_signed", condition=~models.Q(signature="")),
        ]

    def __str__(self) -> str:
        return f"checkpoint at {self.position}"

    def statement(self) -> dict[str, Any]:
        """What the checkpoint says, as it is signed, with its key and signature."""
        return {
            "matricula_audit_checkpoint": 1,
            "first_position": self.first_position,
            "position": self.position,
            "digest": bytes(self.digest).hex(),
            "archive_name": self.archive_name,
            "archive_digest": bytes(self.archive_digest).hex(),
            "archived_at": self.archived_at.isoformat(),
            "archived_by": self.archived_by,
            "key": self.key,
            "signature": self.signature,
        }
