"""The tables of a simulated StarRez: what columns they have and of which type, and a made-up campus in them.

Names and types are those of the vendor's own description (StarRez REST v1): whole numbers for ids, texts for what a person
reads, moments without an offset. Columns that nobody here asks for are left out.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from random import Random
from typing import Any, Final, Literal

from integrations.simulators.feed import Record

Column = Literal["whole", "text", "truth", "moment", "number"]

# By the name that stands in the address: the first column numbers the rows.
TABLES: Final[dict[str, dict[str, Column]]] = {
    "Booking": {
        "BookingID": "whole",
        "EntryID": "whole",
        "RoomSpaceID": "whole",
        "RoomLocationID": "whole",
        "RoomRateAmount": "number",
        "TermSessionID": "whole",
        "BookingTypeID": "whole",
        "EntryStatusEnum": "text",
        "CheckInDate": "moment",
        "CheckOutDate": "moment",
        "CheckInDateActual": "moment",
        "CheckOutDateActual": "moment",
        "Comments": "text",
        "DateModified": "moment",
    },
    "entry": {
        "EntryID": "whole",
        "ID1": "text",
        "ID4": "whole",
        "NameFirst": "text",
        "NameLast": "text",
        "EntryStatusEnum": "text",
        "Testing": "truth",
        "DateModified": "moment",
    },
    "EntryAddress": {
        "EntryAddressID": "whole",
        "EntryID": "whole",
        "AddressTypeID": "whole",
        "ContactName": "text",
        "Relationship": "text",
        "Phone": "text",
        "PhoneMobileCell": "text",
        "Street": "text",
        "DateModified": "moment",
    },
    "RoomSpace": {
        "RoomSpaceID": "whole",
        "Description": "text",
        "RoomSpaceTypeEnum": "text",
        "BedCapacity": "whole",
        "Street": "text",
        "Street2": "text",
        "DateModified": "moment",
    },
    "RoomLocation": {
        "RoomLocationID": "whole",
        "Description": "text",
        "City": "text",
        "StateProvince": "text",
        "ZipPostcode": "text",
        "DateModified": "moment",
    },
    "TermSession": {
        "TermSessionID": "whole",
        "TermSessionCode": "text",
        "Description": "text",
        "CheckInDate": "moment",
        "CheckOutDate": "moment",
        "DateModified": "moment",
    },
}


@dataclass(frozen=True)
class Session:
    """A term session: its code, its first and last day, and the day on which people moved within it."""

    code: str
    words: str
    first: datetime.date
    last: datetime.date
    moving: datetime.date


SESSIONS: Final = (
    Session(
        "2026FA",
        "Fall 2026",
        datetime.date(2026, 8, 22),
        datetime.date(2026, 12, 18),
        datetime.date(2026, 10, 10),
    ),
    Session(
        "2027SP",
        "Spring 2027",
        datetime.date(2027, 1, 10),
        datetime.date(2027, 5, 14),
        datetime.date(2027, 3, 6),
    ),
)
LOCATIONS: Final = ("North Hall", "Riverside", "Oak House", "The Village", "University Flats")
# Rented flats across the river: who lives there does not live on campus.
OFF_CAMPUS_LOCATION: Final = 5
RESIDENCE_ADDRESS, EMERGENCY_ADDRESS = 3, 5
FIRST_ENTRY, FIRST_BOOKING = 1001, 5001
# Who has this remainder has moved within the first session: the earlier booking is history.
MOVERS_OF: Final = 10
MOVER: Final = 3
_STATES: Final = (("InRoom", 62), ("Reserved", 26), ("Tentative", 4), ("Cancelled", 8))


def rooms_in(students: int) -> int:
    """How many rooms each location has: half as many as there are students, and ten at least."""
    return max(10, students // 2)


def booking(index: int, students: int, dice: Random) -> Record:
    """Booking number `index`: every student's first session, then everybody's second, then the later bookings of those
    who moved; what is beyond is cancelled. So nobody lives in two rooms at once."""
    student, round_ = index % students, index // students
    is_mover = student % MOVERS_OF == MOVER
    session_number = 1 if round_ == 1 else 0
    session = SESSIONS[session_number]
    state = dice.choices([state for state, _ in _STATES], [weight for _, weight in _STATES])[0]
    begins, ends = session.first, session.last
    if round_ == 0 and is_mover:
        state, ends = "History", session.moving
    elif round_ == 2 and is_mover:  # noqa: PLR2004 - the third round
        state, begins = "InRoom", session.moving
    elif round_ > 1:
        state = "Cancelled"
    location, rooms = dice.randrange(len(LOCATIONS)), rooms_in(students)
    has_moved_in = state in ("InRoom", "History")
    return {
        "BookingID": FIRST_BOOKING + index,
        "EntryID": FIRST_ENTRY + student,
        "RoomSpaceID": 1 + location * rooms + dice.randrange(rooms),
        "RoomLocationID": 1 + location,
        "RoomRateAmount": 3850.0,
        "TermSessionID": 1 + session_number,
        "BookingTypeID": 1,
        "EntryStatusEnum": state,
        "CheckInDate": _moment(begins),
        "CheckOutDate": _moment(ends),
        "CheckInDateActual": _moment(begins, dice.randint(8, 20)) if has_moved_in else None,
        "CheckOutDateActual": _moment(ends, 10) if state == "History" else None,
        "Comments": None,
        "DateModified": f"2026-{dice.randint(3, 8):02d}-{dice.randint(1, 28):02d}T{dice.randrange(24):02d}:30:00.247",
    }


def campus(students: int) -> dict[str, list[Record]]:
    """Every table but the bookings."""
    return {
        "entry": [_entry(number) for number in range(students)],
        "EntryAddress": [
            _address(number, kind) for number in range(students) for kind in (RESIDENCE_ADDRESS, EMERGENCY_ADDRESS)
        ],
        "RoomSpace": [
            _room(number, rooms_in(students)) for number in range(len(LOCATIONS) * rooms_in(students))
        ],
        "RoomLocation": [_location(number, name) for number, name in enumerate(LOCATIONS, start=1)],
        "TermSession": [_session(number, session) for number, session in enumerate(SESSIONS, start=1)],
    }  # fmt: skip


def _moment(day: datetime.date, hour: int = 0) -> str:
    return f"{day}T{hour:02d}:00:00"


_MADE: Final = "2026-03-01T09:00:00"


def _entry(number: int) -> Record:
    return {
        "EntryID": FIRST_ENTRY + number,
        "ID1": f"S{1 + number:07d}",
        "ID4": 1 + number,
        "NameFirst": "Robin",
        "NameLast": f"Student{1 + number}",
        "EntryStatusEnum": "InRoom",
        "Testing": False,
        "DateModified": _MADE,
    }


def _address(number: int, kind: int) -> Record:
    is_contact = kind == EMERGENCY_ADDRESS
    return {
        "EntryAddressID": 1 + 2 * number + is_contact,
        "EntryID": FIRST_ENTRY + number,
        "AddressTypeID": kind,
        "ContactName": f"Parent of {1 + number}" if is_contact else None,
        "Relationship": "Parent" if is_contact else None,
        "Phone": f"+1 555 01{number % 100:02d}" if is_contact else None,
        "PhoneMobileCell": f"+1 555 02{number % 100:02d}",
        "Street": None if is_contact else "1 College Road",
        "DateModified": _MADE,
    }


def _room(number: int, rooms: int) -> Record:
    location, room = divmod(number, rooms)
    return {
        "RoomSpaceID": 1 + number,
        "Description": f"{LOCATIONS[location][:1]}-{1 + room // 20}{room % 20 + 1:02d}",
        "RoomSpaceTypeEnum": "Bed",
        "BedCapacity": 1,
        "Street": f"{1 + location} College Road",
        "Street2": "",
        "DateModified": _MADE,
    }


def _location(number: int, name: str) -> Record:
    return {
        "RoomLocationID": number,
        "Description": name,
        "City": "Springfield",
        "StateProvince": "NY",
        "ZipPostcode": f"1000{number}",
        "DateModified": _MADE,
    }


def _session(number: int, session: Session) -> Record:
    return {
        "TermSessionID": number,
        "TermSessionCode": session.code,
        "Description": session.words,
        "CheckInDate": _moment(session.first),
        "CheckOutDate": _moment(session.last),
        "DateModified": _MADE,
    }


def is_of(kind: Column, value: Any) -> bool:
    """Whether a value is of a column's type, as JSON has it."""
    if kind == "truth":
        return isinstance(value, bool)
    if kind == "whole":
        return isinstance(value, int) and not isinstance(value, bool)
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, str)
