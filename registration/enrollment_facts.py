"""The enrollment status of many students at once, in one statement: the road of a single answer and of a page alike.

The students come as a QuerySet, so that the one rule of who is visible (`Student.objects.visible_to`) is part of the
statement; what is on record of their seats is summed by the database.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import orjson
from django.db import connection
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from apiauth.statements import Statement
from registration.disclosure import Shown
from registration.enrollment_status import TermFacts, TermStanding, standing
from registration.models import Enrollment, StudentGrant, Term
from registration.models.people import StudentQuerySet, StudentStatus

# Of students who are in no program.
USUAL_FULL_TIME_CREDITS: Final = Decimal(12)
_MILLISECOND: Final = 1_000
# Which terms are told: the one that is asked for; the current one; or that and every term with a seat on record.
_ONE_TERM: Final = "t.code = %s"
_CURRENT_TERM: Final = "t.is_current"
_EVERY_TERM: Final = (
    "t.is_current OR EXISTS (SELECT 1 FROM registration_enrollment e JOIN registration_section x ON x.id = e.section_id "
    "WHERE e.student_id = s.id AND x.term_id = t.id)"
)
# Credits are summed in hundredths: SQLite would add fractions as floats. What is read comes as one row, a JSON text of rows
# in order, so that it can be read beside something else. Nothing of a caller's is in the text.
_STATEMENT: Final = """
WITH page (id, shown_by) AS ({page}),
seats AS (
  SELECT e.student_id, x.term_id,
    SUM(CASE WHEN e.status IN ('enrolled', 'completed') THEN 1 ELSE 0 END) AS held,
    SUM(CASE WHEN e.status IN ('enrolled', 'completed') THEN CAST(ROUND(c.credits * 100) AS INTEGER) ELSE 0 END)
      AS credit_hundredths,
    MAX(CASE e.status WHEN 'enrolled' THEN e.status_since_at WHEN 'completed' THEN e.created_at END) AS taken_at,
    MAX(e.seat_given_up_on) AS gave_up_on,
    MAX(CASE WHEN e.seat_given_up_by = 'withdrawal' THEN e.seat_given_up_on END) AS withdrew_on,
    MAX(e.changed_at) AS changed_at, MAX(x.changed_at) AS section_changed_at, MAX(c.changed_at) AS course_changed_at
  FROM page JOIN registration_enrollment e ON e.student_id = page.id
  JOIN registration_section x ON x.id = e.section_id JOIN registration_course c ON c.id = x.course_id
  GROUP BY e.student_id, x.term_id
)
SELECT {gathered} AS told FROM (
  SELECT s.id AS student_id, s.number, g.id AS grant_id, g.purpose, t.code, t.starts_on, t.ends_on,
    CAST(p.full_time_credits AS TEXT) AS full_time, s.status, s.status_since_at, seats.held, seats.credit_hundredths,
    seats.taken_at, seats.gave_up_on, seats.withdrew_on, s.changed_at AS student_at, g.granted_at AS grant_at,
    p.changed_at AS program_at, t.changed_at AS term_at, seats.changed_at AS seat_at,
    seats.section_changed_at AS section_at, seats.course_changed_at AS course_at
  FROM page JOIN registration_student s ON s.id = page.id JOIN registration_studentgrant g ON g.id = page.shown_by
  LEFT JOIN registration_program p ON p.id = s.program_id
  LEFT JOIN registration_term t ON {terms}
  LEFT JOIN seats ON seats.student_id = s.id AND seats.term_id = t.id
  ORDER BY s.number, t.starts_on DESC, t.code
) AS fact
"""
_COLUMNS: Final = (
    "student_id, number, grant_id, purpose, code, starts_on, ends_on, full_time, status, status_since_at, held, "
    "credit_hundredths, taken_at, gave_up_on, withdrew_on, student_at, grant_at, program_at, term_at, seat_at, section_at, "
    "course_at"
)
_GATHERED: Final = {
    "postgresql": f"CAST(COALESCE(json_agg(json_build_array({_COLUMNS})), '[]') AS TEXT)",
    "sqlite": f"json_group_array(json_array({_COLUMNS}))",
}
_CHANGED: Final = slice(15, None)


@dataclass(frozen=True)
class StudentTerm:
    """One student in one term. Without a `term` there is nothing to tell of them."""

    shown: Shown
    term: str | None
    standing: TermStanding | None
    updated_at: datetime.datetime


def statuses_of(student: StudentQuerySet, *, term: str | None) -> Statement:
    """What tells how one student stands in a term or, without one, in each term that has a seat of theirs on record and in
    the current one. `student` comes from `visible_to` and `with_grant_to`; of nobody, nothing is told."""
    return _statement(student, _ONE_TERM if term else _EVERY_TERM, term)


def statuses_in_term(students: StudentQuerySet, *, term: str | None) -> Statement:
    """What tells how each of the students stands in a term, by default the current one. As above."""
    return _statement(students, _ONE_TERM if term else _CURRENT_TERM, term)


def told(json: str) -> list[StudentTerm]:
    """What one of the statements above has read, in the order of student numbers, of each the newest term first."""
    return [_student_term(row) for row in orjson.loads(json)]


def changed_since(
    students: StudentQuerySet, since: datetime.datetime, *, term: str | None
) -> StudentQuerySet:
    """Narrow to those of whom a partner could be told something else since an instant: for a seat, a course, a program, the
    term, the student's own status, or a grant that shows them only now."""
    # SQLite's stamps are whole milliseconds, written without the digits behind them: a text compares as an instant does
    # when it is one microsecond before the millisecond.
    since = since.replace(microsecond=since.microsecond // _MILLISECOND * _MILLISECOND)
    later = {"changed_at__gte": since - datetime.timedelta(microseconds=1)}
    meant = {"code": term} if term else {"is_current": True}
    in_term = {f"section__term__{name}": value for name, value in meant.items()}
    seats = Enrollment.objects.filter(student=OuterRef("pk"), **in_term).filter(
        _later(later, "") | _later(later, "section__") | _later(later, "section__course__")
    )
    return students.filter(
        _later(later, "")
        | _later(later, "program__")
        | Exists(Term.objects.filter(**meant, **later))
        | Exists(seats)
        | Exists(StudentGrant.objects.filter(pk=OuterRef("shown_by"), granted_at__gte=since))
    )


def _later(condition: dict[str, Any], prefix: str) -> Q:
    return Q(**{f"{prefix}{name}": value for name, value in condition.items()})


def _statement(students: StudentQuerySet, terms: str, term: str | None) -> Statement:
    columns: tuple[Any, ...] = ("pk", "shown_by")  # the second is an annotation
    page, parameters = students.values(*columns).query.sql_with_params()
    sql = _STATEMENT.format(page=page, terms=terms, gathered=_GATHERED[connection.vendor])
    return Statement(sql, (*parameters, *([term] if term else [])))


def _student_term(row: list[Any]) -> StudentTerm:
    student_id, number, grant_id, purpose, term = row[:5]
    return StudentTerm(
        shown=Shown(student_id, number, grant_id, purpose),
        term=term,
        standing=standing(_facts(row)) if term else None,
        updated_at=max(instant for instant in map(_instant, row[_CHANGED]) if instant),
    )


def _facts(row: list[Any]) -> TermFacts:
    starts_on, ends_on, full_time, status, since_at, held, hundredths, taken_at, gave_up_on, withdrew_on = (
        row[5:15]
    )
    gave_up_on = _day(gave_up_on)
    moves = [day for day in (_local_day(taken_at), gave_up_on) if day]
    return TermFacts(
        term_starts_on=datetime.date.fromisoformat(starts_on),
        term_ends_on=datetime.date.fromisoformat(ends_on),
        full_time_credits=Decimal(full_time) if full_time is not None else USUAL_FULL_TIME_CREDITS,
        student_status=StudentStatus(status),
        student_status_since_on=_local_day(since_at),
        seats=held or 0,
        credits=Decimal(hundredths or 0).scaleb(-2),
        seats_since_on=max(moves, default=None),
        gave_up_on=gave_up_on,
        withdrew_on=_day(withdrew_on),
    )


def _instant(text: str | None) -> datetime.datetime | None:
    """An instant as either database writes it: SQLite's has no offset, and is UTC."""
    instant = parse_datetime(text) if text else None
    return instant.replace(tzinfo=instant.tzinfo or datetime.UTC) if instant else None


def _local_day(text: str | None) -> datetime.date | None:
    """The day, where the institution is, of an instant."""
    instant = _instant(text)
    return timezone.localdate(instant) if instant else None


def _day(text: str | None) -> datetime.date | None:
    return parse_date(text) if text else None
