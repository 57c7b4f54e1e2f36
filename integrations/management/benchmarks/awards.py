"""The data of the sync benchmark: awards of a feed, the same every time, today's and tomorrow's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

STUDENTS: Final = 40_000
TERMS: Final = ("2025FA", "2026SP", "2026SU", "2026FA")
FUNDS: Final = (
    "PELL",
    "SEOG",
    "STAFFORD",
    "PERKINS",
    "PLUS",
    "ATHLETIC",
    "MERIT",
    "STATE",
    "ALUMNI",
    "WAIVER",
)
STATUSES: Final = ("offered", "accepted", "disbursed", "disbursed")
TODAY, TOMORROW = 1, 2
# Of tomorrow's feed one award in a hundred says something else, and one in two hundred is not there any more.
_CHANGED: Final = (100, 7)
_GONE: Final = (200, 3)
_RAISE_CENTS: Final = 12_345
# Knuth's multiplicative hash: neighbours differ in everything.
_SCATTER: Final = 2_654_435_761


def student_number(place: int) -> str:
    return f"S{place:07d}"


def award(place: int, version: int) -> dict[str, Any] | None:
    """The award at a place of the feed, as the source writes it; None where it is gone."""
    if version == TOMORROW and place % _GONE[0] == _GONE[1]:
        return None
    chance = (place * _SCATTER) & 0xFFFFFFFF
    cents, moment = 10_000 + chance % 990_000, _moment(chance)
    if version == TOMORROW and place % _CHANGED[0] == _CHANGED[1]:
        cents, moment = cents + _RAISE_CENTS, "2026-11-01T00:00:00Z"
    return {
        "award_id": f"A{place:08d}",
        "student_id": student_number((chance >> 3) % STUDENTS),
        "fund_code": FUNDS[(chance >> 9) % len(FUNDS)],
        "term": TERMS[(chance >> 7) % len(TERMS)],
        "amount": f"{cents // 100}.{cents % 100:02d}",
        "status": STATUSES[(chance >> 5) % len(STATUSES)],
        "updated_at": moment,
    }


def awards(rows: int, version: int) -> Iterator[dict[str, Any]]:
    """Every award of a version of a feed that began with so many rows."""
    found = (award(place, version) for place in range(rows))
    return (each for each in found if each is not None)


def changed_places(rows: int) -> tuple[int, int]:
    """How many awards are changed, and how many are gone, in tomorrow's feed."""
    modulus, remainder = _CHANGED
    changed = len(range(remainder, rows, modulus))
    modulus, remainder = _GONE
    return changed, len(range(remainder, rows, modulus))


def cents(amount: str) -> int:
    return int(amount.replace(".", ""))


def _moment(chance: int) -> str:
    day = f"2026-{1 + chance % 9:02d}-{1 + chance % 28:02d}"
    return f"{day}T{chance % 24:02d}:{chance % 60:02d}:{(chance >> 8) % 60:02d}Z"
