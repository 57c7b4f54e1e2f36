"""What students owe by their fee schedules, as a pure, set-based function of what is true about them.

Nothing here remembers what was charged before: the answer follows from enrollments, credits, residency, living
arrangement, schedules and the days on which seats were given up, so that any order of events has one end.
docs/billing.md says the same in words. Every statement reads the same on SQLite and PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db import connection

from registration.bulk import Selection
from registration.models import (
    BillingAccount,
    Course,
    Enrollment,
    FeeItem,
    FeeSchedule,
    HousingAssignment,
    LedgerEntry,
    RefundStep,
    Section,
    Student,
    Term,
)

_ENTRY, _ACCOUNT, _STUDENT = (model._meta.db_table for model in (LedgerEntry, BillingAccount, Student))
_ENROLLMENT, _SECTION, _COURSE, _TERM = (
    model._meta.db_table for model in (Enrollment, Section, Course, Term)
)
_SCHEDULE, _ITEM, _STEP = (model._meta.db_table for model in (FeeSchedule, FeeItem, RefundStep))
_HOUSING = HousingAssignment._meta.db_table
_NO_OVERLAY: Final = Selection(
    f"SELECT student_id, term_id, '' AS living_arrangement FROM {_HOUSING} WHERE 1 = 0", []
)


@dataclass(frozen=True)
class FeeScope:
    """Whose fees are asked for: everyone's in a term, or those of the students that `students` selects (ids).

    `living` selects (student_id, term_id, living_arrangement) to be taken instead of what housing assignments
    say: the fees that a change of housing would lead to, without making it.
    """

    terms: Sequence[int]
    students: Selection | None = None
    living: Selection | None = None

    def of(self, student: str, term: str) -> Selection:
        """The condition that two columns lie within the scope."""
        sql, params = f"{term} IN ({', '.join(['%s'] * len(self.terms))})", [*self.terms]
        if self.students is not None:
            sql, params = f"{sql} AND {student} IN ({self.students.sql})", [*params, *self.students.params]
        return Selection(sql, params)


@dataclass(frozen=True)
class FeeEffect:
    """One student's fees in a term, in minor units, as things are and as they would become."""

    student_id: int
    term_id: int
    before: int
    after: int


def only(*student_ids: int) -> Selection:
    """The selection of these students."""
    return Selection(", ".join(["%s"] * len(student_ids)), student_ids)


def _in_hundredths(sql: str) -> str:
    """SQL for an integer of hundredths as a plain decimal, such as 1.50."""
    rest = f"({sql}) %% 100"
    return (
        f"CAST(({sql}) / 100 AS text) || '.' || CASE WHEN {rest} < 10 THEN '0' ELSE '' END "
        f"|| CAST({rest} AS text)"
    )


# A seat that was given up keeps what its schedule's step for that day does not refund, in hundredths of a percent.
_KEPT = (
    "CASE WHEN seat.seat_exit = '' THEN 10000 ELSE 10000 - COALESCE("
    f"(SELECT CAST(ROUND(step.percent * 100) AS bigint) FROM {_STEP} AS step "
    "WHERE step.schedule_id = priced.schedule_id AND step.applies_to = seat.seat_exit "
    "AND step.through_on >= seat.seat_given_up_on ORDER BY step.through_on LIMIT 1), 0) END"
)
# Rounded half up, once for a fee and student, never by section: so no order of adding and dropping can matter.
_AMOUNT = (
    "CASE item.basis WHEN 'flat' THEN (item.amount_minor * standing.share + 5000) / 10000 "
    "ELSE (item.amount_minor * standing.credit_share + 500000) / 1000000 END"
)
_BASIS = (
    "CASE WHEN item.basis = 'flat' AND standing.share = 10000 THEN 'flat' "
    f"WHEN item.basis = 'flat' THEN {_in_hundredths('standing.share')} || '%% kept of the flat fee' "
    f"ELSE {_in_hundredths('standing.held')} || ' credits' || CASE WHEN standing.given_up > 0 "
    f"THEN ', and a share of ' || {_in_hundredths('standing.given_up')} || ' given up' ELSE '' END END"
)
# The same condition as HousingAssignmentQuerySet.on_campus.
_ON_CAMPUS = (
    f"EXISTS (SELECT 1 FROM {_HOUSING} AS housing WHERE housing.student_id = person.student_id "
    "AND housing.term_id = person.term_id AND housing.on_campus AND (housing.status IN ('assigned', 'checked_in') "
    "OR (housing.status = 'checked_out' AND housing.move_out_on > term.census_on)))"
)


