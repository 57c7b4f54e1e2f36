"""Verification: whether the trail still says what was sealed, event by event, in bounded memory.

Nothing of the database is believed but what its digests bear out; what the chain cannot see of itself (that its end was
cut off, or all of it made anew) the exported heads see.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from django.db import connection

from audit.encoding import (
    event_columns,
    event_digest,
    instant_column,
    instant_of,
    microseconds,
    seal_digest,
)
from audit.heads import ExportedHead, exported_heads
from audit.models import AuditCheckpoint, AuditEvent, AuditSeal
from audit.refusals import missing_refusals
from audit.sealing import unsealed_ids
from audit.signing import VerifyingKey, is_signed, whose

_EVENT, _SEAL = AuditEvent._meta.db_table, AuditSeal._meta.db_table
BATCH: Final = 10_000
MAX_FAULTS: Final = 100
MAX_UNSEALED_NAMED: Final = 100
# Events are seen in the order of their time, but for transactions that take long. One that says to be this much older
# than another that was sealed before it was not written when it says.
BACKDATED_US: Final = 3600 * 1_000_000

# What can be wrong: its name, and what it means in words. {0} is the event or position, {1} and {2} say more.
_SENTENCES: Final = {
    "event_edited": "Event {0} was edited after it was sealed (position {1}): it no longer says what it said.",
    "event_deleted": "Event {0} was deleted after it was sealed (position {1}): it is no longer in the trail.",
    "event_backdated": "Event {0} says it was written at {1}, but was not in the trail an hour later: it was inserted by hand.",
    "seal_edited": "Seal {1} of event {0} was edited: its own digest does not hold.",
    "seals_missing": "Positions {1} to {2} are missing from the chain: seals were deleted.",
    "chain_broken": "Seal {1} of event {0} does not follow the one before it: seals were reordered, inserted or replaced there.",
    "seals_beneath_checkpoint": "{1} seals lie at or beneath the checkpoint at {2}, whose rows were archived: rows were inserted, or an archiving broke off.",
    "checkpoint_forged": "The checkpoint at {1} carries no valid signature by {2}: rows up to there were removed without an archive of ours.",
    "head_forged": "The exported head {0} {1}: it was altered, or signed with another key.",
    "refusal_missing": "{1} does not refuse {2} any more: its trigger is missing, switched off or not the one that the migrations made.",
    "tail_cut": "The chain ends at position {1}, but the head {0} had seen {2}: {3} events after it were cut from the tail.",
    "chain_replaced": "Position {1} has another digest than the head {0} had seen: the chain was made anew from before there.",
}


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong: which rule, where, and what it means in words."""

    rule: str
    sentence: str
    event: int | None = None
    position: int | None = None


@dataclass
class TrailVerification:
    """What was checked, and what is wrong. Of many faults the first are kept, and all are counted."""

    events: int = 0
    sealed: int = 0
    unsealed: int = 0
    unsealed_events: list[int] = field(default_factory=list)
    position: int = 0
    digest: str = ""
    archived_to: int = 0
    heads: int = 0
    fault_count: int = 0
    faults: list[Fault] = field(default_factory=list)

    def add(self, rule: str, *words: Any, event: int | None = None, position: int | None = None) -> None:
        self.fault_count += 1
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(Fault(rule, _SENTENCES[rule].format(*words), event, position))

    def as_json(self) -> dict[str, Any]:
        faults = [
            {"rule": fault.rule, "event": fault.event, "position": fault.position, "sentence": fault.sentence}
            for fault in self.faults
        ]
        kept = {name: value for name, value in vars(self).items() if name != "faults"}
        return {"status": "failed" if self.fault_count else "ok", **kept, "faults": faults}


def verify_trail(keys: Sequence[VerifyingKey] | None = None) -> TrailVerification:
    """Check every seal, every sealed event, every checkpoint and every exported head, name what has no seal yet, and what the
    database ought to refuse and does not. Signatures are held against `keys`, by default those of AUDIT_SIGNING_KEY."""
    found = TrailVerification()
    checkpoint = _check_checkpoints(found, keys)
    newest_at = _check_chain(found, checkpoint)
    _check_unsealed(found, newest_at)
    _check_heads(found, keys)
    for table, event in missing_refusals():
        found.add("refusal_missing", None, table, event)
    found.events = found.unsealed + found.sealed
    return found


# --- the chain --------------------------------------------------------------------------------------------


def _check_checkpoints(
    found: TrailVerification, keys: Sequence[VerifyingKey] | None
) -> AuditCheckpoint | None:
    """The newest checkpoint, after all of them were checked."""
    checkpoints = list(AuditCheckpoint.objects.order_by("position"))
    for checkpoint in checkpoints:
        if not is_signed(checkpoint.statement(), keys):
            words = (checkpoint.position, whose(keys))
            found.add("checkpoint_forged", None, *words, position=checkpoint.position)
    newest = checkpoints[-1] if checkpoints else None
    if newest:
        found.archived_to = newest.position
        beneath = AuditSeal.objects.filter(position__lte=newest.position).count()
        if beneath:
            found.add("seals_beneath_checkpoint", None, beneath, newest.position, position=newest.position)
    return newest


