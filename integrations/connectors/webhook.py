"""An address that is told of alerts: one signed POST for each event, by the Standard Webhooks scheme.

Source: the Standard Webhooks specification, version 1.0.0, sections "Webhook headers" and "Signature scheme". Any status of
success is an acknowledgement, whatever the answer's body.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import orjson
from pydantic import Field, ValidationInfo, field_validator

from integrations.connectors.base import Connector, ConnectorSettings
from integrations.connectors.operations import Acknowledged, Event
from integrations.transports.error_table import ErrorTable, Rule
from integrations.transports.errors import ErrorClass
from integrations.transports.http import HttpTransport, Request


class WebhookSettings(ConnectorSettings):
    severity: Literal["low", "normal", "urgent"] = Field(
        default="normal", description="From which severity on the address is told."
    )
    sources: list[str] = Field(
        default_factory=list,
        description='Slugs of the connections whose alerts it is told of, such as ["library"]; none: of all. What '
        "concerns the whole installation always reaches it.",
    )

    @field_validator("sources")
    @classmethod
    def _are_there(cls, sources: list[str], info: ValidationInfo) -> list[str]:
        """Only while it is being written: a source that is archived later silences nobody."""
        known = (info.context or {}).get("connections")
        unknown = [slug for slug in sources if known is not None and slug not in known()]
        if unknown:
            raise ValueError(f"there is no connection {', '.join(unknown)}")
        return sources


class WebhookConnector(Connector):
    key: ClassVar[str] = "webhook"
    label: ClassVar[str] = "Webhook for alerts"
    operations: ClassVar[frozenset[str]] = frozenset({"deliver_event"})
    signs: ClassVar[bool] = True
    Settings: ClassVar[type[ConnectorSettings]] = WebhookSettings
    shown: ClassVar[frozenset[str]] = frozenset(
        {"type", "timestamp", "alert", "incident", "severity", "title", "source", "url", "opened_at", "resolved_at"}
    )  # fmt: skip
    errors: ClassVar[ErrorTable] = ErrorTable(
        rules=(
            Rule(ErrorClass.CONFIG, status=401, words="it does not accept our signature", advice="Enter the secret that the receiver has, here or there."),
            Rule(ErrorClass.CONFIG, status=403, words="it does not accept our signature", advice="Enter the secret that the receiver has, here or there."),
            Rule(ErrorClass.CONFIG, status=404, words="nobody receives anything at this address", advice="Correct the connection's address."),
            Rule(ErrorClass.PERMANENT, status=410, words="nothing is wanted at this address any more", advice="Archive the connection, or correct its address."),
        )
    )  # fmt: skip

    def deliver_event(self, transport: HttpTransport, event: Event) -> Acknowledged:
        body = {"type": event.type, "timestamp": event.occurred_at, "data": event.data}
        own = {"Content-Type": "application/json", "webhook-id": event.id}
        request = Request(
            self.connection.base_url,
            "POST",
            headers={**self.connection.secrets.get("headers", {}), **own},
            auth=self.auth,
            body=orjson.dumps(body),
        )
        return Acknowledged(status=transport.exchange(request).status)