def _parts(scope: FeeScope) -> Selection:
    """The WITH clause that the statements below begin with.

    seat: what is held, or was held and given up. person: who has a seat, or a charge of a schedule. priced: which
    schedule a person's fees follow; who is of no schedule is missing there, and nothing of theirs is touched.
    standing: all seats of a person together. should: each fee that is owed.
    """
    seats, charges = (
        scope.of("enrollment.student_id", "section.term_id"),
        scope.of("entry.account_id", "entry.term_id"),
    )
    living = scope.living or _NO_OVERLAY
    sql = f"""
WITH seat AS (
  SELECT enrollment.student_id, section.term_id, CAST(ROUND(course.credits * 100) AS bigint) AS hundredths,
    CASE WHEN enrollment.status IN ('enrolled', 'completed') THEN '' ELSE enrollment.seat_given_up_by END AS seat_exit,
    enrollment.seat_given_up_on
  FROM {_ENROLLMENT} AS enrollment JOIN {_SECTION} AS section ON section.id = enrollment.section_id
  JOIN {_COURSE} AS course ON course.id = section.course_id
  WHERE {seats.sql}
    AND (enrollment.status IN ('enrolled', 'completed') OR enrollment.seat_given_up_on IS NOT NULL)
), person AS (
  SELECT student_id, term_id FROM seat
  UNION SELECT entry.account_id, entry.term_id FROM {_ENTRY} AS entry
  WHERE {charges.sql} AND entry.fee_item_id IS NOT NULL AND entry.state <> 'void'
), overlay AS ({living.sql}
), priced AS (
  SELECT person.student_id, person.term_id, schedule.id AS schedule_id, schedule.currency, term.starts_on
  FROM person JOIN {_STUDENT} AS student ON student.id = person.student_id
  JOIN {_TERM} AS term ON term.id = person.term_id
  LEFT JOIN overlay ON overlay.student_id = person.student_id AND overlay.term_id = person.term_id
  LEFT JOIN {_ACCOUNT} AS account ON account.student_id = person.student_id
  JOIN {_SCHEDULE} AS schedule ON schedule.term_id = person.term_id AND schedule.residency = student.residency
    AND schedule.living_arrangement = COALESCE(overlay.living_arrangement,
      CASE WHEN {_ON_CAMPUS} THEN 'on_campus' ELSE 'off_campus' END)
    AND schedule.currency = COALESCE(account.currency, schedule.currency)
), kept AS (
  SELECT seat.student_id, seat.term_id, seat.hundredths, seat.seat_exit, priced.schedule_id, priced.currency,
    priced.starts_on, {_KEPT} AS kept
  FROM seat JOIN priced ON priced.student_id = seat.student_id AND priced.term_id = seat.term_id
), standing AS (
  SELECT student_id, term_id, schedule_id, currency, starts_on, MAX(kept) AS share,
    CAST(SUM(hundredths * kept) AS bigint) AS credit_share,
    CAST(SUM(CASE WHEN seat_exit = '' THEN hundredths ELSE 0 END) AS bigint) AS held,
    CAST(SUM(CASE WHEN seat_exit <> '' AND kept > 0 THEN hundredths ELSE 0 END) AS bigint) AS given_up
  FROM kept GROUP BY student_id, term_id, schedule_id, currency, starts_on
), fee AS (
  SELECT standing.student_id, standing.term_id, standing.currency, standing.starts_on, item.id AS fee_item_id,
    item.code, item.description, {_AMOUNT} AS amount_minor, {_BASIS} AS basis
  FROM standing JOIN {_ITEM} AS item ON item.schedule_id = standing.schedule_id
), should AS (SELECT * FROM fee WHERE amount_minor > 0
)"""
    return Selection(sql, [*seats.params, *charges.params, *living.params])


def fees_owed(scope: FeeScope) -> Selection:
    """Every fee that should be charged: student_id, term_id, fee_item_id, code, description, amount_minor, basis,
    currency, starts_on."""
    parts = _parts(scope)
    return Selection(
        f"{parts.sql} SELECT student_id, term_id, fee_item_id, code, description, amount_minor, basis, currency, "
        "starts_on FROM should",
        parts.params,
    )


def charges_too_many(scope: FeeScope) -> Selection:
    """Ids of live charges that the schedules do not say, or say with another amount."""
    parts = _parts(scope)
    return Selection(
        f"{parts.sql} SELECT entry.id FROM {_ENTRY} AS entry "
        "JOIN priced ON priced.student_id = entry.account_id AND priced.term_id = entry.term_id "
        "LEFT JOIN should ON should.student_id = entry.account_id AND should.term_id = entry.term_id "
        "AND should.code = entry.code AND should.amount_minor = entry.amount_minor "
        "WHERE entry.fee_item_id IS NOT NULL AND entry.state <> 'void' AND should.student_id IS NULL",
        parts.params,
    )


