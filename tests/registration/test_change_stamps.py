"""The database stamps what has changed: a partner that asks for changes misses none, whoever made them and how."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest
from django.db import models

from registration.models import Course, Enrollment, Program, Section, Student, Term
from tests.database_roles import past_the_triggers
from tests.university import make_section, make_students, make_terms

pytestmark = pytest.mark.django_db

LONG_AGO = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)

# What is watched, with another value; and what is not.
WATCHED: dict[type[models.Model], dict[str, dict[str, Any]]] = {
    Student: {"changed_at": {"status": "leave", "program": None, "disclosure_hold": True}},
    Enrollment: {"changed_at": {"status": "waitlisted"}},
    Course: {"changed_at": {"credits": 4}},
    Program: {"changed_at": {"full_time_credits": 9}},
    Term: {"changed_at": {"starts_on": datetime.date(2026, 8, 20), "ends_on": datetime.date(2026, 12, 19)}},
}
UNWATCHED: dict[type[models.Model], dict[str, Any]] = {
    Student: {"family_name": "Other", "email": "x@example.edu"},
    Enrollment: {"status_since_at": LONG_AGO},
    Course: {"title": "Other"},
    Program: {"name": "Other"},
    Term: {"is_current": False},
    Section: {"capacity": 99},
}
CASES = [
    (model, column, name, value)
    for model, columns in WATCHED.items()
    for column, values in columns.items()
    for name, value in values.items()
] + [(Student, "status_since_at", "status", "leave")]


@pytest.fixture(autouse=True)
def university(db: None) -> None:
    fall, spring = make_terms()
    spring.delete()
    student = make_students(1)[0]
    Enrollment.objects.create(student=student, section=make_section(fall), status_since_at=LONG_AGO)


def age(model: type[models.Model], column: str) -> None:
    """Stamp the rows long ago, as only whoever sets the trigger aside can."""
    with past_the_triggers(model._meta.db_table):
        model._default_manager.update(**{column: LONG_AGO})


def stamp(model: type[models.Model], column: str) -> datetime.datetime:
    found: datetime.datetime = model._default_manager.order_by("pk").values_list(column, flat=True)[0]
    return found


def save(model: type[models.Model], name: str, value: Any) -> None:
    row = model._default_manager.order_by("pk")[0]
    setattr(row, name, value)
    row.save()


def update(model: type[models.Model], name: str, value: Any) -> None:
    model._default_manager.update(**{name: value})


@pytest.mark.parametrize("write", [save, update])
@pytest.mark.parametrize(("model", "column", "name", "value"), CASES)
def test_a_change_is_stamped_however_it_is_written(
    model: type[models.Model], column: str, name: str, value: Any, write: Callable[..., None]
) -> None:
    age(model, column)
    assert stamp(model, column) == LONG_AGO
    write(model, name, value)
    assert stamp(model, column) > LONG_AGO


@pytest.mark.parametrize("model", UNWATCHED)
def test_what_decides_nothing_stamps_nothing(model: type[models.Model]) -> None:
    age(model, "changed_at")
    for name, value in UNWATCHED[model].items():
        save(model, name, value)
        update(model, name, value)
    update(model, "changed_at", datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC))
    assert stamp(model, "changed_at") == LONG_AGO


def test_a_stale_object_that_is_saved_does_not_take_the_stamp_back() -> None:
    age(Student, "changed_at")
    stale = Student.objects.get()
    Student.objects.update(disclosure_hold=True)
    Student.objects.update(disclosure_hold=False)
    stale.save()
    assert stamp(Student, "changed_at") > LONG_AGO


def test_a_section_that_is_moved_to_another_course_is_stamped() -> None:
    age(Section, "changed_at")
    other = Course.objects.create(
        code="CS 102", title="More", credits=4, college=Course.objects.get().college
    )
    Section.objects.update(course=other)
    assert stamp(Section, "changed_at") > LONG_AGO
