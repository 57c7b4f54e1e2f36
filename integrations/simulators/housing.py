"""The housing office: `GET /api/assignments`, offsets and Link headers, HTTP Basic or a token of its token endpoint.

A generic REST face over what housing systems keep: an assignment is a booking of one bed by one student for one term,
with its rate, its state in the vendor's words, and its days. The words and the shape of the data are those of residence
systems (entry states such as Reserved, InRoom and History; the price of a bed is of its kind of room).
"""

from __future__ import annotations

import base64
import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar, Final

from integrations.simulators.faults import Window
from integrations.simulators.feed import Listing, Record
from integrations.simulators.parameters import Parameters, instant, one_of, whole
from integrations.simulators.system import Call, Reply, reply

USERNAME: Final = "housing-api"
PASSWORD: Final = "demo-housing-token"  # noqa: S105 - of a simulated system, printed in the docs


@dataclass(frozen=True)
class RoomKind:
    code: str
    name: str
    rate: int  # dollars for a term


KINDS: Final = (
    RoomKind("SGL", "Single", 5200),
    RoomKind("DBL", "Double", 3850),
    RoomKind("TRP", "Triple", 3100),
    RoomKind("APT", "Apartment", 6400),
)
BUILDINGS: Final = (
    ("NORTH", "North Hall"),
    ("RIVER", "Riverside"),
    ("OAK", "Oak House"),
    ("VILLAGE", "The Village"),
)
MEAL_PLANS: Final = ("NONE", "10", "14", "UNLIMITED")
# How a state is written there, and how many in a hundred assignments are in it.
STATES: Final = (("InRoom", 62), ("Reserved", 20), ("Tentative", 6), ("Cancelled", 8), ("History", 4))
# Code, first and last day.
TERMS: Final = (
    ("2026FA", datetime.date(2026, 8, 22), datetime.date(2026, 12, 18)),
    ("2027SP", datetime.date(2027, 1, 10), datetime.date(2027, 5, 14)),
)
# Whom to call in an emergency: made-up people, and telephone numbers that are nobody's.
GIVEN_NAMES: Final = ("Grace", "Omar", "Nora", "Liam", "Ruth", "Samuel", "Inés")
FAMILY_NAMES: Final = ("Okafor", "Müller", "García", "Kowalska", "Nguyễn")
RELATIONS: Final = ("mother", "father", "guardian", "sister")
# Apartments in the village lie off campus for the bursar, whoever rents them out.
ON_CAMPUS: Final = {"NORTH": True, "RIVER": True, "OAK": True, "VILLAGE": False}
FIRST_ID: Final = 5001
# One in this many assignments is reduced: a resident assistant pays half.
ONE_REDUCED_IN: Final = 30


