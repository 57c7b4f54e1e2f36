"""How a student stands in a term: what partners are told, and by which rule.

Enrollment is a matter of seats: whoever holds one is enrolled, with the load that their credits make. Whoever holds none
stands as the table of rules says. Load follows 34 CFR 668.2: full-time is what the institution says it is for the program,
three-quarter-time and half-time are those parts of it.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Final

from registration.models.people import StudentStatus


class TermStatus(StrEnum):
    """A student's status in a term. The values are the API's and stay."""

    ENROLLED = "enrolled"
    WITHDRAWN = "withdrawn"
    LEAVE = "leave"
    GRADUATED = "graduated"
    NONE = "none"


class Load(StrEnum):
    """How much of a full-time student's work an enrolled student has taken on. The values are the API's and stay."""

    FULL_TIME = "full_time"
    THREE_QUARTER = "three_quarter"
    HALF_TIME = "half_time"
    LESS_THAN_HALF = "less_than_half"


# From which part of full-time on a load is reached, the greatest first.
LOADS: Final = (
    (Load.FULL_TIME, Fraction(1)),
    (Load.THREE_QUARTER, Fraction(3, 4)),
    (Load.HALF_TIME, Fraction(1, 2)),
    (Load.LESS_THAN_HALF, Fraction(0)),
)


@dataclass(frozen=True)
class TermFacts:
    """What is on record of one student and one term. Days are the institution's.

    `seats` counts the seats that are held or were held to the end; `credits` are theirs; `seats_since_on` is the last day on
    which a seat was taken or given up. `gave_up_on` is the last day on which one was given up, `withdrew_on` the last on
    which that was a withdrawal. `student_status_since_on` is unknown for what is longer ago than anybody wrote down.
    """

    term_starts_on: datetime.date
    term_ends_on: datetime.date
    full_time_credits: Decimal
    student_status: StudentStatus
    student_status_since_on: datetime.date | None
    seats: int = 0
    credits: Decimal = Decimal(0)
    seats_since_on: datetime.date | None = None
    gave_up_on: datetime.date | None = None
    withdrew_on: datetime.date | None = None

    def has_been(self, status: StudentStatus) -> bool:
        """Whether the student came to have this status, and still has it, before the term was over."""
        since = self.student_status_since_on
        return self.student_status == status and (since is None or since <= self.term_ends_on)


@dataclass(frozen=True)
class TermStanding:
    """A student's status in a term. Load is for the enrolled alone. `effective_on` is since when status, load and credits are
    what they are: no day before the term, and none where there is nothing to tell."""

    status: TermStatus
    load: Load | None
    credits: Decimal
    effective_on: datetime.date | None


@dataclass(frozen=True)
class _Rule:
    status: TermStatus
    applies: Callable[[TermFacts], bool]
    since: Callable[[TermFacts], datetime.date | None]


def _student_status_since(facts: TermFacts) -> datetime.date | None:
    return facts.student_status_since_on or facts.term_starts_on


# The first rule that applies says how a student stands.
_RULES: Final = (
    _Rule(TermStatus.ENROLLED, lambda facts: facts.seats > 0, lambda facts: facts.seats_since_on),
    _Rule(TermStatus.GRADUATED, lambda facts: facts.has_been(StudentStatus.GRADUATED), _student_status_since),
    _Rule(TermStatus.LEAVE, lambda facts: facts.has_been(StudentStatus.LEAVE), _student_status_since),
    _Rule(TermStatus.WITHDRAWN, lambda facts: facts.withdrew_on is not None, lambda facts: facts.withdrew_on),
    _Rule(TermStatus.WITHDRAWN, lambda facts: facts.has_been(StudentStatus.WITHDRAWN), _student_status_since),
    _Rule(TermStatus.NONE, lambda _: True, lambda facts: facts.gave_up_on),
)


def standing(facts: TermFacts) -> TermStanding:
    """How a student stands in a term, by the rules above."""
    rule = next(rule for rule in _RULES if rule.applies(facts))
    since = rule.since(facts)
    is_enrolled = rule.status is TermStatus.ENROLLED
    return TermStanding(
        status=rule.status,
        load=load_of(facts.credits, facts.full_time_credits) if is_enrolled else None,
        credits=facts.credits,
        effective_on=max(since, facts.term_starts_on) if since else None,
    )


def load_of(taken: Decimal, full_time_credits: Decimal) -> Load:
    """The load that so many taken credits make where `full_time_credits` (more than none) make a full-time student."""
    part = Fraction(taken) / Fraction(full_time_credits)
    return next(load for load, least in LOADS if part >= least)
