"""Which addresses are told of an alert, and the messages to them: written with the letters, delivered by the outbox.

What is the matter with an address is told by letter alone: no alert about alerts ever causes another message.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from django.utils import timezone

from integrations.connectors.webhook import WebhookSettings
from integrations.effects.alerts import TELL, is_told
from integrations.models import Alert, Connection, OutboxMessage
from integrations.models.alert import Moment, Severity


@dataclass(frozen=True)
class Address:
    """An address that is told, and of what. Without sources: of all connections."""

    connection: Connection
    severity: Severity
    sources: frozenset[str]

    def wants(self, alert: Alert) -> bool:
        """Whether it is told of the alert; what concerns the installation reaches every address."""
        if alert.severity < self.severity:
            return False
        source = alert.source
        if source is None:
            return True
        return not is_told(source) and (not self.sources or source.slug in self.sources)


def addresses() -> list[Address]:
    """Every address that is told of alerts now."""
    used = Connection.objects.present().filter(enabled=True).order_by("pk")
    return [_address(connection) for connection in used if is_told(connection)]


def owe_event(alert: Alert, told: Iterable[Address], moment: Moment) -> int:
    """Write down that these addresses are to be told of a moment of the alert: once each, whoever looks and however often.
    Returns how many there are."""
    owed = [_message(address.connection, alert, moment) for address in told]
    OutboxMessage.objects.bulk_create(owed, ignore_conflicts=True)
    return len(owed)


def told_of(alert: Alert) -> list[Address]:
    """The addresses that were told, or are to be, that the alert began."""
    keys = {address: _key(address.connection, alert, Moment.OPENED) for address in addresses()}
    written = set(OutboxMessage.objects.filter(key__in=keys.values()).values_list("key", flat=True))
    return [address for address, key in keys.items() if key in written]


def owe_test(connection: Connection) -> OutboxMessage:
    """Write down that the address is to be sent a test."""
    name = uuid.uuid4().hex
    return OutboxMessage.objects.create(
        **_values(connection, f"alert-test:{name}", f"alert-test:{connection.pk}", cause="A test by hand.")
    )


def _message(connection: Connection, alert: Alert, moment: Moment) -> OutboxMessage:
    return OutboxMessage(
        **_values(
            connection,
            _key(connection, alert, moment),
            f"alert:{alert.pk}:{connection.pk}",
            cause=f"{moment.label}: {alert.title}"[:500],
        ),
        payload={"alert": alert.pk, "moment": moment.value},
    )


def _key(connection: Connection, alert: Alert, moment: Moment) -> str:
    return f"alert:{alert.pk}:{moment.value}:{connection.uid}"


def _values(connection: Connection, key: str, subject: str, *, cause: str) -> dict[str, object]:
    now = timezone.now()
    return {
        "connection": connection,
        "kind": TELL.kind,
        "key": key,
        "subject": subject,
        "cause": cause,
        "created_at": now,
        "due_at": now,
    }


def _address(connection: Connection) -> Address:
    settings = WebhookSettings.model_validate(connection.settings)
    return Address(connection, Severity[settings.severity.upper()], frozenset(settings.sources))
