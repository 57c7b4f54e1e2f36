"""StarRez: how it is asked. What its bookings say is in starrez_bookings.py.

Facts are of the vendor's own description of its API (StarRez REST v1, version 1.0): HTTP Basic with an API user and its
token, one `POST /select/TABLE.json` for each table, and pages by the index of their first row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import orjson

from integrations.connectors.anchors import Place, read_on
from integrations.connectors.base import Answer, Connector, ConnectorSettings, MappingOf
from integrations.connectors.incremental import Incremental
from integrations.connectors.joins import Join
from integrations.connectors.pagination import Received
from integrations.connectors.starrez_bookings import StarRezSettings, joins_of, mapping_of
from integrations.models import Stream
from integrations.transports.error_table import ErrorTable, Rule
from integrations.transports.errors import ErrorClass, NotUnderstood
from integrations.transports.http import Request

OPERATORS: Final = ("GREATERTHAN", "LESSTHAN", "GREATERTHANOREQUALTO", "LESSTHANOREQUALTO")
# The column that numbers the rows of each table, by its name in the address.
NUMBERS: Final = {
    "Booking": "BookingID",
    "entry": "EntryID",
    "EntryAddress": "EntryAddressID",
    "RoomLocation": "RoomLocationID",
    "RoomSpace": "RoomSpaceID",
    "TermSession": "TermSessionID",
}
# A moment has no offset there. When clocks are set back, an hour is written twice: it is asked for again.
OVERLAP_MINUTES: Final = 60 + 10


class StarRezConnector(Connector):
    key: ClassVar[str] = "starrez"
    label: ClassVar[str] = "StarRez"
    datasets: ClassVar[frozenset[str]] = frozenset({"housing_assignments"})
    Settings: ClassVar[type[ConnectorSettings]] = StarRezSettings
    mappings: ClassVar[Mapping[str, MappingOf]] = {"housing_assignments": mapping_of}
    settings: StarRezSettings
    errors: ClassVar[ErrorTable] = ErrorTable(
        rules=(
            Rule(ErrorClass.CONFIG, 400, words="it does not know what it is asked for", advice="Check the dataset's params: names and values are those of the table Booking."),
            Rule(ErrorClass.CONFIG, 401, words="it does not accept our credentials", advice="Enter the API user and, as its password, the token that StarRez made for it."),
            Rule(ErrorClass.CONFIG, 403, words="the API user may not read this table", advice=f"Ask for read access to {', '.join(NUMBERS)} in StarRez, and whether the licence has its REST API."),
            Rule(ErrorClass.CONFIG, 404, words="there is no such table", advice="Check the address: it ends in /StarRezREST/services."),
        )
    )  # fmt: skip

    def request_page(self, stream: Stream, token: str, since: str) -> Request:
        where = {name: _condition(name, value) for name, value in stream.params.items()}
        if since:
            where["DateModified"] = {"Value": since, "_operator": "GREATERTHANOREQUALTO"}
        return self._select("Booking", where, token)

    def read_page(self, stream: Stream, token: str, received: Received, read: int) -> Answer:
        return self._read("Booking", token, received)

    def joins(self, stream: Stream) -> Sequence[Join]:
        return tuple(joins_of(self.settings))

    def request_rows(self, join: Join, where: Mapping[str, Any], token: str) -> Request:
        return self._select(join.table, where, token)

    def read_rows(self, join: Join, token: str, received: Received) -> Answer:
        return self._read(join.table, token, received)

    def is_snapshot(self, stream: Stream) -> bool:
        """Anchors lose no row, by all that is known of the vendor. Whether somebody is gone is asked twice all the
        same: pages are counted from the front."""
        return False

    def incremental(self, stream: Stream) -> Incremental:
        return Incremental(
            param="DateModified",
            field="DateModified",
            full_every=self.settings.full_every_days,
            overlap_minutes=OVERLAP_MINUTES,
        )

    def _select(self, table: str, where: Mapping[str, Any], token: str) -> Request:
        """A page of a table. Without `_returnEmptyArrayOnNoResult` nothing found would be an error."""
        body = {
            **where,
            "_pageIndex": Place.of(token).offset,
            "_pageSize": self.settings.page_size,
            "_orderby": NUMBERS[table],
            "_returnEmptyArrayOnNoResult": True,
        }
        return Request(
            f"{self.connection.base_url.rstrip('/')}/select/{table}.json",
            method="POST",
            headers={**self.connection.secrets.get("headers", {}), "Content-Type": "application/json"},
            auth=self.auth,
            body=orjson.dumps(body),
        )

    def _read(self, table: str, token: str, received: Received) -> Answer:
        if not isinstance(received.body, list):
            raise NotUnderstood(f"the answer is no list of rows of {table}")
        return Answer(*read_on(token, received.body, NUMBERS[table], self.settings.page_size))


def _condition(column: str, value: str) -> Any:
    """A parameter of the connection document as the vendor types it: a column that ends in ID is a whole number, and a
    day or moment is compared by one of OPERATORS, such as `GREATERTHAN 2026-08-01T00:00:00`."""
    operator, _, compared = value.partition(" ")
    if operator in OPERATORS and compared:
        return {"Value": compared, "_operator": operator}
    return int(value) if column.endswith("ID") and value.isdecimal() else value
