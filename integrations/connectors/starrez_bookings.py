"""What a booking of StarRez says: whose it is, where, for which term, and whether anybody lives there.

The vendor's description of its API (StarRez REST v1, version 1.0) names tables, columns and statuses. It does not say
which kind of address is the emergency contact, in which zone moments are, or which bookings count: a campus decides.
"""

from __future__ import annotations

import json
import zoneinfo
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field

from integrations.connectors.base import ConnectorSettings
from integrations.connectors.joins import Join

EntryStatus = Literal[
    "Account", "Admin", "Alumni", "Application", "Attendee", "AttendeeArrived", "AttendeeDeparted", "Cancelled",
    "Contact", "Erased", "Held", "History", "Incident", "InRoom", "MasterAccount", "Occupant", "OccupantHistory",
    "OccupantInRoom", "Reserved", "Tentative",
]  # fmt: skip
OurStatus = Literal["assigned", "checked_in", "checked_out", "cancelled"]
# An application and a tentative booking keep no room for anybody yet. What is not named here is rejected, so that a
# person says what it means: of attendees and occupants campuses differ.
STATUSES: Final[dict[EntryStatus, OurStatus]] = {
    "Application": "cancelled",
    "Tentative": "cancelled",
    "Reserved": "assigned",
    "InRoom": "checked_in",
    "History": "checked_out",
    "Cancelled": "cancelled",
    "Erased": "cancelled",
}


def _check_zone(name: str) -> str:
    if name not in zoneinfo.available_timezones():
        raise ValueError(f"{name!r} is no time zone, such as America/New_York")
    return name


class StarRezSettings(ConnectorSettings):
    """What one campus has decided in its StarRez; numbers are those of its own tables."""

    time_zone: Annotated[str, AfterValidator(_check_zone)] = Field(
        description="The time zone of its moments, which have no offset, such as America/New_York."
    )
    student_number: Literal["ID1", "ID2", "ID3", "ID4", "ID5"] = Field(
        default="ID1", description="The column of Entry in which student numbers are kept."
    )
    statuses: dict[EntryStatus, OurStatus] = Field(
        default_factory=dict,
        description="What statuses of bookings mean, where that is not as usual: assigned, checked_in, checked_out or "
        "cancelled. A booking whose status is not explained is rejected.",
    )
    off_campus_locations: list[int] = Field(
        default_factory=list, description="RoomLocationIDs of halls that do not count as on campus for fees."
    )
    residence_address_type: int | None = Field(
        default=None, description="The AddressTypeID under which a resident's own telephone is kept."
    )
    emergency_address_type: int | None = Field(
        default=None, description="The AddressTypeID of emergency contacts; without it none are read."
    )
    full_every_days: int = Field(
        default=7,
        ge=1,
        le=365,
        description="Days between two extracts of everything: what was deleted, or changed in what bookings refer to, "
        "shows in nothing else.",
    )
    page_size: Literal[5, 10, 50, 100, 500, 1000] = Field(default=1000, description="Rows in one answer.")


def joins_of(settings: StarRezSettings) -> Iterator[Join]:
    """What a booking refers to, and is put into it."""
    yield Join("Entry", "entry", "EntryID", "EntryID", (settings.student_number, "Testing"))
    yield Join("RoomSpace", "RoomSpace", "RoomSpaceID", "RoomSpaceID", ("Description", "Street", "Street2"))
    place = ("Description", "City", "StateProvince", "ZipPostcode")
    yield Join("RoomLocation", "RoomLocation", "RoomLocationID", "RoomLocationID", place)
    term = ("TermSessionCode", "Description", "CheckInDate", "CheckOutDate")
    yield Join("TermSession", "TermSession", "TermSessionID", "TermSessionID", term)
    for into, kind in (
        ("Residence", settings.residence_address_type),
        ("EmergencyContact", settings.emergency_address_type),
    ):
        if kind is not None:
            columns = ("ContactName", "Relationship", "Phone", "PhoneMobileCell")
            yield Join(into, "EntryAddress", "EntryID", "EntryID", columns, {"AddressTypeID": kind})


def mapping_of(settings: StarRezSettings) -> dict[str, Any]:
    """How a booking with what it refers to becomes a housing assignment, field by field."""
    statuses = {**STATUSES, **settings.statuses}
    on_campus = f"!contains(`{json.dumps(settings.off_campus_locations)}`, RoomLocationID)"
    return {
        "assignment_id": "BookingID",
        "student_number": f"Entry.{settings.student_number}",
        "term_code": "TermSession.TermSessionCode || TermSession.Description",
        "hall": "RoomLocation.Description",
        "room": "RoomSpace.Description",
        # Whom StarRez keeps for trying things out lives nowhere, whatever number it was given.
        "status": {"path": "(Entry.Testing && 'Cancelled') || EntryStatusEnum", "lookup": statuses},
        **({"on_campus": on_campus} if settings.off_campus_locations else {}),
        "move_in_on": _day("CheckInDateActual || CheckInDate"),
        "move_out_on": _day(_moved_out(statuses)),
        "residence_address": {"path": _ADDRESS, "transforms": [{"join": ", "}, {"truncate": 300}]},
        # Nobody is billed otherwise because a telephone number has a remark behind it.
        "residence_phone": _short("Residence.Phone || Residence.PhoneMobileCell", 40),
        "emergency_contact_name": _short("EmergencyContact.ContactName", 150),
        "emergency_contact_phone": _short("EmergencyContact.Phone || EmergencyContact.PhoneMobileCell", 40),
        "emergency_contact_relation": _short("EmergencyContact.Relationship", 60),
        "updated_at": {"path": "DateModified", "transforms": [{"zone": settings.time_zone}]},
    }


_ADDRESS: Final = (
    "[RoomSpace.Street, RoomSpace.Street2, RoomLocation.City, RoomLocation.StateProvince, "
    "RoomLocation.ZipPostcode][?@]"
)


def _moved_out(statuses: Mapping[EntryStatus, OurStatus]) -> str:
    """The day on which somebody left or, of those who have not, is to leave. Fees follow it, so what was planned does not
    stand in for it."""
    left = json.dumps([theirs for theirs, ours in statuses.items() if ours == "checked_out"])
    return f"CheckOutDateActual || (!contains(`{left}`, EntryStatusEnum) && CheckOutDate || `null`)"


def _day(path: str) -> dict[str, Any]:
    """The day that is written: midnight of a campus is midnight there."""
    return {"path": path, "transforms": [{"split": {"separator": "T", "index": 0}}]}


def _short(path: str, characters: int) -> dict[str, Any]:
    return {"path": path, "transforms": ["trim", {"truncate": characters}]}
