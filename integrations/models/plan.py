"""What a run read, what it means to change, and what it remembers for the next one.

The plan's rows are the staging: a record that is new or looks different is written once, as a Change, and the plan
gives it its action in place. What is unchanged is never written at all. Fingerprints are 16 bytes (xxh3-128).
"""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from integrations.models.connection import Stream
from integrations.models.run import RunStatus, SyncRun
from registration.models import Student

FINGERPRINT_BYTES = 16
# Stands for what the source says of a record that it no longer has.
ABSENT = b""
# A rejected record is kept up to this many bytes; its beginning says enough to find it at the source.
MAX_RAW_BYTES = 16_384
# The rule of records that came several times and not alike: only the source can mend that.
DIFFERING_COPIES_RULE = "differing_copies"
# The rule of records that cannot stand beside what another record, system or person says.
ANOTHER_ROOM_RULE = "another_room"
# Rejected by what the plan holds and kept in canonical form, not as they came: a replay could not map them again.
UNREPLAYABLE_RULES = (DIFFERING_COPIES_RULE, ANOTHER_ROOM_RULE)


class ChangeAction(models.TextChoices):
    CREATE = "create", "Created"
    MODIFY = "modify", "Modified"
    VOID = "void", "Voided"
    SAME = "same", "Unchanged"  # looks different, means the same: only its fingerprint is learned
    KEEP = "keep", "Kept ours"  # the source says otherwise than a person, and the person counts


class ChangeQuerySet(models.QuerySet["Change"]):
    def effective(self) -> ChangeQuerySet:
        """Leave out records of which nothing is changed."""
        return self.exclude(action__in=[ChangeAction.SAME, ChangeAction.KEEP])

    def in_conflict(self) -> ChangeQuerySet:
        """Narrow to records that a person has edited and of which the source says something else."""
        return self.filter(conflict__isnull=False)


class Change(models.Model):
    """One record's step in one run: what it was, what it is to be, and the object that holds it afterwards.

    Amounts are the record's own, in minor units; `moved` is what of it reaches a bill, as an absolute difference.
    `object_id` is the ledger entry that the change posts (its id is reserved when the record is staged), or empty when
    it posts nothing. `conflict` says what a person had made of the record since the last sync: `amount` (minor units,
    or none where it was voided), `by`, `at` and `reason`.
    """

    run = models.ForeignKey(SyncRun, on_delete=models.CASCADE, related_name="changes")
    action = models.CharField(max_length=6, choices=ChangeAction.choices)
    is_absent = models.BooleanField(default=False, help_text="Voided because the feed no longer has it.")
    key = models.CharField(max_length=140)
    # No database constraint: students are never deleted, and the check would cost a look-up a row.
    student = models.ForeignKey(
        Student, on_delete=models.DO_NOTHING, db_constraint=False, null=True, related_name="changes"
    )
    object_id = models.BigIntegerField(null=True)
    raw_fingerprint = models.BinaryField(max_length=FINGERPRINT_BYTES)
    canonical_fingerprint = models.BinaryField(max_length=FINGERPRINT_BYTES)
    amount_before = models.BigIntegerField(null=True)
    amount_after = models.BigIntegerField(null=True)
    moved = models.BigIntegerField(db_default=0)
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    conflict = models.JSONField(null=True)
    is_kept = models.BooleanField(
        db_default=False, help_text="Of a held conflict: a person decided that the edit by hand stays."
    )

    objects = ChangeQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                name="change_action_known",
                condition=Q(action__in=[value for value, _ in ChangeAction.choices]),
            ),
        ]
        indexes = [
            models.Index(fields=["run", "key"], name="change_run_key"),
            # What moves most money comes first on the page of a plan.
            models.Index(fields=["run", "-moved", "id"], name="change_run_moved"),
        ]

    def __str__(self) -> str:
        return f"{self.get_action_display()} {self.key}"


class SyncLink(models.Model):
    """What was applied last of one record: the memory that makes the next sync cheap and absence noticeable."""

    stream = models.ForeignKey(Stream, on_delete=models.PROTECT, related_name="links")
    key = models.CharField(max_length=140)
    raw_fingerprint = models.BinaryField(max_length=FINGERPRINT_BYTES)
    canonical_fingerprint = models.BinaryField(max_length=FINGERPRINT_BYTES)
    object_id = models.BigIntegerField(null=True)
    amount = models.BigIntegerField(default=0)
    live = models.BooleanField()
    scope = models.CharField(
        max_length=32, default="", help_text="What the extract that had it was asked for."
    )
    # What the source says and we do not follow, because a person undid it: the canonical fingerprint of that value, or
    # no bytes where the source says nothing any more. It holds until the source says something else.
    pinned = models.BinaryField(max_length=FINGERPRINT_BYTES, null=True)
    change = models.ForeignKey(
        Change, on_delete=models.DO_NOTHING, db_constraint=False, null=True, db_index=False, related_name="+"
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["stream", "key"], name="sync_link_key_once_a_stream"),
            models.CheckConstraint(
                name="sync_link_object_only_while_live", condition=Q(object_id__isnull=True) | Q(live=True)
            ),
        ]
        indexes = [models.Index(F("object_id"), name="sync_link_object")]

    def __str__(self) -> str:
        return f"{self.stream} {self.key}"


