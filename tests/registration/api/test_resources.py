"""What partners read: terms, courses and sections, as they are."""

from __future__ import annotations

from typing import Any

import pytest

from registration.models import Course, Section, Term

pytestmark = pytest.mark.django_db


def test_a_section_has_its_seats_and_meetings(read: Any, catalogue: tuple[Term, Term]) -> None:
    section = Section.objects.order_by("id").first()
    assert section is not None
    meeting = {"begins": "09:00", "ends": "10:15", "room": "Hall 7"}
    dates = {"first_on": "2026-08-24", "last_on": "2026-12-18"}
    assert read(f"/api/v1/sections/{section.pk}/").json() == {
        "id": section.pk,
        "term": "2026FA",
        "crn": "20000",
        "course_id": section.course_id,
        "course": "MATH 101",
        "title": "Mathematics 101",
        "credits": "3.50",
        "capacity": 3,
        "enrolled": 3,
        "waitlisted": 1,
        "seats_available": 0,
        "meetings": [{"weekday": day, **meeting, **dates} for day in ("mon", "wed")],
    }


def test_seats_are_never_fewer_than_none(read: Any, catalogue: tuple[Term, Term]) -> None:
    Section.objects.filter(crn="20000").update(capacity=1)
    full, free = read("/api/v1/sections/?fields=seats_available&page_size=2").json()["results"]
    assert (full, free) == ({"seats_available": 0}, {"seats_available": 3})


def test_a_course_is_read_by_its_id(read: Any, catalogue: tuple[Term, Term]) -> None:
    course = Course.objects.get(code="MATH 102")
    assert read(f"/api/v1/courses/{course.pk}/").json() == {
        "id": course.pk,
        "code": "MATH 102",
        "title": "Mathematics 102",
        "credits": "3.50",
        "college": "SCI",
        "college_name": "Science & <Letters>",
    }


def test_terms_are_listed_the_newest_first(read: Any, catalogue: tuple[Term, Term]) -> None:
    spring, fall = read("/api/v1/terms/").json()["results"]
    assert (spring["code"], spring["is_current"]) == ("2027SP", False)
    assert fall == {
        "code": "2026FA",
        "name": "Fall 2026",
        "starts_on": "2026-08-24",
        "ends_on": "2026-12-18",
        "census_on": "2026-09-11",
        "is_current": True,
    }
    assert read("/api/v1/terms/2026FA/").json() == fall