class HousingOffice(Listing):
    name: ClassVar[str] = "housing"
    path: ClassVar[str] = "/api/assignments"
    max_page_size: ClassVar[int] = 500
    default_page_size: ClassVar[int] = 100
    parameters: ClassVar[Parameters] = Parameters(
        {
            "offset": whole(0, 100_000_000),
            "limit": whole(1, max_page_size),
            "term": one_of(*(term for term, _, _ in TERMS)),
            "status": one_of(*(state for state, _ in STATES)),
            "modified_since": instant,
        }
    )

    def make(self, index: int, dice: Random) -> Record:
        kind, (building, building_name) = dice.choice(KINDS), dice.choice(BUILDINGS)
        state = dice.choices([state for state, _ in STATES], [weight for _, weight in STATES])[0]
        term, first, last = dice.choice(TERMS)
        if index == 0:
            kind, state, (term, first, last) = KINDS[1], "InRoom", TERMS[0]
        reduced = index > 0 and dice.randrange(ONE_REDUCED_IN) == 0
        room = f"{dice.randint(1, 6)}{dice.randint(1, 40):02d}"
        has_moved_in = state in ("InRoom", "History")
        return {
            "booking_id": FIRST_ID + index,
            "student": {"number": f"S{1 + index % self.students:07d}"},
            "term": term,
            "building": {"code": building, "name": building_name},
            "room": {"number": f"{building}-{room}", "bed": dice.choice("AB"), "type": kind.code, "type_name": kind.name},
            "rate": {"amount": f"{kind.rate / (2 if reduced else 1):.2f}", "currency": "USD", "per": "term"},
            "meal_plan": dice.choice(MEAL_PLANS),
            "status": state,
            "check_in": first.isoformat(),
            "check_out": last.isoformat(),
            "checked_in_at": f"{first}T{dice.randint(8, 20):02d}:15:00Z" if has_moved_in else None,
            "checked_out_at": f"{last}T10:00:00Z" if state == "History" else None,
            "home": {"address": f"{100 + index} {building_name} Way, Springfield", "phone": f"555-01{index % 100:02d}"},
            "emergency": {
                "name": f"{GIVEN_NAMES[index % len(GIVEN_NAMES)]} {FAMILY_NAMES[index % len(FAMILY_NAMES)]}",
                "phone": f"555-02{index % 100:02d}",
                "relation": RELATIONS[index % len(RELATIONS)],
            },
            "modified_at": f"2026-{dice.randint(3, 8):02d}-{dice.randint(1, 28):02d}T{dice.randrange(24):02d}:30:00Z",
        }  # fmt: skip

    def knows(self, authorization: str) -> bool:
        pair = base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
        return authorization == f"Basic {pair}"

    def challenge(self, call: Call) -> str:
        is_token = call.headers.get("authorization", "").lower().startswith("bearer ")
        return super().challenge(call) if is_token else 'Basic realm="housing"'

    def select(self, asked: Mapping[str, Any]) -> list[Record]:
        wanted = {name: asked[name] for name in ("term", "status") if name in asked}
        since = asked.get("modified_since")
        return [
            booking
            for booking in self.records
            if all(booking[name] == value for name, value in wanted.items())
            and (since is None or _modified_at(booking) >= since)
        ]

    def page(self, call: Call, window: Window, records: list[Record]) -> Reply:
        shown = window.shown(records)
        return reply(
            200,
            {"items": shown, "count": window.total(records), "offset": window.start},
            self.links(call, window.following(records), window.size),
        )


def connection_document(base_url: str) -> dict[str, Any]:
    """The document of a connection to this system, as an administrator would write it."""
    return {
        "slug": "housing",
        "name": "Housing office",
        "connector": "rest",
        "enabled": True,
        "base_url": base_url,
        "auth": {"type": "basic", "username": USERNAME, "password": PASSWORD},
        "schedule": {"every_minutes": 1440},
        "datasets": {
            "housing_assignments": {
                "path": "/api/assignments",
                "records": "items",
                "pagination": {
                    "type": "offset",
                    "offset_param": "offset",
                    "size_param": "limit",
                    "size": 500,
                    "total": "count",
                },
                "incremental": {"param": "modified_since", "field": "modified_at"},
                "mapping": {
                    "assignment_id": "booking_id",
                    "student_number": "student.number",
                    "term_code": "term",
                    "hall": "building.name",
                    "room": "room.number",
                    "status": {
                        "path": "status",
                        "lookup": {
                            "Tentative": "assigned",
                            "Reserved": "assigned",
                            "InRoom": "checked_in",
                            "History": "checked_out",
                            "Cancelled": "cancelled",
                        },
                    },
                    "on_campus": {"path": "building.code", "lookup": ON_CAMPUS},
                    "move_in_on": "check_in",
                    "move_out_on": {"path": "checked_out_at", "transforms": ["local_date"]},
                    "residence_address": "home.address",
                    "residence_phone": "home.phone",
                    "emergency_contact_name": "emergency.name",
                    "emergency_contact_phone": "emergency.phone",
                    "emergency_contact_relation": "emergency.relation",
                    "updated_at": "modified_at",
                },
            },
        },
        "guards": {"first_load": "apply"},
    }


def _modified_at(booking: Record) -> datetime.datetime:
    """When a booking was changed; one whose moment is of another type is in every answer."""
    try:
        return datetime.datetime.fromisoformat(booking["modified_at"])
    except TypeError:
        return datetime.datetime.max.replace(tzinfo=datetime.UTC)
