"""The financial aid office: `GET /awards`, a bearer token (its own, or one of its token endpoint), pages in every form
that such systems use: numbers, offsets, cursors, addresses, and Link headers.

An answer carries `data`, `total`, `page`, `next` (address of the next page) and `next_cursor`. Awards are made from
the seed alone: student S0000001's first is a disbursed grant; the others are a mixture of funds and states, with
returned aid (negative) and work-study among them.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar, Final

from integrations.simulators.faults import Window
from integrations.simulators.feed import Listing, Record
from integrations.simulators.parameters import Parameters, instant, one_of, whole
from integrations.simulators.system import Call, Reply, reply

TOKEN: Final = "demo-aid-token"  # noqa: S105 - of a simulated system, printed in the docs


@dataclass(frozen=True)
class Fund:
    code: str
    name: str
    type: str
    low: int  # whole dollars
    high: int


GRANT: Final = Fund("PELL", "Federal Pell Grant", "grant", 750, 7395)
FUNDS: Final = (
    GRANT,
    Fund("SEOG", "Supplemental Opportunity Grant", "grant", 100, 4000),
    Fund("STATE", "State Grant", "grant", 500, 5000),
    Fund("DLSUB", "Direct Subsidized Loan", "loan", 1000, 5500),
    Fund("DLUNSUB", "Direct Unsubsidized Loan", "loan", 1000, 7000),
    Fund("MERIT", "Merit Scholarship", "scholarship", 500, 12000),
    Fund("FWS", "Federal Work-Study", "work_study", 800, 3000),
    Fund("WAIVER", "Tuition Waiver", "waiver", 500, 6000),
)
# How a state is written there, and how many in a hundred awards are in it.
STATES: Final = (("PAID", 55), ("ACCEPTED", 25), ("OFFERED", 15), ("CANCELLED", 5))
TERMS: Final = (("2026FA", 80), ("2027SP", 20))
# The aid year that the terms belong to.
YEAR: Final = 2026
# One in this many paid awards is aid that was returned.
ONE_RETURNED_IN: Final = 40


class AidOffice(Listing):
    name: ClassVar[str] = "aid"
    path: ClassVar[str] = "/awards"
    parameters: ClassVar[Parameters] = Parameters(
        {
            "page": whole(1, 1_000_000),
            "offset": whole(0, 100_000_000),
            "cursor": whole(0, 100_000_000),
            "limit": whole(1, Listing.max_page_size),
            "year": whole(2000, 2100),
            "term": one_of(*(term for term, _ in TERMS)),
            "updated_since": instant,
        }
    )

    def make(self, index: int, dice: Random) -> Record:
        number = 1 + index % self.students
        fund = dice.choice(FUNDS)
        state = _weighted(STATES, dice)
        term = _weighted(TERMS, dice)
        cents = dice.randint(fund.low * 100, fund.high * 100)
        if state == "PAID" and dice.randrange(ONE_RETURNED_IN) == 0:
            cents = -cents // 10
        if index == 0:
            fund, state, term, cents = GRANT, "PAID", "2026FA", 369_750
        day = f"2026-{dice.randint(8, 11):02d}-{dice.randint(1, 28):02d}"
        return {
            "id": f"A{index + 1:07d}",
            "disbursement": 1,
            "student": {"number": f"S{number:07d}"},
            "fund": {"code": fund.code, "name": fund.name, "type": fund.type},
            "term": term,
            "amount": f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02d}",
            "state": state,
            "paid_on": day if state == "PAID" else None,
            "updated_at": f"{day}T{dice.randrange(24):02d}:{dice.randrange(60):02d}:00Z",
        }

    def knows(self, authorization: str) -> bool:
        return authorization == f"Bearer {TOKEN}"

    def select(self, asked: Mapping[str, Any]) -> list[Record]:
        if asked.get("year", YEAR) != YEAR:
            return []
        term, since = asked.get("term"), asked.get("updated_since")
        if term is None and since is None:
            return self.records
        return [
            award
            for award in self.records
            if term in (None, award["term"]) and (since is None or _changed_at(award) >= since)
        ]

    def page(self, call: Call, window: Window, records: list[Record]) -> Reply:
        following, size = window.following(records), window.size
        return reply(
            200,
            {
                "data": window.shown(records),
                "total": window.total(records),
                "page": window.start // size + 1,
                "next": None if following is None else self.address(call, following, size),
                "next_cursor": None if following is None else str(following),
            },
            self.links(call, following, size),
        )


def _changed_at(award: Record) -> datetime.datetime:
    """When an award was changed; one whose moment is of another type is in every answer."""
    try:
        return datetime.datetime.fromisoformat(award["updated_at"])
    except TypeError:
        return datetime.datetime.max.replace(tzinfo=datetime.UTC)


def _weighted(table: tuple[tuple[str, int], ...], dice: Random) -> str:
    return dice.choices([value for value, _ in table], [weight for _, weight in table])[0]


def connection_document(base_url: str) -> dict[str, Any]:
    """The document of a connection to this system, as an administrator would write it."""
    return {
        "slug": "financial-aid",
        "name": "Financial aid office",
        "connector": "rest",
        "enabled": True,
        "base_url": base_url,
        "auth": {"type": "bearer", "token": TOKEN},
        "schedule": {"every_minutes": 1440},
        "datasets": {
            "aid_awards": {
                "path": "/awards",
                "records": "data",
                "pagination": {
                    "type": "cursor",
                    "cursor_param": "cursor",
                    "cursor": "next_cursor",
                    "size_param": "limit",
                    "size": 500,
                    "total": "total",
                },
                "mapping": {
                    "award_id": "id",
                    "disbursement_number": "disbursement",
                    "student_number": "student.number",
                    "term_code": "term",
                    "fund_code": "fund.code",
                    "fund_name": "fund.name",
                    "fund_type": "fund.type",
                    "amount": {"path": "amount", "transforms": ["decimal"]},
                    "status": {"path": "state", "transforms": ["lower"], "lookup": {"paid": "disbursed"}},
                    "disbursed_on": "paid_on",
                    "updated_at": "updated_at",
                },
            },
        },
        "guards": {"first_load": "apply"},
    }
