"""Telling an address of an alert: that an incident began, and that it is over."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from django.conf import settings
from django.utils import timezone

from integrations.connectors.base import Connector
from integrations.connectors.operations import DELIVER_EVENT, Acknowledged, Event
from integrations.connectors.registry import operations_of
from integrations.effects.base import Effect, Impossible
from integrations.models import Alert, Connection, OutboxMessage
from integrations.models.alert import Moment, Severity

# What of an incident is told to addresses, and how it is called there.
EVENT_TYPES: Final = {Moment.OPENED: "alert.opened", Moment.OVER: "alert.resolved"}
# What an administrator sends to see whether it arrives.
TEST: Final = "alert.test"


def is_told(connection: Connection) -> bool:
    """Whether the connection leads to an address that is told of alerts."""
    return DELIVER_EVENT.name in operations_of(connection)


class TellAddress(Effect):
    """A message's payload names the alert and the moment; that of a test neither. There is nothing to ask the address before
    it is told again: the event's id, which stays the same, lets it know."""

    kind: ClassVar[str] = "alert.tell"
    label: ClassVar[str] = "Tell an address of an alert"
    # Somebody should look soon, so the first come quickly; an address that is away for the night is told in the morning.
    retry_after: ClassVar[Sequence[datetime.timedelta]] = (
        datetime.timedelta(seconds=10),
        datetime.timedelta(minutes=1),
        datetime.timedelta(minutes=5),
        datetime.timedelta(minutes=30),
        datetime.timedelta(hours=2),
        datetime.timedelta(hours=8),
    )

    def bring_about(self, message: OutboxMessage, connector: Connector) -> Acknowledged:
        return connector.do(DELIVER_EVENT, self._event(message))

    def _event(self, message: OutboxMessage) -> Event:
        if "alert" not in message.payload:
            title = f"A test from {settings.BASE_URL}: nothing is wrong."
            data = {"title": title, "severity": Severity.LOW.label.lower()}
            return Event(id=message.key, type=TEST, occurred_at=message.created_at, data=data)
        alerts = Alert.objects.select_related("connection", "stream__connection")
        alert = alerts.filter(pk=message.payload["alert"]).first()
        if alert is None:
            raise Impossible("the alert is not kept any more, so there is nothing to tell")
        is_over = message.payload["moment"] == Moment.OVER
        occurred_at = alert.resolved_at if is_over else alert.raised_at
        return Event(
            id=message.key,
            type=EVENT_TYPES[Moment(message.payload["moment"])],
            occurred_at=occurred_at or timezone.now(),
            data=facts_of(alert),
        )

    def delivered(self, message: OutboxMessage, result: Any) -> None:
        """That it was told is kept by the message itself, as is all that follows."""

    def blocked(self, message: OutboxMessage, reason: str) -> None:
        """As `delivered`."""

    def escalated(self, message: OutboxMessage, reason: str) -> None:
        """As `delivered`."""

    def waits_again(self, message: OutboxMessage) -> None:
        """As `delivered`."""


TELL: Final = TellAddress()


def facts_of(alert: Alert) -> dict[str, Any]:
    """What is told of an alert: what it is, and where it is seen. Its text stays here, as it may quote a record."""
    source = alert.source
    return {
        "alert": alert.pk,
        "incident": alert.incident,
        "severity": alert.get_severity_display().lower(),
        "title": alert.title,
        "source": source.slug if source else None,
        "url": f"{settings.BASE_URL}{alert.page}",
        "opened_at": alert.raised_at,
        "resolved_at": alert.resolved_at,
    }
