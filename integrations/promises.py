"""What was promised within a time and has not come about: one alert for each system, as long as that is so."""

from __future__ import annotations

import datetime
from typing import Final

from django.db.models import QuerySet
from django.utils import timezone

from integrations.alerts import BREAKER, DELIVERY, close_all_but, open_incident
from integrations.effects import EFFECTS, Effect
from integrations.models import Alert, Connection, DeliveryPause, OutboxMessage
from integrations.models.outbox import OutboxMessageQuerySet
from integrations.transports.errors import ErrorClass

# What the incidents of promises that were not kept begin with.
OVERDUE: Final = "overdue:"


def notice_overdue() -> None:
    """Open an incident for each system that owes what was promised, and close those of systems that do not any more.

    One outage is one alert: what keeps failing is told of by the circuit breaker or as an escalation, within half an hour.
    This tells of what nobody attempts, or not fast enough.
    """
    kept = [
        _incident(system)
        for effect in EFFECTS.values()
        if effect.promised_within is not None
        for system, late in _owing(effect, timezone.now() - effect.promised_within)
        if _is_told(system) or _tell(effect, system, late)
    ]
    close_all_but(kept, beginning=OVERDUE)


def _owing(
    effect: Effect, caused_before: datetime.datetime
) -> list[tuple[Connection, OutboxMessageQuerySet]]:
    """Each system with the messages that are later than was promised, where there are any."""
    late = OutboxMessage.objects.waiting().filter(kind=effect.kind, created_at__lt=caused_before)
    systems = Connection.objects.filter(pk__in=late.order_by().values("connection")).order_by("pk")
    owing = [(system, _untold(late.filter(connection=system), system)) for system in systems]
    return [(system, messages) for system, messages in owing if messages.exists()]


def _untold(late: OutboxMessageQuerySet, system: Connection) -> OutboxMessageQuerySet:
    """Of the messages those that no other incident will tell of: where messages are attempted, not what fails meanwhile."""
    is_attempted = system.is_usable and not DeliveryPause.objects.filter(connection=system).exists()
    return late.filter(error_class__in=["", ErrorClass.THROTTLE]) if is_attempted else late


def _is_told(system: Connection) -> bool:
    """Whether the incident is open already."""
    return _open(system, OVERDUE).exists()


def _tell(effect: Effect, system: Connection, late: OutboxMessageQuerySet) -> bool:
    """Open the incident, unless another one of the system tells why; say whether it was opened."""
    if _open(system, BREAKER).exists() or _open(system, DELIVERY).exists():
        return False
    first, count = late.earliest("pk"), late.count()
    one = "One request waits" if count == 1 else f"{count:,} requests wait"
    open_incident(
        _incident(system),
        connection=system,
        message=first,
        title=f"{system.name}: later than promised",
        text=f"{one} for longer than was promised ({effect.label.lower()}), the first since "
        f"{first.created_at:%Y-%m-%d %H:%M} UTC. {_why(system)}",
    )
    return True


def _why(system: Connection) -> str:
    pause = DeliveryPause.objects.filter(connection=system).first()
    if pause is not None:
        return f"Deliveries are paused by {pause.paused_by}: {pause.reason} Resume them in the outbox."
    if not system.is_usable:
        return "The connection is switched off: switch it on, and they are sent."
    return (
        "Nothing failed: they wait for a turn. Look whether workers run, and whether the limits of the connection let them "
        "through fast enough."
    )


def _open(system: Connection, beginning: str) -> QuerySet[Alert]:
    return Alert.objects.open().filter(connection=system, incident__startswith=beginning)


def _incident(system: Connection) -> str:
    return f"{OVERDUE}{system.slug}"
