"""The enrollment status of many students at once, in one statement: the road of a single answer and of a page alike.

The students come as a QuerySet, so that the one rule of who is visible (`Student.objects.visible_to`) is part of the
statement; what is on record of their seats is summed by the database.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from django.db import connection
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

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
# Credits are summed in hundredths: SQLite would add fractions as floats. Nothing of a caller's is in the text.
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
SELECT s.id, s.number, g.id, g.purpose, t.code, t.starts_on, t.ends_on, p.full_time_credits, s.status, s.status_since_at,
  seats.held, seats.credit_hundredths, seats.taken_at, seats.gave_up_on, seats.withdrew_on,
  s.changed_at, g.granted_at, p.changed_at, t.changed_at,
  seats.changed_at, seats.section_changed_at, seats.course_changed_at
FROM page JOIN registration_student s ON s.id = page.id JOIN registration_studentgrant g ON g.id = page.shown_by
LEFT JOIN registration_program p ON p.id = s.program_id
LEFT JOIN registration_term t ON {terms}
LEFT JOIN seats ON seats.student_id = s.id AND seats.term_id = t.id
ORDER BY s.number, t.starts_on DESC, t.code
"""
_CHANGED: Final = slice(15, None)


@dataclass(frozen=True)
class StudentTerm:
    """One student in one term, and the grant that shows the student. Without a `term` there is nothing to tell of them."""

    student_id: int
    number: str
    grant_id: int
    purpose: str
    term: str | None
    standing: TermStanding | None
    updated_at: datetime.datetime


def statuses_of(student: StudentQuerySet, *, term: str | None) -> list[StudentTerm]:
    """How one student stands in a term or, without one, in each term that has a seat of theirs on record and in the current
    one. `student` comes from `visible_to` and `with_grant_to`; for nobody, the list is empty."""
    return _read(student, _ONE_TERM if term else _EVERY_TERM, [term] if term else [])


def statuses_in_term(students: StudentQuerySet, *, term: str | None) -> list[StudentTerm]:
    """How each of the students stands in a term, by default the current one. As above."""
    rows = _read(students, _ONE_TERM if term else _CURRENT_TERM, [term] if term else [])
    return [row for row in rows if row.term is not None]


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


def _read(students: StudentQuerySet, terms: str, arguments: Sequence[str]) -> list[StudentTerm]:
    page, parameters = students.values("pk", "shown_by").query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(_STATEMENT.format(page=page, terms=terms), [*parameters, *arguments])
        return [_student_term(row) for row in cursor.fetchall()]


def _student_term(row: tuple[Any, ...]) -> StudentTerm:
    student_id, number, grant_id, purpose, term = row[:5]
    return StudentTerm(
        student_id=student_id,
        number=number,
        grant_id=grant_id,
        purpose=purpose,
        term=term,
        standing=standing(_facts(row)) if term else None,
        updated_at=max(instant for instant in map(_instant, row[_CHANGED]) if instant),
    )


def _facts(row: tuple[Any, ...]) -> TermFacts:
    starts_on, ends_on, full_time, status, since_at, held, hundredths, taken_at, gave_up_on, withdrew_on = (
        row[5:15]
    )
    starts_on, ends_on, gave_up_on = _day(starts_on), _day(ends_on), _day(gave_up_on)
    assert starts_on and ends_on  # noqa: S101, PT018 - columns of a term that is there
    moves = [day for day in (_local_day(taken_at), gave_up_on) if day]
    return TermFacts(
        term_starts_on=starts_on,
        term_ends_on=ends_on,
        full_time_credits=Decimal(str(full_time)) if full_time is not None else USUAL_FULL_TIME_CREDITS,
        student_status=StudentStatus(status),
        student_status_since_on=_local_day(since_at),
        seats=held or 0,
        credits=Decimal(hundredths or 0).scaleb(-2),
        seats_since_on=max(moves, default=None),
        gave_up_on=gave_up_on,
        withdrew_on=_day(withdrew_on),
    )


def _instant(value: object) -> datetime.datetime | None:
    """An instant of either database: SQLite's are texts where an expression brings them, and always UTC."""
    instant = parse_datetime(value) if isinstance(value, str) else value
    if not isinstance(instant, datetime.datetime):
        return None
    return instant if timezone.is_aware(instant) else instant.replace(tzinfo=datetime.UTC)


def _local_day(value: object) -> datetime.date | None:
    """The day, where the institution is, of an instant."""
    instant = _instant(value)
    return timezone.localdate(instant) if instant else None


def _day(value: object) -> datetime.date | None:
    day = parse_date(value) if isinstance(value, str) else value
    return day if isinstance(day, datetime.date) else None
