"""Housing assignments: where a student lives in a term, and with it the fee schedule that applies.

| status      | what stands here                                                            |
|-------------|-----------------------------------------------------------------------------|
| assigned    | a room that is kept: on campus for the fees, if the record says so          |
| checked_in  | the same; the student has moved in                                          |
| checked_out | history; on campus for the fees if the student stayed beyond the census     |
| cancelled   | cancelled, and every room the record had before: it never was               |

A record whose hall or room changes is a move: its row is checked out and another begins. What has moved out is not voided
by absence: that a source forgets its history does not unmake it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from django.db import models
from django.db.models import Sum
from pydantic import TypeAdapter, ValidationError

from integrations.datasets.base import CanonicalRecord, Dataset, HandEdit, References, StagedRecord, TakenBack
from integrations.datasets.housing_claims import contradictions
from integrations.datasets.housing_plan import plan_of
from integrations.datasets.housing_record import MASKED, HousingAssignmentRecord, Reference
from integrations.datasets.rejection import Rejected, Rejection
from integrations.datasets.terms import TermCodes
from integrations.models import Change, Stream, SyncRun
from registration.models import HousingAssignment, LedgerEntry, Student, Term
from registration.models.housing import CONTACT_FIELDS, LIVE, HousingStatus
from registration.operations import apply_housing_plan, fee_effects_of

_KEY: Final = TypeAdapter(Reference)
# What a person can make of a synced row.
_EDITED_FIELDS: Final = ("hall", "room", "status", "on_campus", "move_in_on", "move_out_on", *CONTACT_FIELDS)


class HousingAssignments(Dataset):
    name: ClassVar[str] = "housing_assignments"
    label: ClassVar[str] = "Housing assignments"
    held_by: ClassVar[type[models.Model]] = HousingAssignment
    has_money: ClassVar[bool] = True
    moves_students_whole: ClassVar[bool] = True
    masked_fields: ClassVar[frozenset[str]] = MASKED
    masked_for: ClassVar[str] = "registration.view_contact_housingassignment"
    shown_fields: ClassVar[Sequence[str]] = (
        "student_number",
        "term_code",
        "hall",
        "room",
        "status",
        "on_campus",
        "move_in_on",
        "move_out_on",
    )
    # A switch of on_campus turns a few hundred bills at once, and looks like any other modification.
    guard_defaults: ClassVar[Mapping[str, Any]] = {"max_modified_share": 0.05, "max_modified_count": 10}
    Record: ClassVar[type[CanonicalRecord]] = HousingAssignmentRecord

    def key_of(self, values: dict[str, Any]) -> str:
        try:
            return _KEY.validate_python(values.get("assignment_id"))
        except ValidationError:
            return ""

    def find_references(self, records: Sequence[HousingAssignmentRecord], stream: Stream) -> References:
        numbers = {record.student_number for record in records}
        students = dict(Student.objects.numbered(numbers).values_list("number", "id"))
        return References(students=students, terms=TermCodes.of(stream.connection))

    def stage(self, record: HousingAssignmentRecord, references: References) -> StagedRecord:
        student_id = references.students.get(record.student_number)
        if student_id is None:
            raise Rejected(
                Rejection(
                    "unknown_student",
                    f"There is no student with number {record.student_number}.",
                    "student_number",
                )
            )
        term = references.terms.resolve(record.term_code, record.move_in_on)
        return StagedRecord(
            key=record.assignment_id,
            student_id=student_id,
            amount=0,
            values={**record.model_dump(mode="json"), "term_code": term},
            is_live=record.status != "cancelled",
        )

    def posts(self, values: dict[str, Any]) -> bool:
        return bool(values["status"] != HousingStatus.CANCELLED)

    def is_in_closed_term(self, record: str) -> str:
        """Neither in a closed term nor of a room that was moved out of does absence mean anything."""
        return f"({super().is_in_closed_term(record)} OR {record} ->> 'status' = 'checked_out')"

    def contradictions(self, run: SyncRun) -> dict[int, Rejection]:
        return contradictions(run)

    def hand_edits(self, stream: Stream) -> dict[int, HandEdit]:
        """Rows that a person has corrected, and those that a person has let the student move on from."""
        edited = HousingAssignment.objects.filter(edited_at__isnull=False).values("pk")
        link_of = dict(stream.links.filter(live=True, object_id__in=edited).values_list("object_id", "pk"))
        rows = HousingAssignment.objects.in_bulk(link_of)
        return {link_of[pk]: _edit(row, _where_moved(row)) for pk, row in rows.items()}

    def contradicts(self, says: Mapping[str, Any] | None, edit: HandEdit) -> bool:
        if says is None or edit.is_void:
            return (says is None) != edit.is_void
        return any(says[name] != value for name, value in edit.values.items())

    def why_left(self, taken: Sequence[TakenBack]) -> dict[int, str]:
        """What a person has edited since, and rooms that would come back beside another one."""
        rows = HousingAssignment.objects.in_bulk([each.object_id for each in taken if each.object_id])
        rooms = _rooms_of_others(taken)
        reasons = {}
        for each in taken:
            row = rows.get(each.object_id or 0)
            if row is not None and row.edited_at is not None:
                reasons[each.change.pk] = f"edited by hand since, by {row.edited_by}"
            elif other := _in_the_way(each, rooms):
                reasons[each.change.pk] = f"the student has {other} since"
        return reasons

    def live_money(self, stream: Stream) -> int:
        """The fees by schedules, in open terms, of the students of whom the stream has live records."""
        holding = stream.links.filter(live=True, object_id__isnull=False).values("object_id")
        students = HousingAssignment.objects.filter(pk__in=holding).values("student_id")
        fees = LedgerEntry.objects.live().from_schedules().filter(term__is_closed=False)
        return int(fees.filter(account__in=students).aggregate(total=Sum("amount_minor"))["total"] or 0)

    def in_words(self, values: Mapping[str, Any]) -> str:
        where = "on campus" if values["on_campus"] else "off campus"
        return f"{values['hall']} {values['room']}, {values['status'].replace('_', ' ')}, {where}"

    def money_moved(self, run: SyncRun) -> dict[int, int]:
        """The fees that would change, each on one change of the student and term that it is of."""
        effects = fee_effects_of(plan_of(run))
        numbers = Student.objects.in_bulk([effect.student_id for effect in effects])
        codes = Term.objects.in_bulk([effect.term_id for effect in effects])
        moved = {
            (numbers[effect.student_id].number, codes[effect.term_id].code): abs(effect.after - effect.before)
            for effect in effects
        }
        weights: dict[int, int] = defaultdict(int)
        for change in run.changes.effective().order_by("pk") if moved else ():
            for place in _places(change):
                weights[change.pk] += moved.pop(place, 0)
        return weights

    def land(self, run: SyncRun) -> int:
        return apply_housing_plan(plan_of(run))


def _places(change: Change) -> list[tuple[str, str]]:
    """The students and terms that a change concerns, by number and code."""
    return [
        (values["student_number"], values["term_code"]) for values in (change.after, change.before) if values
    ]


def _where_moved(row: HousingAssignment) -> HousingAssignment:
    """The room that people have made of this one."""
    while (later := row.moved_on_to.filter(recorded_run__isnull=True).first()) is not None:
        row = later
    return row


def _edit(edited: HousingAssignment, present: HousingAssignment) -> HandEdit:
    by, at = edited.edited_by, edited.edited_at or edited.recorded_at
    if present.status == HousingStatus.CANCELLED:
        return HandEdit(None, by, at, "cancelled by hand")
    values = {name: _canonical(getattr(present, name)) for name in _EDITED_FIELDS}
    return HandEdit(0, by, at, f"{present}, {present.get_status_display().lower()}", values)


def _canonical(value: Any) -> Any:
    """A column's value as a canonical record writes it."""
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return None if value == "" else value


def _rooms_of_others(taken: Sequence[TakenBack]) -> dict[tuple[str, str], HousingAssignment]:
    """The rooms that are kept for the students of these changes now, but for those that the run itself gave them."""
    students = {each.change.student_id for each in taken}
    runs = {each.change.run_id for each in taken}
    rooms = HousingAssignment.objects.live().filter(student__in=students).select_related("student", "term")
    return {(room.student.number, room.term.code): room for room in rooms if room.recorded_run not in runs}


def _in_the_way(
    taken: TakenBack, rooms: Mapping[tuple[str, str], HousingAssignment]
) -> HousingAssignment | None:
    """The room that stands where one would be restored."""
    restored = taken.restored
    if restored is None or restored["status"] not in LIVE:
        return None
    room = rooms.get((restored["student_number"], restored["term_code"]))
    return None if room is None or room.pk == taken.object_id else room
