"""The current term is the one that the registrar flagged; the next is the regular one after it."""

from __future__ import annotations

import datetime

import pytest
import time_machine

from registration.models import Term
from tests.refusals import refused_by
from tests.university import make_terms

pytestmark = pytest.mark.django_db


@pytest.fixture
def fall() -> Term:
    return make_terms()[0]


def summer_of(year: int) -> Term:
    day = datetime.date
    return Term.objects.create(
        code=f"{year}SU",
        name=f"Summer {year}",
        starts_on=day(year, 6, 1),
        ends_on=day(year, 8, 7),
        census_on=day(year, 6, 8),
        is_regular=False,
    )


@pytest.mark.parametrize("today", ["2020-01-01", "2026-10-01", "2027-02-01", "2040-01-01"])
def test_the_current_term_is_the_flagged_one_whatever_the_clock_says(fall: Term, today: str) -> None:
    with time_machine.travel(today):
        assert Term.objects.current() == fall


def test_no_term_is_current_when_none_is_flagged(fall: Term) -> None:
    Term.objects.update(is_current=False)
    assert Term.objects.current() is None


def test_the_flag_is_taken_from_one_term_before_another_has_it(fall: Term) -> None:
    spring = Term.objects.get(code="2027SP")
    with refused_by("term_one_current"):
        Term.objects.filter(pk=spring.pk).update(is_current=True)
    Term.objects.filter(pk=fall.pk).update(is_current=False)
    Term.objects.filter(pk=spring.pk).update(is_current=True)
    assert Term.objects.current() == spring


def test_the_current_term_is_neither_closed_nor_made_irregular(fall: Term) -> None:
    with refused_by("term_current_is_regular_and_open"):
        Term.objects.filter(pk=fall.pk).update(is_closed=True)
    with refused_by("term_current_is_regular_and_open"):
        Term.objects.filter(pk=fall.pk).update(is_regular=False)


def test_the_next_term_is_the_first_regular_one_that_starts_later(fall: Term) -> None:
    spring = Term.objects.get(code="2027SP")
    summer = summer_of(2027)
    later = Term.objects.create(
        code="2027FA",
        name="Fall 2027",
        starts_on=datetime.date(2027, 8, 23),
        ends_on=datetime.date(2027, 12, 17),
        census_on=datetime.date(2027, 9, 10),
    )
    assert Term.objects.following(fall) == spring
    assert Term.objects.following(spring) == later
    assert Term.objects.following(summer) == later
    assert Term.objects.following(later) is None


def test_a_term_lasts_from_its_first_day_to_its_last(fall: Term) -> None:
    day = datetime.date
    days = [day(2026, 8, 23), day(2026, 8, 24), day(2026, 12, 18), day(2026, 12, 19)]
    assert [fall.lasts_on(each) for each in days] == [False, True, True, False]


def test_every_term_s_id_is_found_by_its_code(fall: Term) -> None:
    assert Term.objects.codes_to_ids() == {term.code: term.pk for term in Term.objects.all()}
    assert Term.objects.codes_to_ids()["2026FA"] == fall.pk
