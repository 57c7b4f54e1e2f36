"""What may be done to housing assignments. Where fees were assessed already they follow, in the same transaction.

Whoever changes where people live in a term holds the lock of its row, so that two of them cannot give a student two rooms.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.db import transaction
from django.utils import timezone

import audit
from registration.models import HousingAssignment, Term
from registration.models.housing import CONTACT_FIELDS, HousingStatus
from registration.operations.fees import follow_fees
from registration.operations.refusal import Refused
from registration.signals import housing_changed


@transaction.atomic
def record_assignment(assignment: HousingAssignment) -> HousingAssignment:
    """Keep an assignment as a person has written it, new or corrected, and return the row that now holds.

    A room that was moved out of stays as history: a live assignment whose hall or room has become another one is
    checked out on the day of the move (the new move-in day, or else today), and a new row begins.

    Raises Refused when the student has another live room in the term.
    """
    lock_terms([assignment.term_id])
    stored = HousingAssignment.objects.select_for_update().filter(pk=assignment.pk).first()
    if assignment.is_live and _another_live(assignment):
        raise Refused(
            f"{assignment.student} has a room in {assignment.term} already: end that assignment first."
        )
    if stored is not None and (stored.student_id, stored.term_id) != (
        assignment.student_id,
        assignment.term_id,
    ):
        raise Refused("An assignment stays with its student and term: cancel it, and add another one.")
    if stored is None:
        action = "recorded"
        _begin(assignment)
    elif stored.is_live and (stored.hall, stored.room) != (assignment.hall, assignment.room):
        action = "moved"
        assignment = _moved(stored, assignment)
    else:
        action = "changed"
        if assignment.status != HousingStatus.CANCELLED:
            assignment.cancelled_from = ""
        assignment.edited_at, assignment.edited_by = timezone.now(), audit.current_actor().name
        assignment.save()
    audit.record(
        f"housing_assignment.{action}",
        assignment,
        detail={"student": assignment.student.number, "term": assignment.term.code},
    )
    housing_changed.send(sender=HousingAssignment, run=None, students=[assignment.student_id])
    follow_fees(assignment.student, assignment.term, why=f"Housing: {_in_words(assignment)}.")
    return assignment


def contact_of(assignment: HousingAssignment) -> dict[str, str]:
    """Return the residence address and emergency contact, by field; that they were looked at is kept."""
    audit.record(
        "housing_assignment.contact_seen",
        assignment,
        detail={"student": assignment.student.number, "term": assignment.term.code},
    )
    return {name: getattr(assignment, name) for name in CONTACT_FIELDS}


def lock_terms(terms: Iterable[int]) -> None:
    """Whoever else changes where people live in these terms (ids) waits here."""
    list(Term.objects.select_for_update(no_key=True).filter(pk__in=terms).order_by("pk"))


def _another_live(assignment: HousingAssignment) -> bool:
    live = HousingAssignment.objects.live().filter(student=assignment.student_id, term=assignment.term_id)
    return live.exclude(pk=assignment.pk).exists()


def _begin(assignment: HousingAssignment) -> None:
    assignment.recorded_at, assignment.recorded_by = timezone.now(), audit.current_actor().name
    assignment.recorded_run = assignment.recorded_change = assignment.edited_at = None
    assignment.edited_by = ""
    assignment.save()


def _moved(stored: HousingAssignment, written: HousingAssignment) -> HousingAssignment:
    """End the stored row and begin another one as it was written."""
    values = {
        field.attname: getattr(written, field.attname)
        for field in HousingAssignment._meta.concrete_fields
        if not field.primary_key and field.name != "moved_from"
    }
    begun = HousingAssignment(**values, moved_from=stored)
    if begun.move_in_on is None or begun.move_in_on == stored.move_in_on:
        begun.move_in_on = max(timezone.localdate(), stored.move_in_on or timezone.localdate())
    if begun.move_out_on is not None and begun.move_out_on < begun.move_in_on:
        raise Refused("The move-out day lies before the move: correct it first.")
    stored.status = HousingStatus.CHECKED_OUT
    stored.move_out_on = max(begun.move_in_on, stored.move_in_on or begun.move_in_on)
    stored.edited_at, stored.edited_by = timezone.now(), audit.current_actor().name
    stored.save(update_fields=["status", "move_out_on", "edited_at", "edited_by"])
    _begin(begun)
    return begun


def _in_words(assignment: HousingAssignment) -> str:
    where = "on campus" if assignment.on_campus else "off campus"
    return f"{assignment.get_status_display().lower()}, {assignment.hall} {assignment.room}, {where}"
