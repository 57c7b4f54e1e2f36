"""What a sync run does to housing assignments, as sets: the rows, then the fees that follow from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Final

from django.db import transaction

from registration.bulk import Selection, hash_joins
from registration.fees import FeeEffect, effects_of_living
from registration.housing_rows import Overlap, place
from registration.models import HousingAssignment, Student, Term
from registration.models.housing import LivingArrangement
from registration.operations.fees import follow_fees_of
from registration.operations.housing import lock_terms
from registration.operations.refusal import Refused
from registration.signals import housing_changed

# A student and a term, by their ids.
Place = tuple[int, int]
_CHUNK: Final = 500
_MANY: Final = 500


@dataclass(frozen=True)
class HousingPlan:
    """What a sync run means for housing: the selections of registration.housing_rows.place, the students concerned (a
    selection of ids) and the terms."""

    run_id: int
    placing: Selection
    cancelling: Selection
    reviving: Selection
    students: Selection
    terms: Sequence[Term]


@transaction.atomic
def apply_housing_plan(plan: HousingPlan) -> int:
    """Carry a run's plan into housing assignments, let the fees follow, and return how many rows hold a record of it.

    The caller records the one audit event that stands for the run. Raises Refused when somebody was given another
    room since the run was planned.
    """
    students = list(_students(plan))
    with _joined(len(students)):
        placed = _place(plan)
        if students:
            housing_changed.send(sender=HousingAssignment, run=plan.run_id, students=students)
            follow_fees_of(plan.students, terms=plan.terms, why=f"Housing, run {plan.run_id}.")
    return placed


def fee_effects_of(plan: HousingPlan) -> list[FeeEffect]:
    """Return whose fees would change by the plan, and from what to what; raises Refused as carrying it out would.

    The rows are written, looked at and taken back: what would be has no second description that could differ from
    what will be.
    """
    students = sum(1 for _ in _students(plan))
    with transaction.atomic(), _joined(students):
        undone = transaction.savepoint()
        before = _on_campus(plan)
        _place(plan)
        after = _on_campus(plan)
        transaction.savepoint_rollback(undone)
    moved = dict.fromkeys(after - before, LivingArrangement.ON_CAMPUS)
    moved |= dict.fromkeys(before - after, LivingArrangement.OFF_CAMPUS)
    return [effect for living in _as_selections(moved) for effect in effects_of_living(living)]


def _joined(students: int) -> AbstractContextManager[None]:
    """Statements about many students join their sets by hashing; about few, the planner knows better."""
    return hash_joins() if students >= _MANY else nullcontext()


def _place(plan: HousingPlan) -> int:
    lock_terms([term.pk for term in plan.terms])
    try:
        return place(plan.run_id, placing=plan.placing, cancelling=plan.cancelling, reviving=plan.reviving)
    except Overlap as overlap:
        raise Refused(f"{overlap} Nothing was changed; sync again.") from None


def _students(plan: HousingPlan) -> Iterator[int]:
    concerned = Student.objects.extra(where=[f"id IN ({plan.students.sql})"], params=[*plan.students.params])
    return concerned.order_by("pk").values_list("pk", flat=True).iterator()


def _on_campus(plan: HousingPlan) -> set[Place]:
    """Who of the plan's students lives on campus in which of its terms."""
    rows = HousingAssignment.objects.on_campus().filter(term__in=plan.terms)
    concerned = rows.extra(
        where=[f"{HousingAssignment._meta.db_table}.student_id IN ({plan.students.sql})"],
        params=[*plan.students.params],
    )
    return set(concerned.order_by().values_list("student", "term"))


def _as_selections(moved: Mapping[Place, LivingArrangement]) -> Iterator[Selection]:
    """The moves as selections of (student_id, term_id, living_arrangement), in parts that any database takes."""
    rows = iter(sorted((*place_, str(living)) for place_, living in moved.items()))
    while chunk := list(islice(rows, _CHUNK)):
        values = ", ".join(["(%s, %s, %s)"] * len(chunk))
        yield Selection(
            "SELECT column1 AS student_id, column2 AS term_id, column3 AS living_arrangement "
            f"FROM (VALUES {values}) AS moved",
            [value for row in chunk for value in row],
        )
