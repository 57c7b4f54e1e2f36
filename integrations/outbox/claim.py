"""Claims: who may attempt which message, one at a time, in the order of their causes."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import structlog
from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models import F
from django.utils import timezone

from integrations.models import Connection, DeliveryAttempt, OutboxMessage
from integrations.models.outbox import AttemptOutcome, OutboxMessageQuerySet, lease_end
from integrations.transports import breaker

log = structlog.get_logger(__name__)
# How many deliveries to one system are under way at once, where its connection does not say.
CONCURRENT: Final = 2
_BEATS_A_LEASE: Final = 3
_FAREWELL_SECONDS: Final = 0.5


@dataclass(frozen=True)
class Claim:
    """The right to make one attempt. `fence` is what it was when this process took it; `is_probe` says that the system's
    circuit breaker is not closed, so that the attempt tries the system and not the message."""

    message: OutboxMessage
    attempt: DeliveryAttempt
    fence: int
    is_probe: bool

    def held(self) -> OutboxMessageQuerySet:
        """The message, as long as it is ours."""
        return OutboxMessage.objects.waiting().filter(
            pk=self.message.pk, fence=self.fence, lease_ends_at__isnull=False
        )


def claim_next(resting: Collection[int] = ()) -> Claim | None:
    """Claim the oldest message that may be attempted now; None where there is none.

    Left alone are connections that are `resting` (ids), switched off, paused, kept away from by their circuit breaker,
    or busy with as many deliveries as they may have.
    """
    for system in _systems(resting):
        try:
            is_probe = breaker.check(system) is not None
        except breaker.BreakerOpen:
            continue
        if claim := _claim_of(system, is_probe=is_probe):
            return claim
    return None


def _systems(resting: Collection[int]) -> Iterator[Connection]:
    """The connections with something that is due, the one with the oldest first."""
    now = timezone.now()
    due = OutboxMessage.objects.due(now)
    usable = Connection.objects.present().filter(enabled=True, delivery_pause__isnull=True)
    waiting = [
        (oldest, system)
        for system in usable.exclude(pk__in=list(resting))
        if (oldest := due.filter(connection=system).order_by("pk").values_list("pk", flat=True).first())
    ]
    for _, system in sorted(waiting, key=lambda pair: pair[0]):
        under_way = OutboxMessage.objects.under_way(now).filter(connection=system).count()
        if under_way < system.limits.get("concurrent", CONCURRENT):
            yield system


@transaction.atomic
def _claim_of(system: Connection, *, is_probe: bool) -> Claim | None:
    """Claim the connection's oldest due message: with SKIP LOCKED on PostgreSQL, where the row is then ours; SQLite lets one
    transaction write at a time, and the update says whether somebody was faster all the same."""
    now = timezone.now()
    due = OutboxMessage.objects.due(now).filter(connection=system).order_by("pk")
    if connection.features.has_select_for_update_skip_locked:
        due = due.select_for_update(skip_locked=True, of=("self",))
    message = due.first()
    if message is None:
        return None
    was_abandoned = message.lease_ends_at is not None
    claimed = OutboxMessage.objects.waiting().filter(pk=message.pk, fence=message.fence)
    if not claimed.update(
        fence=F("fence") + 1,
        attempts=F("attempts") + 1,
        lease_ends_at=lease_end(now),
        holder=holder_name(),
        is_uncertain=message.is_uncertain or was_abandoned,
    ):
        return None
    if was_abandoned:
        _close_abandoned(message)
    message.refresh_from_db()
    message.connection = system
    attempt = DeliveryAttempt.objects.create(
        message=message, number=message.attempts, fence=message.fence, started_at=now, holder=message.holder
    )
    return Claim(message, attempt, message.fence, is_probe)


def _close_abandoned(message: OutboxMessage) -> None:
    """The process of the attempt before has died: nobody knows whether it came as far as sending. It counts."""
    message.delivery_attempts.filter(outcome=AttemptOutcome.UNDER_WAY).update(
        outcome=AttemptOutcome.UNCERTAIN,
        ended_at=timezone.now(),
        error_class="retry",
        reason="The process that made this attempt died. The other system is asked before anything is sent again.",
    )
    OutboxMessage.objects.filter(pk=message.pk).update(failures=F("failures") + 1)


def holder_name() -> str:
    """This process, as people find it: host and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"


@contextmanager
def renewing(claim: Claim) -> Iterator[None]:
    """Renew the claim's lease for the length of the block: a slow system is no dead process. It stops with the process."""
    ended = threading.Event()
    heart = threading.Thread(
        target=_renew, args=(claim, ended), name=f"lease of message {claim.message.pk}", daemon=True
    )
    heart.start()
    try:
        yield
    finally:
        ended.set()
        heart.join(_FAREWELL_SECONDS)


def _renew(claim: Claim, ended: threading.Event) -> None:
    try:
        while not ended.wait(settings.RUN_LEASE_SECONDS / _BEATS_A_LEASE):
            try:
                if not claim.held().update(lease_ends_at=lease_end(timezone.now())):
                    return
            except DatabaseError:
                log.warning("outbox.lease_not_renewed", message=claim.message.pk)
    finally:
        connection.close()
