"""Events that are alike are written in one statement, and are events like any other."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

import audit
from audit import Actor, Entry
from audit.context import acting
from audit.models import AuditEvent
from audit.sealing import seal_events
from audit.trails import trail_of
from audit.verification import verify_trail
from registration.models import Student
from tests.university import make_students

pytestmark = pytest.mark.django_db


def entries(students: list[Student]) -> list[Entry]:
    return [
        Entry(each.pk, f'Rooms "{each.pk}" \x00 Zoë', {"student": each.number, "grant": 7})
        for each in students
    ]


def test_many_events_are_one_statement_and_each_is_whole() -> None:
    students = make_students(120)
    with acting(Actor("consumer", "Housing", "3"), request_id="f" * 32, address="192.0.2.1"):
        audit.record("student.viewed", students[0])
        with CaptureQueriesContext(connection) as statements:
            audit.record_each("student.disclosed", Student, entries(students))
    assert len(statements) == 1
    first, *many = AuditEvent.objects.order_by("id")
    assert len(many) == 120
    for event, student in zip(many, students, strict=True):
        assert (event.subject_type, event.subject_id) == ("registration.student", str(student.pk))
        assert event.reason == f'Rooms "{student.pk}" \ufffd Zoë'
        assert event.detail == {"student": student.number, "grant": 7}
        # Whatever is alike is as `record` has it.
        alike = ("actor_kind", "actor_id", "actor_name", "request_id", "address")
        assert [getattr(event, name) for name in alike] == [getattr(first, name) for name in alike]
        assert 0 <= (event.at - first.at).total_seconds() < 60
    trail = AuditEvent.objects.filter(trail_of(students[7]), action="student.disclosed")
    assert [event.subject_id for event in trail] == [str(students[7].pk)]


def test_they_are_sealed_and_hold() -> None:
    audit.record_each("student.disclosed", Student, entries(make_students(5)))
    assert seal_events(whole=True) == 5
    assert verify_trail().faults == []


def test_nothing_is_written_for_nobody_and_no_action_without_its_form() -> None:
    with CaptureQueriesContext(connection) as statements:
        audit.record_each("student.disclosed", Student, [])
    assert len(statements) == 0
    with pytest.raises(ValueError, match="dotted action"):
        audit.record_each("disclosed", Student, [])