def _check_chain(found: TrailVerification, checkpoint: AuditCheckpoint | None) -> int:
    """Walk the chain from its start, and return the newest time that a sealed event bears, in microseconds."""
    link = Link(checkpoint.position, bytes(checkpoint.digest)) if checkpoint else Link()
    found.position, found.digest = link.position, link.digest.hex()
    for row in sealed_rows(link.position):
        link = check_link(found, link, row)
        found.sealed += row[EVENT_AT] is not None
        found.position, found.digest = link.position, link.digest.hex()
    return link.newest_at


@dataclass(frozen=True)
class Link:
    """How far the walk has come: the last position, the digest there, and the newest time of an event so far."""

    position: int = 0
    digest: bytes = bytes(32)
    newest_at: int = 0


# Where a row of the walk has what: the seal's columns first, the event's after them.
_POSITION, _EVENT_ID, _EVENT_DIGEST, _PREVIOUS, _DIGEST, _SEALED_AT, EVENT_AT = range(7)


def check_link(found: TrailVerification, before: Link, row: tuple[Any, ...]) -> Link:
    """Check one seal and its event against the link before, and return the link that they make."""
    position, event, digest, previous, own, sealed_at = row[:EVENT_AT]
    if position != before.position + 1:
        found.add("seals_missing", None, before.position + 1, position - 1, position=before.position + 1)
    elif previous != before.digest:
        found.add("chain_broken", event, position, event=event, position=position)
    if own != _digest_of(position, event, sealed_at, digest, previous):
        found.add("seal_edited", event, position, event=event, position=position)
    at = row[EVENT_AT + 1]
    if row[EVENT_AT] is None:
        found.add("event_deleted", event, position, event=event, position=position)
    elif event_digest(row[EVENT_AT:]) != digest:
        found.add("event_edited", event, position, event=event, position=position)
    else:
        at = microseconds(at)
        if at < before.newest_at - BACKDATED_US:
            found.add("event_backdated", event, instant_of(at), event=event, position=position)
        if at > before.newest_at:
            return Link(position, own, at)
    return Link(position, own, before.newest_at)


def _digest_of(position: int, event: int, sealed_at: Any, digest: bytes, previous: bytes) -> bytes:
    sealed_us = microseconds(sealed_at)
    return seal_digest(position, event, sealed_us, digest, previous) if isinstance(sealed_us, int) else b""


def sealed_rows(after: int) -> Iterator[tuple[Any, ...]]:
    """Every seal after a position, with its event (NULLs where it is gone), in order."""
    sql = (
        f"SELECT seal.position, seal.event_id, seal.event_digest, seal.previous_digest, seal.digest, "
        f"{instant_column('seal.sealed_at')}, {event_columns('event')} FROM {_SEAL} AS seal "
        f"LEFT JOIN {_EVENT} AS event ON event.id = seal.event_id "
        "WHERE seal.position > %s ORDER BY seal.position LIMIT %s"
    )
    while True:
        with connection.cursor() as cursor:
            cursor.execute(sql, [after, BATCH])
            rows = cursor.fetchall()
        yield from rows
        if len(rows) < BATCH:
            return
        after = rows[-1][_POSITION]


# --- what the chain does not hold ---------------------------------------------------------------------------


def _check_unsealed(found: TrailVerification, newest_at: int) -> None:
    """Name the events that have no seal yet, and those among them that nobody can have written when they say."""
    found.unsealed_events = unsealed_ids(MAX_UNSEALED_NAMED)
    if not found.unsealed_events:
        return
    no_seal = AuditEvent.objects.unsealed()
    found.unsealed = no_seal.count()
    if newest_at:
        backdated = no_seal.filter(at__lt=instant_of(newest_at - BACKDATED_US)).order_by("id")
        for pk, at in backdated.values_list("id", "at")[:MAX_FAULTS]:
            found.add("event_backdated", pk, at, event=pk)


def _check_heads(found: TrailVerification, keys: Sequence[VerifyingKey] | None) -> None:
    """Hold every exported head against the chain."""
    heads: list[ExportedHead] = []
    for head in exported_heads(keys):
        found.heads += 1
        if head.fault:
            found.add("head_forged", head.name, head.fault)
        else:
            heads.append(head)
    digests = _digests_at({head.position for head in heads})
    for head in heads:
        if head.position > found.position:
            words = (head.name, found.position, head.position, head.position - found.position)
            found.add("tail_cut", *words, position=found.position + 1)
        elif digests.get(head.position, head.digest) != head.digest:
            found.add("chain_replaced", head.name, head.position, position=head.position)


def _digests_at(positions: set[int]) -> dict[int, bytes]:
    """The digests that the chain and its checkpoints have at these positions; what was archived is not among them."""
    found: dict[int, bytes] = {}
    ordered = sorted(positions)
    for start in range(0, len(ordered), 500):
        part = ordered[start : start + 500]
        for model in (AuditCheckpoint, AuditSeal):
            rows = model._default_manager.filter(position__in=part).values_list("position", "digest")
            found.update({position: bytes(digest) for position, digest in rows})
    return found
