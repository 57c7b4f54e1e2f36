"""Every connector there is: an explicit list."""

from __future__ import annotations

from integrations.connectors.base import Connector
from integrations.connectors.rest import RestConnector
from integrations.connectors.starrez import StarRezConnector
from integrations.models import Connection

CONNECTORS: dict[str, type[Connector]] = {
    connector.key: connector for connector in (RestConnector, StarRezConnector)
}


def connector_for(connection: Connection) -> Connector:
    """Return the connection's connector, ready to pull. Raises KeyError for one that this version does not know."""
    return CONNECTORS[connection.connector](connection)
