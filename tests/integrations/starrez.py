"""A connection to the simulated StarRez, for tests."""

from __future__ import annotations

from typing import Any

from integrations.models import Connection, Stream
from integrations.simulators.starrez import SERVICES, TOKEN, USERNAME
from integrations.simulators.starrez_tables import (
    EMERGENCY_ADDRESS,
    OFF_CAMPUS_LOCATION,
    RESIDENCE_ADDRESS,
)
from tests.integrations.simulated import Simulated

DATASET = "housing_assignments"
SETTINGS = {
    "time_zone": "America/New_York",
    "off_campus_locations": [OFF_CAMPUS_LOCATION],
    "residence_address_type": RESIDENCE_ADDRESS,
    "emergency_address_type": EMERGENCY_ADDRESS,
    "page_size": 100,
}


def starrez_document(office: Simulated, **changes: Any) -> dict[str, Any]:
    """The document of a connection to it, as an administrator writes it."""
    return {
        "slug": "starrez",
        "name": "StarRez",
        "connector": "starrez",
        "base_url": f"{office.url}{SERVICES}",
        "auth": {"type": "basic", "username": USERNAME, "password": TOKEN},
        "timeouts": {"connect": 1, "read": 0.5, "total": 1},
        "guards": {"first_load": "apply"},
        "settings": SETTINGS,
        "datasets": {DATASET: {}},
        **changes,
    }


def starrez_stream(office: Simulated, *, params: dict[str, str] | None = None, **settings: Any) -> Stream:
    """A stream of bookings in pages of ten, without the road behind it."""
    connection = Connection(
        slug="starrez",
        name="StarRez",
        connector="starrez",
        base_url=f"{office.url}{SERVICES}",
        auth_type="basic",
        settings={**SETTINGS, "page_size": 10, **settings},
        timeouts={"connect": 1, "read": 0.5, "total": 1},
    )
    connection.secrets = {
        "auth": {"username": USERNAME, "password": TOKEN},
        "params": {DATASET: params or {}},
    }
    connection.save()
    return Stream.objects.create(connection=connection, dataset=DATASET)
