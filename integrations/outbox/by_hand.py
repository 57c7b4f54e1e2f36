"""What a person may do to deliveries: make them due again, pause and resume a connection's."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

import audit
from integrations.alerts import notice_deliveries
from integrations.effects import EFFECTS
from integrations.models import Connection, DeliveryPause, OutboxMessage
from integrations.models.outbox import MessageStatus, OutboxMessageQuerySet
from integrations.outbox.doorbell import ring_after_commit

# An event names no more messages than this; beyond, how many they were.
MESSAGES_NAMED = 100


class NothingToDo(Exception):
    """The operation was not done; the text says why."""


@transaction.atomic
def retry(messages: OutboxMessageQuerySet, *, reason: str = "") -> int:
    """Make due at once whatever of `messages` failed its last attempt, escalated or waiting, with all its retries before
    it. Returns how many; what is under way is left alone."""
    failing = list(messages.failing().select_for_update(of=("self",)).order_by("pk"))
    if not failing:
        return 0
    OutboxMessage.objects.filter(pk__in=[message.pk for message in failing]).update(
        status=MessageStatus.WAITING, due_at=timezone.now(), failures=0
    )
    for message in failing:
        EFFECTS[message.kind].waits_again(message)
    named = [message.pk for message in failing[:MESSAGES_NAMED]]
    audit.record(
        "outbox.retried",
        failing[0] if len(failing) == 1 else OutboxMessage(),
        reason=reason,
        detail={"count": len(failing), "messages": [*named]},
    )
    notice_deliveries()
    ring_after_commit()
    return len(failing)


@transaction.atomic
def pause(connection: Connection, *, reason: str) -> DeliveryPause:
    """Deliver nothing through the connection until somebody resumes it; what is under way ends. Raises NothingToDo without a
    reason, or where it is paused already."""
    if not reason.strip():
        raise NothingToDo("Say why: the reason is shown with the pause.")
    values = {
        "reason": reason[:500],
        "paused_by": audit.current_actor().name,
        "paused_at": timezone.now(),
    }
    paused, is_new = DeliveryPause.objects.get_or_create(connection=connection, defaults=values)
    if not is_new:
        raise NothingToDo(f"Deliveries to {connection.name} are paused already, by {paused.paused_by}.")
    audit.record("outbox.paused", connection, reason=reason)
    return paused


@transaction.atomic
def resume(connection: Connection, *, reason: str = "") -> None:
    """Go on delivering through the connection. Raises NothingToDo where it is not paused."""
    gone, _ = DeliveryPause.objects.filter(connection=connection).delete()
    if not gone:
        raise NothingToDo(f"Deliveries to {connection.name} are not paused.")
    audit.record("outbox.resumed", connection, reason=reason)
    ring_after_commit()
