"""Deciding about many changes of fees at once, each as if it were decided by itself; as sets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import Final

from django.db import models, transaction
from django.utils import timezone

import audit
from registration.fees import FeeScope, only
from registration.models import FeeChange, Term
from registration.models.fee_change import FeeChangeStatus
from registration.operations.charging import lock_accounts, move
from registration.operations.fee_changes import decision_detail, lines_by_student
from registration.operations.refusal import Refused

# As many as every database takes as parameters of a few statements.
_PART: Final = 500
_HAS_CHANGED: Final = "what the fee schedule says has changed since: assess the term's fees again"


@dataclass
class FeeDecisions:
    """How many changes were decided, and why the others were not, by change."""

    decided: int = 0
    left_out: dict[FeeChange, str] = field(default_factory=dict)


@transaction.atomic
def decide_fee_changes(
    changes: models.QuerySet[FeeChange], decision: FeeChangeStatus, *, reason: str
) -> FeeDecisions:
    """Approve or refuse every one of `changes` that waits, for a reason that is kept with each.

    What cannot be decided is left as it is, with why: one that was decided already, one of a term whose books are closed, and,
    when approving, one of which the schedule says something else by now. Raises Refused without a reason.
    """
    if not reason.strip():
        raise Refused("Say why: the reason is kept with each decision.")
    decisions = FeeDecisions()
    chosen = list(changes.order_by("term_id", "pk").values_list("pk", "student_id"))
    if decision == FeeChangeStatus.APPROVED:
        _lock_accounts_of(student for _, student in chosen)
    for term, of_term in groupby(_locked(pk for pk, _ in chosen), key=lambda change: change.term):
        for part in _in_parts(of_term):
            _decide_part(term, part, decision, reason.strip()[:500], decisions)
    return decisions


def _lock_accounts_of(students: Iterable[int]) -> None:
    """All of them, in the order in which an assessment locks them, and before any change: in another order the two would wait
    for each other for ever."""
    ids = iter(sorted(set(students)))
    while part := list(islice(ids, _PART)):
        lock_accounts(FeeScope([], only(*part)))


def _locked(chosen: Iterable[int]) -> Iterator[FeeChange]:
    """The changes of these ids, by term; what is locked is looked at anew, past what was read before."""
    ids = iter(chosen)
    while part := list(islice(ids, _PART)):
        locked = FeeChange.objects.select_for_update(of=("self",)).select_related("student", "term")
        yield from locked.filter(pk__in=part).order_by("term_id", "pk")


def _in_parts(changes: Iterator[FeeChange]) -> Iterator[list[FeeChange]]:
    while part := list(islice(changes, _PART)):
        yield part


def _decide_part(
    term: Term, part: Sequence[FeeChange], decision: FeeChangeStatus, reason: str, into: FeeDecisions
) -> None:
    waiting = []
    for change in part:
        if change.is_waiting:
            waiting.append(change)
        else:
            into.left_out[change] = f"it is {change.get_status_display().lower()} already"
    if decision == FeeChangeStatus.APPROVED:
        waiting = _chargeable(term, waiting, into)
    _store(waiting, decision, reason)
    if waiting and decision == FeeChangeStatus.APPROVED:
        move(_scope(term, waiting), why=f"Approved: {reason}")
    into.decided += len(waiting)


def _chargeable(term: Term, waiting: Sequence[FeeChange], into: FeeDecisions) -> list[FeeChange]:
    """Those of which the schedule says what was seen. Their accounts are locked."""
    if not waiting:
        return []
    if term.is_closed:
        into.left_out.update(dict.fromkeys(waiting, f"the books of {term} are closed"))
        return []
    said = lines_by_student(_scope(term, waiting))
    into.left_out.update(
        {change: _HAS_CHANGED for change in waiting if said.get(change.student_id, []) != change.lines}
    )
    return [change for change in waiting if change not in into.left_out]


def _scope(term: Term, changes: Sequence[FeeChange]) -> FeeScope:
    return FeeScope([term.pk], only(*(change.student_id for change in changes)))


def _store(changes: Sequence[FeeChange], decision: FeeChangeStatus, reason: str) -> None:
    FeeChange.objects.filter(pk__in=[change.pk for change in changes]).update(
        status=decision, reason=reason, decided_at=timezone.now(), decided_by=audit.current_actor().name
    )
    audit.record_each(
        f"fee_change.{decision}",
        FeeChange,
        [audit.Entry(change.pk, reason, decision_detail(change)) for change in changes],
    )
