"""Keeping what an attempt came to: done, tried again, or put before a person. All of it, or nothing, and only while the
claim holds."""

from __future__ import annotations

import datetime
from enum import StrEnum
from typing import Any

import structlog
from django.db import transaction
from django.utils import timezone

import audit
from integrations.alerts import notice_deliveries
from integrations.effects import EFFECTS
from integrations.models import DeliveryAttempt, OutboxMessage
from integrations.models.outbox import AttemptOutcome, MessageStatus
from integrations.outbox.claim import Claim
from integrations.outbox.verdict import Verdict

log = structlog.get_logger(__name__)


class Settled(StrEnum):
    """What became of a message after an attempt."""

    DELIVERED = "delivered"
    FAILED = "failed"  # and is tried again
    BLOCKED = "blocked"
    ESCALATED = "escalated"
    POSTPONED = "postponed"  # nothing was sent
    SUPERSEDED = "superseded"
    LOST = "lost"  # another process has taken it over


@transaction.atomic
def settle(claim: Claim, verdict: Verdict, exchanges: list[dict[str, Any]]) -> Settled:
    """Keep what the claim's attempt came to, and let the message go on from there."""
    message = claim.held().select_for_update(of=("self",)).select_related("connection").first()
    _keep_attempt(claim, verdict, exchanges)
    if message is None:
        log.warning("outbox.claim_lost", message=claim.message.pk, fence=claim.fence)
        return Settled.LOST
    message.lease_ends_at = None
    message.is_uncertain = verdict.is_uncertain or (message.is_uncertain and not verdict.is_made)
    if verdict.outcome is not AttemptOutcome.DELIVERED:
        message.error_class, message.reason = verdict.error_class, verdict.words
    settled = _next(message, verdict)
    message.save()
    return settled


def _keep_attempt(claim: Claim, verdict: Verdict, exchanges: list[dict[str, Any]]) -> None:
    if not verdict.is_made:
        claim.attempt.delete()
        return
    DeliveryAttempt.objects.filter(pk=claim.attempt.pk).update(
        ended_at=timezone.now(),
        outcome=verdict.outcome,
        error_class=verdict.error_class,
        reason=verdict.words,
        exchanges=exchanges,
    )


def _next(message: OutboxMessage, verdict: Verdict) -> Settled:
    """Change the message to what follows from the verdict, and let its effect know."""
    effect = EFFECTS[message.kind]
    if verdict.outcome is AttemptOutcome.DELIVERED:
        _end(message, MessageStatus.DELIVERED)
        message.error_class, message.reason, message.is_uncertain = "", "", False
        effect.delivered(message, verdict.result)
        return Settled.DELIVERED
    if not verdict.is_made:
        message.attempts -= 1
    message.failures += verdict.is_made and verdict.is_counted
    newer = OutboxMessage.objects.waiting().filter(subject=message.subject, pk__gt=message.pk)
    if newer.exists():
        # What was asked for meanwhile is what counts; whether this came about first, that one has to find out.
        if message.is_uncertain:
            newer.update(is_uncertain=True)
        _end(message, MessageStatus.SUPERSEDED)
        return Settled.SUPERSEDED
    if verdict.is_final or message.failures > len(effect.retry_after):
        return _escalate(message, verdict)
    message.due_at = verdict.again_at or timezone.now() + effect.retry_after[message.failures - 1]
    if not verdict.is_made:
        return Settled.POSTPONED
    if verdict.outcome is AttemptOutcome.BLOCKED:
        effect.blocked(message, verdict.words)
        return Settled.BLOCKED
    return Settled.FAILED


def _end(message: OutboxMessage, status: MessageStatus, at: datetime.datetime | None = None) -> None:
    message.status, message.ended_at = status, at or timezone.now()


def _escalate(message: OutboxMessage, verdict: Verdict) -> Settled:
    """Put the message before a person: it stays as it is until somebody retries it, or something newer replaces it."""
    message.status = MessageStatus.ESCALATED
    message.save()
    EFFECTS[message.kind].escalated(message, verdict.words)
    audit.record(
        "outbox_message.escalated",
        message,
        detail={"kind": message.kind, "attempts": message.attempts, "connection": message.connection.slug},
    )
    notice_deliveries()
    return Settled.ESCALATED