def charges_missing(scope: FeeScope, *, of_newcomers: bool = False) -> Selection:
    """Fees that no live charge stands for, in the columns of fees_owed; `of_newcomers` leaves out those to whom
    the term's schedules have been applied before."""
    parts = _parts(scope)
    newcomers = (
        f" AND NOT EXISTS (SELECT 1 FROM {_ENTRY} AS earlier WHERE earlier.account_id = should.student_id "
        "AND earlier.term_id = should.term_id AND earlier.fee_item_id IS NOT NULL)"
    )
    return Selection(
        f"{parts.sql} SELECT should.student_id, should.term_id, should.fee_item_id, should.code, "
        "should.description, should.amount_minor, should.basis, should.currency, should.starts_on FROM should "
        f"LEFT JOIN {_ENTRY} AS entry ON entry.account_id = should.student_id AND entry.term_id = should.term_id "
        "AND entry.fee_item_id IS NOT NULL AND entry.state <> 'void' AND entry.code = should.code "
        "AND entry.amount_minor = should.amount_minor "
        f"WHERE entry.id IS NULL{newcomers if of_newcomers else ''}",
        parts.params,
    )


def differences(scope: FeeScope) -> Selection:
    """Where charges are not what schedules say: student_id, term_id, code, charged, owed; by student and code."""
    parts = _parts(scope)
    return Selection(
        f"{parts.sql} SELECT student_id, term_id, code, CAST(SUM(charged) AS bigint), CAST(SUM(owed) AS bigint) "
        "FROM (SELECT student_id, term_id, code, 0 AS charged, amount_minor AS owed FROM should UNION ALL "
        "SELECT entry.account_id, entry.term_id, entry.code, entry.amount_minor, 0 "
        f"FROM {_ENTRY} AS entry JOIN priced ON priced.student_id = entry.account_id "
        "AND priced.term_id = entry.term_id WHERE entry.fee_item_id IS NOT NULL AND entry.state <> 'void') AS both_sides "
        "GROUP BY student_id, term_id, code HAVING SUM(charged) <> SUM(owed) ORDER BY student_id, code",
        parts.params,
    )


def unpriced(scope: FeeScope) -> list[int]:
    """Return the students who have seats or charges, and whom no schedule fits: their fees stay as they are."""
    parts = _parts(scope)
    rows = _rows(
        Selection(
            f"{parts.sql} SELECT person.student_id FROM person LEFT JOIN priced "
            "ON priced.student_id = person.student_id AND priced.term_id = person.term_id "
            "WHERE priced.student_id IS NULL ORDER BY person.student_id",
            parts.params,
        )
    )
    return [student for (student,) in rows]


def effects_of_living(living: Selection) -> list[FeeEffect]:
    """Return whose fees would change, and from what to what, were `living` true: a selection of (student_id,
    term_id, living_arrangement). Both sides are what schedules say, whether or not it has been charged yet.

    Terms whose books are closed are left out, and so is whoever no schedule would fit: nothing of theirs moves.
    """
    terms = list(Term.objects.filter(is_closed=False).values_list("pk", flat=True))
    if not terms:
        return []
    students = Selection(f"SELECT student_id FROM ({living.sql}) AS moved", living.params)
    as_is, as_would = (
        _parts(FeeScope(terms, students)),
        _parts(FeeScope(terms, students, living)),
    )
    total = "SELECT priced.student_id, priced.term_id, COALESCE(SUM(should.amount_minor), 0) AS total FROM priced "
    total += "LEFT JOIN should ON should.student_id = priced.student_id AND should.term_id = priced.term_id "
    total += "GROUP BY priced.student_id, priced.term_id"
    rows = _rows(
        Selection(
            "SELECT after.student_id, after.term_id, CAST(COALESCE(before.total, 0) AS bigint), "
            f"CAST(after.total AS bigint) FROM ({as_would.sql} {total}) AS after "
            f"LEFT JOIN ({as_is.sql} {total}) AS before "
            "ON before.student_id = after.student_id AND before.term_id = after.term_id "
            "WHERE after.total <> COALESCE(before.total, 0) ORDER BY after.student_id, after.term_id",
            [*as_would.params, *as_is.params],
        )
    )
    return [FeeEffect(*row) for row in rows]


def found_differences(scope: FeeScope) -> list[tuple[int, int, str, int, int]]:
    """Return the rows of `differences`."""
    return [(row[0], row[1], row[2], row[3], row[4]) for row in _rows(differences(scope))]


def _rows(selection: Selection) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(selection.sql, selection.params)
        return list(cursor.fetchall())
