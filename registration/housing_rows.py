"""Set-based writes to housing assignments: a few statements for a whole sync run, whatever its size.

What a run places is a selection of PLACED_COLUMNS. `id` is the row that is to hold the record afterwards: one that is
there is written over, one that is not is begun. `stands` is the row that has held it until now, or nothing:

| `id`                | what becomes of `stands`                                                    |
|---------------------|-----------------------------------------------------------------------------|
| is `stands`         | it is written over: the same room, or a correction of what is over          |
| is not there yet    | a move: it is checked out on the day of the move. Of another student or     |
|                     | term it never was: it is cancelled                                          |
| another one, there  | a move that is taken back: it is cancelled                                  |
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any, Final

from django.db import connection
from django.utils import timezone

import audit
from registration.bulk import Selection
from registration.models import HousingAssignment
from registration.models.housing import CONTACT_FIELDS, LIVE

# In this order. Dates are ISO texts, `on_campus` is "true" or "1" where it is so, `change_id` names the sync's change.
PLACED_COLUMNS: Final = (
    "id",
    "stands",
    "student_id",
    "term_id",
    "reference",
    "hall",
    "room",
    "status",
    "on_campus",
    "move_in_on",
    "move_out_on",
    *CONTACT_FIELDS,
    "change_id",
)
_ROW: Final = HousingAssignment._meta.db_table
_WRITTEN: Final = ("reference", "hall", "room", "status", "on_campus", "move_out_on", *CONTACT_FIELDS)
_IS_LIVE: Final = f"IN ({', '.join(repr(str(status)) for status in LIVE)})"


class Overlap(Exception):
    """Two rooms would be kept for one student in one term: something has changed since this was planned."""


def place(run_id: int, *, placing: Selection, cancelling: Selection, reviving: Selection) -> int:
    """Write what a run places, cancels and revives, and return how many rows hold a record of it now.

    `cancelling` selects (row id, change id), `reviving` the ids of rows that an undone cancellation took. Raises
    Overlap. The caller holds the terms' locks.
    """
    write = _Writing(run_id, timezone.now(), timezone.localdate(), placing)
    write.cancel_with_their_past(cancelling)
    write.overrule_moves_by_hand()
    write.take_back_and_end()
    write.revive(reviving)
    placed = write.over(f"NOT {_IS_LIVE}")
    write.refuse_overlaps()
    return placed + write.over(_IS_LIVE) + write.begin()


class _Writing:
    """The statements of one run. `placed` in each is what the run places, in the columns' own types."""

    def __init__(self, run_id: int, now: datetime.datetime, today: datetime.date, placing: Selection) -> None:
        self._who = [connection.ops.adapt_datetimefield_value(now), audit.current_actor().name, run_id]
        self._today = _as_day(f"'{today.isoformat()}'")
        days = {"move_in_on", "move_out_on"}
        columns = [
            f"{_as_day(name)} AS {name}" if name in days else name
            for name in PLACED_COLUMNS
            if name != "on_campus"
        ]
        self._placed = (
            f"SELECT {', '.join(columns)}, on_campus IN ('true', '1') AS on_campus "
            f"FROM ({placing.sql}) AS raw"
        )
        self._params = [*placing.params]

    def cancel_with_their_past(self, cancelling: Selection) -> None:
        """What is cancelled never was, nor was any room that the record had before, or that a person gave it."""
        self._cancel(
            "WITH RECURSIVE gone(id, change_id) AS (SELECT id, change_id FROM "
            f"({cancelling.sql}) AS cancelled UNION SELECT other.id, gone.change_id FROM gone "
            f"JOIN {_ROW} AS present ON present.id = gone.id JOIN {_ROW} AS other ON other.id = present.moved_from_id "
            "OR (other.moved_from_id = present.id AND other.recorded_run IS NULL)) SELECT id, change_id FROM gone",
            [*cancelling.params],
        )

    def overrule_moves_by_hand(self) -> None:
        """A room that a person gave the record since goes where the source counts."""
        self._cancel(
            f"WITH RECURSIVE moved(id, change_id) AS (SELECT placed.stands, placed.change_id FROM ({self._placed}) "
            f"AS placed WHERE placed.stands IS NOT NULL UNION SELECT later.id, moved.change_id FROM {_ROW} AS later "
            "JOIN moved ON later.moved_from_id = moved.id WHERE later.recorded_run IS NULL) "
            f"SELECT moved.id AS id, moved.change_id AS change_id FROM moved JOIN {_ROW} AS begun ON begun.id = moved.id "
            f"WHERE begun.recorded_run IS NULL AND NOT EXISTS (SELECT 1 FROM ({self._placed}) AS held "
            "WHERE held.stands = begun.id OR held.id = begun.id)",
            [*self._params, *self._params],
        )

    def take_back_and_end(self) -> None:
        """What becomes of the rows that held a record which another row is to hold now."""
        other = f"FROM ({self._placed}) AS placed JOIN {_ROW} AS present ON present.id = placed.stands "
        other += "WHERE placed.id <> placed.stands AND "
        is_there = f"EXISTS (SELECT 1 FROM {_ROW} AS earlier WHERE earlier.id = placed.id)"
        is_whose = "placed.student_id = present.student_id AND placed.term_id = present.term_id"
        self._cancel(
            f"SELECT placed.stands AS id, placed.change_id AS change_id {other} ({is_there} OR NOT ({is_whose}))",
            self._params,
        )
        self._execute(
            f"UPDATE {_ROW} SET status = 'checked_out', move_out_on = ended.day, recorded_at = %s, recorded_by = %s, "
            f"recorded_run = %s, edited_at = NULL, edited_by = '' FROM (SELECT placed.stands, {self._moved_on()} AS day "
            f"{other} {is_whose} AND NOT {is_there} AND present.status {_IS_LIVE}) AS ended "
            f"WHERE {_ROW}.id = ended.stands",
            [*self._who, *self._params],
        )

    def revive(self, reviving: Selection) -> None:
        """Give back to rooms that had been moved out of what a cancellation took from them."""
        self._execute(
            f"UPDATE {_ROW} SET status = cancelled_from, cancelled_from = '', recorded_at = %s, recorded_by = %s, "
            f"recorded_run = %s WHERE status = 'cancelled' AND cancelled_from = 'checked_out' AND id IN ({reviving.sql})",
            [*self._who, *reviving.params],
        )

    def over(self, status: str) -> int:
        """Write over the rows that stay, of which the status is to be one of these."""
        values = ", ".join(f"{name} = placed.{name}" for name in _WRITTEN)
        begun_on = _begun_on(f"{_ROW}.move_in_on", f"{_ROW}.moved_from_id IS NOT NULL")
        return self._execute(
            f"UPDATE {_ROW} SET {values}, cancelled_from = '', move_in_on = {begun_on}, "
            "recorded_at = %s, recorded_by = %s, recorded_run = %s, recorded_change = placed.change_id, "
            f"edited_at = NULL, edited_by = '' FROM ({self._placed}) AS placed "
            f"WHERE {_ROW}.id = placed.id AND placed.status {status}",
            [*self._who, *self._params],
        )

    def refuse_overlaps(self) -> None:
        """Raise Overlap where somebody else keeps a room for the student in the term: the plan did not know of it."""
        found = self._rows(
            f"SELECT 1 FROM ({self._placed}) AS placed JOIN {_ROW} AS other ON other.student_id = placed.student_id "
            f"AND other.term_id = placed.term_id AND other.id <> placed.id AND other.status {_IS_LIVE} "
            f"AND NOT EXISTS (SELECT 1 FROM ({self._placed}) AS also WHERE also.id = other.id) "
            f"WHERE placed.status {_IS_LIVE} LIMIT 1",
            [*self._params, *self._params],
        )
        if found:
            raise Overlap("Somebody was given another room since this was planned.")

    def begin(self) -> int:
        """Begin the rows that are not there yet."""
        names = ", ".join(("id", "student_id", "term_id", *_WRITTEN))
        values = ", ".join(f"placed.{name}" for name in ("id", "student_id", "term_id", *_WRITTEN))
        came = "present.status = 'checked_out' AND present.student_id = placed.student_id AND present.term_id = placed.term_id"
        return self._execute(
            f"INSERT INTO {_ROW} ({names}, cancelled_from, move_in_on, moved_from_id, recorded_at, recorded_by, recorded_run, "
            f"recorded_change, edited_by) SELECT {values}, '', "
            f"{_begun_on('present.move_out_on', 'present.id IS NOT NULL')}, present.id, %s, %s, CAST(%s AS bigint), "
            f"placed.change_id, '' FROM ({self._placed}) AS placed LEFT JOIN {_ROW} AS present "
            f"ON present.id = placed.stands AND {came} "
            f"WHERE NOT EXISTS (SELECT 1 FROM {_ROW} AS earlier WHERE earlier.id = placed.id)",
            [*self._who, *self._params],
        )

    def _moved_on(self) -> str:
        """The day of a move: when the record says that the new room begins, or else the day on which it is noticed, which
        lies neither before the old room began nor after the new one was left."""
        begins = "placed.move_in_on > present.move_in_on OR (present.move_in_on IS NULL AND placed.move_in_on IS NOT NULL)"
        return (
            f"CASE WHEN {begins} THEN placed.move_in_on "
            f"WHEN present.move_in_on >= {self._today} OR present.move_in_on >= placed.move_out_on "
            "THEN present.move_in_on "
            f"WHEN placed.move_out_on < {self._today} THEN placed.move_out_on ELSE {self._today} END"
        )

    def _cancel(self, going: str, params: Sequence[Any]) -> None:
        self._execute(
            f"UPDATE {_ROW} SET cancelled_from = {_ROW}.status, status = 'cancelled', recorded_at = %s, recorded_by = %s, "
            "recorded_run = %s, recorded_change = going.change_id, edited_at = NULL, edited_by = '' "
            f"FROM ({going}) AS going WHERE {_ROW}.id = going.id AND {_ROW}.status <> 'cancelled'",
            [*self._who, *params],
        )

    @staticmethod
    def _execute(sql: str, params: Sequence[Any]) -> int:
        with connection.cursor() as cursor:
            cursor.execute(sql, params)
            written: int = cursor.rowcount
            return written

    @staticmethod
    def _rows(sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(sql, params)
            return list(cursor.fetchall())


def _as_day(column: str) -> str:
    # SQLite keeps dates as ISO texts, and its CAST to date would make a number of one.
    return f"CAST({column} AS date)" if connection.vendor == "postgresql" else column


def _begun_on(since: str, continues: str) -> str:
    """When a row begins: on the record's day but, where it continues another room, not before that was left. The
    record of a move often keeps the day on which the student first came."""
    return (
        f"CASE WHEN {continues} AND (placed.move_in_on IS NULL OR placed.move_in_on < {since}) "
        f"THEN CASE WHEN placed.move_out_on < {since} THEN placed.move_out_on ELSE {since} END "
        "ELSE placed.move_in_on END"
    )