class RunPage(models.Model):
    """One page that a run has read: its checkpoint, and the next run's memo of it."""

    run = models.ForeignKey(SyncRun, on_delete=models.CASCADE, related_name="read_pages")
    number = models.PositiveIntegerField()
    digest = models.BinaryField(max_length=FINGERPRINT_BYTES)
    records = models.PositiveIntegerField()
    next = models.TextField(blank=True, help_text="Where the page after it lies; empty after the last.")
    read_at = models.DateTimeField(auto_now_add=True, null=True)
    fingerprints = models.BinaryField(
        default=b"", help_text="Raw fingerprints of its records, 16 bytes each."
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["run", "number"], name="run_page_once_a_run"),
        ]

    def __str__(self) -> str:
        return f"Page {self.number} of run {self.run_id}"


class RejectionOutcome(models.TextChoices):
    ACCEPTED = "accepted", "Accepted since"
    REPEATED = "repeated", "Rejected again"
    CLEARED = "cleared", "Not rejected any more"


class RejectedRecordQuerySet(models.QuerySet["RejectedRecord"]):
    def open(self) -> RejectedRecordQuerySet:
        """Narrow to what still has to be mended: rejected by a run that was applied, and not settled by a later one."""
        return self.filter(outcome="", run__status=RunStatus.APPLIED)

    def of_stream(self, stream: Stream) -> RejectedRecordQuerySet:
        return self.filter(run__stream=stream)

    def replayable(self) -> RejectedRecordQuerySet:
        """Leave out what cannot be taken again from what was kept: records that were cut or whose copies differ."""
        return self.exclude(rule__in=UNREPLAYABLE_RULES).filter(raw_bytes__lte=MAX_RAW_BYTES).exclude(raw=b"")


class RejectedRecord(models.Model):
    """A record that was read and could not be used: what came, which rule it breaks, and what that means. It closes by
    itself when a later run accepts the record, or rejects it anew."""

    run = models.ForeignKey(SyncRun, on_delete=models.CASCADE, related_name="rejections")
    key = models.CharField(max_length=140, blank=True, help_text="Empty when the record has no readable key.")
    rule = models.CharField(max_length=60)
    field = models.CharField(max_length=60, blank=True)
    reason = models.TextField()
    value = models.CharField(
        max_length=40,
        blank=True,
        db_default="",
        default="",
        help_text="What stood in the way, where somebody can say here what it means: a code of a term.",
    )
    raw = models.BinaryField(max_length=MAX_RAW_BYTES)
    raw_bytes = models.PositiveIntegerField(help_text="How long the record was before it was cut.")
    amount = models.BigIntegerField(null=True, help_text="In minor units, where it could be read.")
    page = models.PositiveIntegerField(default=0)
    position = models.PositiveIntegerField(default=0, help_text="Its place on the page, from 1.")
    outcome = models.CharField(max_length=8, choices=RejectionOutcome.choices, blank=True, db_default="")
    closed_by = models.ForeignKey(
        SyncRun, on_delete=models.SET_NULL, null=True, blank=True, db_index=False, related_name="+"
    )
    replayed_by = models.ForeignKey(
        SyncRun, on_delete=models.SET_NULL, null=True, blank=True, related_name="replayed"
    )

    objects = RejectedRecordQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(name="rejected_record_says_why", condition=~Q(rule="") & ~Q(reason="")),
            models.CheckConstraint(
                name="rejected_record_outcome_known",
                condition=Q(outcome="") | Q(outcome__in=[value for value, _ in RejectionOutcome.choices]),
            ),
        ]
        indexes = [
            models.Index(fields=["run", "key"], name="rejected_record_run_key"),
            models.Index(fields=["run", "rule"], condition=Q(outcome=""), name="rejected_record_open"),
        ]

    def __str__(self) -> str:
        return f"{self.key or 'record without a key'}: {self.rule}"

    @property
    def raw_text(self) -> str:
        """The record as it came, for a page to show."""
        if not self.raw and self.raw_bytes:
            return f"No longer kept ({self.raw_bytes} bytes)."
        text = bytes(self.raw).decode("utf-8", "replace")
        return text if self.raw_bytes <= MAX_RAW_BYTES else f"{text}… ({self.raw_bytes} bytes in all)"
