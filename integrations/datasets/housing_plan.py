"""What a run's plan means for housing: which rows hold its records, and whom it concerns; as statements.

Selections are of the form that registration.housing_rows asks for. `->>` gives text on both databases.
"""

from __future__ import annotations

from typing import Final

from django.db import connection

from integrations.models import Change, SyncLink, SyncRun
from registration.bulk import Selection
from registration.models import HousingAssignment, Term
from registration.models.housing import CONTACT_FIELDS, LIVE
from registration.operations import HousingPlan

_CHANGE, _LINK = Change._meta.db_table, SyncLink._meta.db_table
_ROW, _TERM = HousingAssignment._meta.db_table, Term._meta.db_table
IS_LIVE: Final = f"IN ({', '.join(repr(str(status)) for status in LIVE)})"
# The change's link, and with it the row that holds the record until now.
_LINKED: Final = f"{_LINK} AS link ON link.stream_id = %s AND link.key = change.key"
_SAME_ROOM: Final = "{row}.hall = change.after ->> 'hall' AND {row}.room = change.after ->> 'room'"
_NOTHING: Final = Selection(f"SELECT id FROM {_ROW} WHERE 1 = 0", [])


def plan_of(run: SyncRun) -> HousingPlan:
    """The plan of `run` as registration carries it out; settles which rows are to hold its records."""
    _choose_rows(run)
    codes = {
        code
        for column in ("after__term_code", "before__term_code")
        for code in run.changes.effective().order_by().values_list(column, flat=True).distinct()
    }
    return HousingPlan(
        run_id=run.pk,
        placing=_placing(run),
        cancelling=_cancelling(run),
        reviving=_reviving(run) if run.undoes_id else _NOTHING,
        students=_students(run),
        terms=list(Term.objects.filter(code__in=codes - {None}).order_by("pk")),
    )


def _choose_rows(run: SyncRun) -> None:
    """A record stays in its row while it says the same room, and where it corrects a row that is over. An undo goes back
    to the row that the student had moved from, or that was cancelled."""
    if run.undoes_id:
        _give_rows(
            run,
            f"JOIN {_ROW} AS present ON present.id = link.object_id JOIN {_ROW} AS chosen ON chosen.id = present.moved_from_id",
            f"change.action = 'modify' AND {_SAME_ROOM.format(row='chosen')} "
            f"AND NOT ({_SAME_ROOM.format(row='present')})",
        )
        _give_rows(
            run,
            f"JOIN {_ROW} AS chosen ON chosen.recorded_change = link.change_id",
            "change.action = 'create' AND chosen.status = 'cancelled' AND chosen.cancelled_from <> '' AND NOT EXISTS "
            f"(SELECT 1 FROM {_ROW} AS later WHERE later.moved_from_id = chosen.id "
            "AND later.recorded_change = chosen.recorded_change)",
        )
    _give_rows(
        run,
        f"JOIN {_ROW} AS chosen ON chosen.id = link.object_id "
        f"JOIN {_TERM} AS term ON term.id = chosen.term_id",
        "change.action = 'modify' AND chosen.student_id = change.student_id "
        f"AND term.code = change.after ->> 'term_code' AND (chosen.status NOT {IS_LIVE} "
        f"OR ({_SAME_ROOM.format(row='chosen')})) "
        f"AND NOT EXISTS (SELECT 1 FROM {_ROW} AS given WHERE given.id = change.object_id)",
    )


def _give_rows(run: SyncRun, joins: str, condition: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {_CHANGE} SET object_id = found.row_id FROM (SELECT change.id AS change_id, "
            f"chosen.id AS row_id FROM {_CHANGE} AS change JOIN {_LINKED} {joins} "
            f"WHERE change.run_id = %s AND change.object_id IS NOT NULL AND {condition}) AS found "
            f"WHERE {_CHANGE}.id = found.change_id",
            [run.stream_id, run.pk],
        )


def _placing(run: SyncRun) -> Selection:
    contact = ", ".join(f"coalesce(change.after ->> '{name}', '') AS {name}" for name in CONTACT_FIELDS)
    return Selection(
        "SELECT change.object_id AS id, link.object_id AS stands, change.student_id AS student_id, "
        "term.id AS term_id, change.after ->> 'assignment_id' AS reference, change.after ->> 'hall' AS hall, "
        "change.after ->> 'room' AS room, change.after ->> 'status' AS status, "
        "CAST(change.after ->> 'on_campus' AS text) AS on_campus, change.after ->> 'move_in_on' AS move_in_on, "
        f"change.after ->> 'move_out_on' AS move_out_on, {contact}, change.id AS change_id "
        f"FROM {_CHANGE} AS change JOIN {_TERM} AS term ON term.code = change.after ->> 'term_code' "
        f"LEFT JOIN {_LINKED} "
        "WHERE change.run_id = %s AND change.action IN ('create', 'modify') AND change.object_id IS NOT NULL",
        [run.stream_id, run.pk],
    )


def _cancelling(run: SyncRun) -> Selection:
    return Selection(
        f"SELECT link.object_id AS id, change.id AS change_id FROM {_CHANGE} AS change JOIN {_LINKED} "
        "WHERE change.run_id = %s AND change.action = 'void' AND link.object_id IS NOT NULL",
        [run.stream_id, run.pk],
    )


def _reviving(run: SyncRun) -> Selection:
    """The rooms that had been moved out of when a record was cancelled, and the cancellation is undone."""
    return Selection(
        f"SELECT past.id FROM {_CHANGE} AS change JOIN {_LINKED} "
        f"JOIN {_ROW} AS past ON past.recorded_change = link.change_id "
        "WHERE change.run_id = %s AND change.action = 'create' AND past.id <> change.object_id",
        [run.stream_id, run.pk],
    )


def _students(run: SyncRun) -> Selection:
    """Whose housing changes: those of the records, and those of whom the records were until now."""
    return Selection(
        f"SELECT change.student_id FROM {_CHANGE} AS change WHERE change.run_id = %s "
        "AND change.action IN ('create', 'modify', 'void') AND change.student_id IS NOT NULL UNION "
        f"SELECT present.student_id FROM {_CHANGE} AS change JOIN {_LINKED} "
        f"JOIN {_ROW} AS present ON present.id = link.object_id "
        "WHERE change.run_id = %s AND change.action IN ('modify', 'void')",
        [run.pk, run.stream_id, run.pk],
    )
