"""How a student stands in a term: by seats first, by the student's own status where there are none."""

from __future__ import annotations

import datetime
from decimal import Decimal
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registration.enrollment_status import Load, TermFacts, TermStatus, load_of, standing
from registration.models.people import StudentStatus

DAY = datetime.date
STARTS, ENDS = DAY(2026, 8, 24), DAY(2026, 12, 18)
BEFORE, WITHIN, LATER, AFTER = DAY(2026, 8, 1), DAY(2026, 9, 1), DAY(2026, 10, 1), DAY(2027, 1, 5)


def facts(**known: object) -> TermFacts:
    usual: dict[str, object] = {
        "term_starts_on": STARTS,
        "term_ends_on": ENDS,
        "full_time_credits": Decimal(12),
        "student_status": StudentStatus.ACTIVE,
        "student_status_since_on": BEFORE,
    }
    return TermFacts(**{**usual, **known})  # type: ignore[arg-type]


SEAT = {"seats": 1, "credits": Decimal(3), "seats_since_on": WITHIN}
LEFT = {"gave_up_on": LATER}
WITHDREW = {**LEFT, "withdrew_on": LATER}


@pytest.mark.parametrize(
    ("known", "status", "effective_on"),
    [
        (SEAT, "enrolled", WITHIN),
        ({**SEAT, "seats_since_on": BEFORE}, "enrolled", STARTS),
        # One seat of two was withdrawn from: the load changed that day.
        ({**SEAT, **WITHDREW, "seats_since_on": LATER}, "enrolled", LATER),
        ({**SEAT, "student_status": "leave", "student_status_since_on": LATER}, "enrolled", WITHIN),
        ({"student_status": "graduated"}, "graduated", STARTS),
        ({"student_status": "graduated", "student_status_since_on": None}, "graduated", STARTS),
        ({"student_status": "graduated", "student_status_since_on": WITHIN}, "graduated", WITHIN),
        ({"student_status": "graduated", "student_status_since_on": AFTER}, "none", None),
        ({"student_status": "leave", "student_status_since_on": ENDS}, "leave", ENDS),
        ({"student_status": "leave", **WITHDREW}, "leave", STARTS),
        ({"student_status": "leave", "student_status_since_on": AFTER, **WITHDREW}, "withdrawn", LATER),
        (WITHDREW, "withdrawn", LATER),
        ({"student_status": "withdrawn"}, "withdrawn", STARTS),
        ({"student_status": "withdrawn", "student_status_since_on": AFTER}, "none", None),
        (LEFT, "none", LATER),
        ({"gave_up_on": BEFORE}, "none", STARTS),
        ({}, "none", None),
    ],
)
def test_each_rule(known: dict[str, object], status: str, effective_on: datetime.date | None) -> None:
    found = standing(facts(**known))
    assert (found.status, found.effective_on) == (status, effective_on)
    assert (found.load is None) == (status != "enrolled")


@pytest.mark.parametrize(
    ("taken", "undergraduate", "graduate"),
    [
        ("18", "full_time", "full_time"),
        ("12", "full_time", "full_time"),
        ("11.99", "three_quarter", "full_time"),
        ("9", "three_quarter", "full_time"),
        ("8.99", "half_time", "three_quarter"),
        ("6.75", "half_time", "three_quarter"),
        ("6", "half_time", "half_time"),
        ("5.99", "less_than_half", "half_time"),
        ("4.5", "less_than_half", "half_time"),
        ("4.49", "less_than_half", "less_than_half"),
        ("0", "less_than_half", "less_than_half"),
    ],
)
def test_the_load_that_credits_make(taken: str, undergraduate: str, graduate: str) -> None:
    loads = [load_of(Decimal(taken), Decimal(full_time)) for full_time in (12, 9)]
    assert loads == [undergraduate, graduate]


AMOUNTS = st.decimals(min_value="0", max_value="30", places=2)


@given(taken=AMOUNTS, more=AMOUNTS, full_time=st.decimals(min_value="0.01", max_value="30", places=2))
def test_more_credits_are_never_a_smaller_load(taken: Decimal, more: Decimal, full_time: Decimal) -> None:
    order = list(Load)
    assert order.index(load_of(taken + more, full_time)) <= order.index(load_of(taken, full_time))
    assert load_of(full_time, full_time) is Load.FULL_TIME


def test_every_mix_of_facts_has_one_status_and_no_day_before_the_term() -> None:
    found = set()
    for status, since, seat, left in product(
        StudentStatus, (None, BEFORE, WITHIN, AFTER), ({}, SEAT), ({}, LEFT, WITHDREW)
    ):
        told = standing(facts(student_status=status, student_status_since_on=since, **{**seat, **left}))
        found.add(told.status)
        assert told.effective_on is None or told.effective_on >= STARTS
        assert told.effective_on or told.status is TermStatus.NONE
    assert found == set(TermStatus)
