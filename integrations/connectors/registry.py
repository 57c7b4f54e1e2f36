"""Every connector there is: an explicit list."""

from __future__ import annotations

from integrations.connectors.base import Connector
from integrations.connectors.koha import KohaConnector
from integrations.connectors.rest import RestConnector
from integrations.connectors.starrez import StarRezConnector
from integrations.connectors.webhook import WebhookConnector
from integrations.models import Connection

CONNECTORS: dict[str, type[Connector]] = {
    connector.key: connector
    for connector in (RestConnector, StarRezConnector, KohaConnector, WebhookConnector)
}


def connector_for(connection: Connection) -> Connector:
    """Return the connection's connector, ready to pull. Raises KeyError for one that this version does not know."""
    return CONNECTORS[connection.connector](connection)


def operations_of(connection: Connection) -> frozenset[str]:
    """The names of what the connection's system can do; nothing for a connector that this version does not know."""
    connector = CONNECTORS.get(connection.connector)
    return connector.operations_of(connection) if connector else frozenset()
