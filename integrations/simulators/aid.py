"""The financial aid office: `GET /awards`, a bearer token, pages in every form that such systems use.

An answer carries `data`, `total`, `page`, `next` (address of the next page) and `next_cursor`. Awards are made from
the seed alone: student S0000001's first is a disbursed grant; the others are a mixture of funds and states, with
returned aid (negative) and work-study among them.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Final
from urllib.parse import urlencode

from integrations.simulators.server import Call, Reply, System

TOKEN: Final = "demo-aid-token"  # noqa: S105 - of a simulated system, printed in the docs
MAX_PAGE_SIZE: Final = 1000
DEFAULT_PAGE_SIZE: Final = 500


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
# One in this many paid awards is aid that was returned.
ONE_RETURNED_IN: Final = 40


class AidOffice(System):
    name: ClassVar[str] = "aid"

    @cached_property
    def awards(self) -> list[dict[str, Any]]:
        """Every award, in the order of its id."""
        dice = random.Random(self.seed)  # noqa: S311 - made-up data, the same every time
        return [self._award(index, dice) for index in range(self.records)]

    def _award(self, index: int, dice: random.Random) -> dict[str, Any]:
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

    def answer(self, call: Call) -> Reply:
        if call.path != "/awards":
            return Reply(404, {"error": "There is nothing here; awards are at /awards."})
        if call.headers.get("authorization") != f"Bearer {TOKEN}":
            return Reply(401, {"error": "A valid bearer token is needed."}, {"WWW-Authenticate": "Bearer"})
        try:
            start, size = _window(call.query)
        except ValueError:
            return Reply(
                400, {"error": "page, limit and cursor are whole numbers, page from 1, limit 1 to 1000."}
            )
        data = self.awards[start : start + size]
        following = start + size if start + size < len(self.awards) else None
        return Reply(
            200,
            {
                "data": data,
                "total": len(self.awards),
                "page": start // size + 1,
                "next": _address(call, following, size) if following else None,
                "next_cursor": str(following) if following else None,
            },
        )


def _window(query: Any) -> tuple[int, int]:
    """Where the asked page starts, and how long it is."""
    size = int(query.get("limit", DEFAULT_PAGE_SIZE))
    page = int(query.get("page", 1))
    start = int(query["cursor"]) if query.get("cursor") else (page - 1) * size
    if not 1 <= size <= MAX_PAGE_SIZE or start < 0:
        raise ValueError
    return start, size


def _address(call: Call, cursor: int, size: int) -> str:
    others = {name: value for name, value in call.query.items() if name not in ("page", "cursor", "limit")}
    return f"{call.address}{call.path}?{urlencode({**others, 'cursor': cursor, 'limit': size})}"


def _weighted(table: tuple[tuple[str, int], ...], dice: random.Random) -> str:
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
