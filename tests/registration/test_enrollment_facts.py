"""What is on record of many students' seats is read at once, and is what one student's answer says too."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from decimal import Decimal

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apiauth.models import Consumer
from apiauth.operations import create_consumer
from apiauth.statements import Statement, first_row
from registration import enrollment_facts, operations
from registration.disclosure import grant, students_named
from registration.enrollment_facts import StudentTerm, changed_since
from registration.models import Course, Enrollment, Program, Section, Student, Term
from registration.models.people import StudentQuerySet
from tests.database_roles import past_the_triggers
from tests.university import make_section, make_students, make_terms

pytestmark = pytest.mark.django_db

DAY = datetime.date


@pytest.fixture(autouse=True)
def before_the_term() -> Iterator[None]:
    with time_machine.travel("2026-08-01T12:00:00Z"):
        yield


@pytest.fixture
def fall(db: None) -> Term:
    return make_terms()[0]


@pytest.fixture
def students(fall: Term) -> list[Student]:
    return make_students(4)


@pytest.fixture
def consumer(students: list[Student]) -> Consumer:
    made = create_consumer("Lender", scopes=["enrollment:read"]).consumer
    grant(made, students_named("all"), purpose="Loan deferment")
    return made


def sections(term: Term, *worths: int) -> list[Section]:
    made = []
    for place, worth in enumerate(worths):
        section = make_section(term, crn=f"2{place:04d}", capacity=50)
        section.course = Course.objects.create(
            code=f"X {place}{term.code}", title="X", credits=worth, college=section.course.college
        )
        section.save()
        made.append(section)
    return made


def shown(consumer: Consumer) -> StudentQuerySet:
    return Student.objects.visible_to(consumer.pk).with_grant_to(consumer.pk).order_by("number")


def read(statement: Statement) -> list[StudentTerm]:
    row = first_row(statement)
    assert row
    return enrollment_facts.told(row[0])


def statuses_of(students: StudentQuerySet, *, term: str | None) -> list[StudentTerm]:
    return read(enrollment_facts.statuses_of(students, term=term))


def statuses_in_term(students: StudentQuerySet, *, term: str | None) -> list[StudentTerm]:
    return read(enrollment_facts.statuses_in_term(students, term=term))


def told(row: StudentTerm) -> tuple[object, ...]:
    assert row.standing
    return row.term, row.standing.status, row.standing.load, row.standing.credits, row.standing.effective_on


def test_seats_credits_and_days_are_those_of_the_operations(
    fall: Term, students: list[Student], consumer: Consumer
) -> None:
    three, four, five, half = sections(fall, 3, 4, 5, 6)
    seats = [operations.enroll(students[0], section) for section in (three, four, five)]
    operations.enroll(students[1], half)
    operations.enroll(students[2], three)
    with time_machine.travel("2026-09-03T12:00:00Z"):
        operations.drop(seats[1])
        operations.withdraw(students[2], fall, reason="Moved away")
    Enrollment.objects.filter(pk=seats[2].pk).update(
        status="completed", status_since_at=datetime.datetime(2026, 12, 18, tzinfo=datetime.UTC)
    )
    assert [told(row) for row in statuses_in_term(shown(consumer), term="2026FA")] == [
        ("2026FA", "enrolled", "half_time", Decimal(8), DAY(2026, 9, 3)),
        ("2026FA", "enrolled", "half_time", Decimal(6), DAY(2026, 8, 24)),
        ("2026FA", "withdrawn", None, Decimal(0), DAY(2026, 9, 3)),
        ("2026FA", "none", None, Decimal(0), None),
    ]


def test_a_place_on_the_waiting_list_is_no_seat(
    fall: Term, students: list[Student], consumer: Consumer
) -> None:
    full = make_section(fall, capacity=0)
    operations.drop(operations.enroll(students[1], full))
    operations.enroll(students[0], full)
    found = [told(row)[1:3] for row in statuses_in_term(shown(consumer), term="2026FA")]
    assert found == [("none", None)] * 4


def test_one_student_s_answer_is_the_page_s(fall: Term, students: list[Student], consumer: Consumer) -> None:
    for section in sections(fall, 3, 3, 3):
        operations.enroll(students[0], section)
    operations.enroll(students[1], make_section(Term.objects.get(code="2027SP")))
    for term in ("2026FA", "2027SP"):
        page = statuses_in_term(shown(consumer), term=term)
        assert [row.shown.number for row in page] == [student.number for student in students]
        for row in page:
            assert statuses_of(shown(consumer).filter(number=row.shown.number), term=term) == [row]
    assert statuses_in_term(shown(consumer), term=None) == statuses_in_term(shown(consumer), term="2026FA")


def test_without_a_term_one_is_told_of_the_current_one_and_those_with_seats(
    fall: Term, students: list[Student], consumer: Consumer
) -> None:
    spring = Term.objects.get(code="2027SP")
    operations.enroll(students[1], make_section(spring))
    terms = [
        [row.term for row in statuses_of(shown(consumer).filter(pk=student.pk), term=None)]
        for student in students[:2]
    ]
    assert terms == [["2026FA"], ["2027SP", "2026FA"]]
    Term.objects.update(is_current=False)
    (row,) = statuses_of(shown(consumer).filter(pk=students[0].pk), term=None)
    assert (row.shown.number, row.term, row.standing) == ("S0000001", None, None)
    assert [row.term for row in statuses_in_term(shown(consumer), term=None)] == [None] * 4
    assert statuses_of(shown(consumer).filter(number="nobody"), term=None) == []


def test_full_time_is_what_the_program_says(fall: Term, students: list[Student], consumer: Consumer) -> None:
    Student.objects.filter(pk=students[1].pk).update(program=None)
    for section in sections(fall, 3, 6):
        for student in students[:2]:
            operations.enroll(student, section)
    Program.objects.update(full_time_credits=9)
    loads = [told(row)[2] for row in statuses_in_term(shown(consumer), term="2026FA")]
    assert loads[:2] == ["full_time", "three_quarter"]


def test_a_page_is_one_statement_whatever_its_length(
    fall: Term, consumer: Consumer, students: list[Student]
) -> None:
    make_students(200)
    for count in (1, 150):
        with CaptureQueriesContext(connection) as statements:
            assert len(statuses_in_term(shown(consumer)[:count], term="2026FA")) == count
        assert len(statements) == 1


def test_each_row_names_the_grant_that_shows_the_student(consumer: Consumer, students: list[Student]) -> None:
    by_name = grant(consumer, students_named("student:S0000002"), purpose="Named")
    rows = statuses_in_term(shown(consumer), term="2026FA")
    assert [row.shown.purpose for row in rows] == [
        "Loan deferment",
        "Named",
        "Loan deferment",
        "Loan deferment",
    ]
    assert rows[1].shown.grant_id == by_name.pk


# --- what has changed -------------------------------------------------------------------------------------


def long_ago() -> datetime.datetime:
    """Stamp everything long ago; the instant is later than that."""
    moment = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    tables = (Student, Enrollment, Section, Course, Program, Term)
    with past_the_triggers(*(model._meta.db_table for model in tables)):
        for model in tables:
            model._default_manager.update(changed_at=moment)
    return moment + datetime.timedelta(days=1)


def changed(consumer: Consumer, since: datetime.datetime, term: str | None = "2026FA") -> list[str]:
    rows = statuses_in_term(changed_since(shown(consumer), since, term=term), term=term)
    assert all(row.updated_at >= since for row in rows)
    return [row.shown.number[-1] for row in rows]


def test_whatever_could_change_the_answer_brings_the_student_again(
    fall: Term, students: list[Student], consumer: Consumer
) -> None:
    sparse, other = sections(fall, 3, 4)
    seats = [operations.enroll(student, sparse) for student in students[:2]]
    operations.enroll(students[2], make_section(Term.objects.get(code="2027SP")))
    since = long_ago()
    with past_the_triggers("registration_studentgrant"):
        consumer.student_grants.update(granted_at=since - datetime.timedelta(days=1))
    assert changed(consumer, since) == changed(consumer, since, None) == []
    operations.drop(seats[0])
    assert changed(consumer, since) == changed(consumer, since, None) == ["1"]
    since = long_ago()
    for act, numbers in (
        (lambda: Student.objects.filter(pk=students[3].pk).update(status="leave"), ["4"]),
        (lambda: Course.objects.filter(pk=sparse.course_id).update(credits=5), ["1", "2"]),
        (lambda: Section.objects.filter(pk=sparse.pk).update(course=other.course), ["1", "2"]),
        (lambda: Program.objects.update(full_time_credits=9), ["1", "2", "3", "4"]),
        (lambda: Term.objects.filter(pk=fall.pk).update(ends_on=DAY(2026, 12, 20)), ["1", "2", "3", "4"]),
        (lambda: Term.objects.filter(code="2027SP").update(ends_on=DAY(2027, 5, 20)), []),
        (lambda: grant(consumer, students_named("student:S0000003"), purpose="Named"), ["3"]),
    ):
        act()
        assert changed(consumer, since) == numbers
        since = long_ago()
        with past_the_triggers("registration_studentgrant"):
            consumer.student_grants.update(granted_at=since - datetime.timedelta(days=1))


def test_the_instant_of_a_change_brings_it_and_the_one_after_does_not(
    students: list[Student], consumer: Consumer
) -> None:
    since = long_ago()
    with past_the_triggers("registration_studentgrant"):
        consumer.student_grants.update(granted_at=since - datetime.timedelta(days=1))
    Student.objects.filter(pk=students[0].pk).update(status="leave")
    (row,) = statuses_in_term(changed_since(shown(consumer), since, term=None), term=None)
    assert changed(consumer, row.updated_at.replace(microsecond=row.updated_at.microsecond)) == ["1"]
    assert changed(consumer, row.updated_at + datetime.timedelta(milliseconds=2)) == []


def test_a_change_in_spring_is_none_of_fall(fall: Term, students: list[Student], consumer: Consumer) -> None:
    since = long_ago()
    with past_the_triggers("registration_studentgrant"):
        consumer.student_grants.update(granted_at=since - datetime.timedelta(days=1))
    operations.enroll(students[0], make_section(Term.objects.get(code="2027SP")))
    assert changed(consumer, since) == []
    assert changed(consumer, since, "2027SP") == ["1"]
    assert timezone.now() > since
