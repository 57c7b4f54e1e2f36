"""Which of several rooms counts: one is kept for a student in a term, whoever says otherwise.

1. What stands, stands: a room that another system or a person has given the student counts until it is ended there.
2. Of the rooms that one feed keeps, the one that stands already counts; else the one that the student has checked in
   to, before one that is only assigned; else the one that begins later; else the later by its id.

The others are rejected with the reason, stand on the run page, and are looked at again by every run: the first one after
the room that counts has ended takes them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db import connection

from integrations.datasets.housing_plan import IS_LIVE
from integrations.datasets.rejection import Rejection
from integrations.models import Change, SyncLink, SyncRun
from integrations.models.plan import ANOTHER_ROOM_RULE
from registration.models import HousingAssignment, Term
from registration.models.housing import HousingStatus

_CHANGE, _LINK = Change._meta.db_table, SyncLink._meta.db_table
_ROW, _TERM = HousingAssignment._meta.db_table, Term._meta.db_table
# Every room that would be kept once the plan is carried out: what its changes say, and what they do not end. The rooms
# of a record are its row and those that a person has made of it since.
_CROWDED: Final = f"""
WITH RECURSIVE own(id) AS (
  SELECT link.object_id FROM {_CHANGE} AS change
  JOIN {_LINK} AS link ON link.stream_id = %s AND link.key = change.key
  WHERE change.run_id = %s AND change.action IN ('create', 'modify', 'void') AND link.object_id IS NOT NULL
  UNION SELECT later.id FROM {_ROW} AS later JOIN own ON later.moved_from_id = own.id
  WHERE later.recorded_run IS NULL
), claim AS (
  SELECT change.id AS change_id, 0 AS row_id, change.student_id, term.id AS term_id
  FROM {_CHANGE} AS change JOIN {_TERM} AS term ON term.code = change.after ->> 'term_code'
  WHERE change.run_id = %s AND change.action IN ('create', 'modify') AND change.after ->> 'status' {IS_LIVE}
  UNION ALL
  SELECT 0, present.id, present.student_id, present.term_id FROM {_ROW} AS present
  WHERE present.status {IS_LIVE} AND present.id NOT IN (SELECT id FROM own) AND present.student_id IN
    (SELECT student_id FROM {_CHANGE} WHERE run_id = %s AND action IN ('create', 'modify'))
), crowded AS (
  SELECT student_id, term_id FROM claim GROUP BY student_id, term_id HAVING count(*) > 1
)
SELECT claim.student_id, claim.term_id, claim.change_id, claim.row_id FROM claim
JOIN crowded ON crowded.student_id = claim.student_id AND crowded.term_id = claim.term_id"""


@dataclass(frozen=True)
class _Claims:
    """The rooms that are claimed for one student in one term: changes of the plan, and rows that stand."""

    changes: Sequence[Change]
    rows: Sequence[HousingAssignment]


def contradictions(run: SyncRun) -> dict[int, Rejection]:
    """The changes of a plan that would keep a second room for a student in a term, by their ids."""
    rejections = {}
    for claims in _crowded(run):
        for change, reason in _losers(claims, _standing_keys(run, claims.changes)):
            rejections[change.pk] = Rejection(ANOTHER_ROOM_RULE, reason, "status")
    return rejections


def _crowded(run: SyncRun) -> Iterator[_Claims]:
    with connection.cursor() as cursor:
        cursor.execute(_CROWDED, [run.stream_id, run.pk, run.pk, run.pk])
        found = cursor.fetchall()
    changes = Change.objects.in_bulk([change for *_, change, _ in found if change])
    rows = HousingAssignment.objects.select_related("term").in_bulk([row for *_, row in found if row])
    places: dict[tuple[int, int], tuple[list[Change], list[HousingAssignment]]] = defaultdict(
        lambda: ([], [])
    )
    for student, term, change, row in found:
        if change:
            places[student, term][0].append(changes[change])
        else:
            places[student, term][1].append(rows[row])
    return (_Claims(*claims) for claims in places.values())


def _standing_keys(run: SyncRun, changes: Sequence[Change]) -> set[str]:
    """The records among these of which a room is kept now."""
    links = run.stream.links.filter(key__in=[change.key for change in changes])
    kept = HousingAssignment.objects.live().filter(pk__in=links.values("object_id"))
    return set(links.filter(object_id__in=kept.values("pk")).values_list("key", flat=True))


def _losers(claims: _Claims, standing: set[str]) -> Iterator[tuple[Change, str]]:
    """Each change that does not count, and why."""
    if claims.rows:
        row = claims.rows[0]
        reason = (
            f"The student has {row} in {row.term.code} already ({row.get_status_display().lower()}, "
            f"{_whose(row)}). This room counts once that one has been ended there."
        )
        yield from ((change, reason) for change in claims.changes)
        return
    first, *others = sorted(claims.changes, key=lambda change: _rank(change, standing), reverse=True)
    for change in others:
        yield (
            change,
            f"The feed keeps two rooms for the student in {_says(change)['term_code']}: {_named(first)} counts, "
            f"because {_why(first, change, standing)}. This one counts once that one has been ended at the source.",
        )


def _rank(change: Change, standing: set[str]) -> tuple[bool, bool, str, str]:
    says = _says(change)
    return (
        change.key in standing,
        says["status"] == HousingStatus.CHECKED_IN,
        says["move_in_on"] or "",
        change.key,
    )


_WHY: Final = (
    "it stands already",
    "the student has checked in to it",
    "it begins later",
    "its id is the later one",
)


def _why(first: Change, other: Change, standing: set[str]) -> str:
    """The first of the rules by which the two differ."""
    ranks = zip(_rank(first, standing), _rank(other, standing), _WHY, strict=True)
    return next(why for one, another, why in ranks if one != another)


def _named(change: Change) -> str:
    return f"{_says(change)['hall']} {_says(change)['room']} ({change.key})"


def _says(change: Change) -> dict[str, Any]:
    """The record as the feed has it: whoever claims a room has one."""
    return change.after or {}


def _whose(row: HousingAssignment) -> str:
    if row.recorded_run is None or row.edited_at is not None:
        return f"recorded by {row.edited_by or row.recorded_by}"
    run = SyncRun.objects.select_related("stream__connection").filter(pk=row.recorded_run).first()
    source = run.stream.connection.name if run else "another system"
    return f"{row.reference} of {source}"
