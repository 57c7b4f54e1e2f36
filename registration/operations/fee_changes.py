"""Changes of fees after a census: put before a person, approved or refused."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final

from django.conf import settings
from django.db import models, transaction
from django.utils import timezone

import audit
from registration.fees import FeeScope, found_differences, only
from registration.models import FeeChange, Term
from registration.models.fee_change import FeeChangeStatus, FeeLine
from registration.operations.charging import lock_accounts, move
from registration.operations.refusal import Refused

# Ends a waiting change whose cause has gone; kept with it.
_LAPSED: Final = "What is charged is what the fee schedule says: nothing is left to decide."
_MANY: Final = 500


@transaction.atomic
def approve_fee_change(change: FeeChange, *, reason: str) -> FeeChange:
    """Charge what the change says, for a reason that is kept. A refused one may be approved after all.

    Raises Refused without a reason, when it was decided already, when the term's books are closed, or when what
    the schedule says is no longer what was seen.
    """
    scope = FeeScope([change.term_id], only(change.student_id))
    # Before the change itself, as an assessment does: in another order the two would wait for each other for ever.
    lock_accounts(scope)
    change = _locked(change, reason, FeeChangeStatus.WAITING, FeeChangeStatus.REFUSED)
    if change.term.is_closed:
        raise Refused(f"The books of {change.term} are closed: it is not charged any more.")
    lines = lines_by_student(scope).get(change.student_id, [])
    if lines != change.lines:
        raise Refused(
            "What the fee schedule says has changed since. Assess the term's fees again, and decide about what "
            "it then says."
        )
    _decide(change, FeeChangeStatus.APPROVED, reason)
    move(scope, why=f"Approved: {reason}")
    return change


@transaction.atomic
def refuse_fee_change(change: FeeChange, *, reason: str) -> FeeChange:
    """Leave the bill as it is, for a reason that is kept; the same change is not asked for again.

    Raises Refused without a reason, or when it was decided already.
    """
    change = _locked(change, reason, FeeChangeStatus.WAITING)
    _decide(change, FeeChangeStatus.REFUSED, reason)
    return change


def lines_by_student(scope: FeeScope) -> dict[int, list[FeeLine]]:
    """Each student's fees that are not charged as the schedules say."""
    return {
        student: [FeeLine(code=code, before=charged, after=owed) for _, _, code, charged, owed in rows]
        for student, rows in groupby(found_differences(scope), key=itemgetter(0))
    }


def put_before_a_person(term: Term, scope: FeeScope, why: str) -> int:
    """Keep one waiting change for each student whose charges are not what schedules say, and end the others.

    Returns how many were raised or have become another. A change that was refused is not raised again as it was.
    """
    wanted = lines_by_student(scope)
    within = _within(term, scope)
    waiting = {change.student_id: change for change in within.filter(status=FeeChangeStatus.WAITING)}
    _lapse([change for student, change in waiting.items() if student not in wanted])
    # Ordered from the oldest on, so that the newest decision about a student is the one that stays in the dict.
    refused = {
        student: lines if status == FeeChangeStatus.REFUSED else None
        for student, status, lines in within.exclude(status=FeeChangeStatus.WAITING)
        .order_by("decided_at", "pk")
        .values_list("student_id", "status", "lines")
    }
    now, raised = timezone.now(), []
    for student, lines in wanted.items():
        present = waiting.get(student)
        if (present and present.lines == lines) or (not present and refused.get(student) == lines):
            continue
        raised.append(_raised(present or FeeChange(student_id=student, term=term), lines, why, now))
    _save_raised(raised)
    return len(raised)


def _within(term: Term, scope: FeeScope) -> models.QuerySet[FeeChange]:
    changes: models.QuerySet[FeeChange] = FeeChange.objects.filter(term=term)
    if scope.students is None:
        return changes
    # The column stands alone in this statement, so its name is enough.
    return changes.extra(where=[f"student_id IN ({scope.students.sql})"], params=[*scope.students.params])


def _raised(change: FeeChange, lines: Sequence[FeeLine], why: str, now: datetime.datetime) -> FeeChange:
    change.lines = list(lines)
    change.before_minor = sum(line["before"] for line in lines)
    change.after_minor = sum(line["after"] for line in lines)
    change.currency, change.why, change.raised_at = settings.CURRENCY, why[:500], now
    return change


def _save_raised(changes: Sequence[FeeChange]) -> None:
    known = set(
        FeeChange.objects.filter(pk__in=[change.pk for change in changes]).values_list("pk", flat=True)
    )
    FeeChange.objects.bulk_create([change for change in changes if change.pk not in known], batch_size=_MANY)
    FeeChange.objects.bulk_update(
        [change for change in changes if change.pk in known],
        ["lines", "before_minor", "after_minor", "currency", "why", "raised_at"],
        batch_size=_MANY,
    )


def _lapse(changes: Sequence[FeeChange]) -> None:
    FeeChange.objects.filter(pk__in=[change.pk for change in changes]).update(
        status=FeeChangeStatus.LAPSED,
        decided_at=timezone.now(),
        decided_by=audit.current_actor().name,
        reason=_LAPSED,
    )


def _locked(change: FeeChange, reason: str, *open_to_decision: FeeChangeStatus) -> FeeChange:
    if not reason.strip():
        raise Refused("Say why: the reason is kept with the decision.")
    change = (
        FeeChange.objects.select_for_update(of=("self",)).select_related("student", "term").get(pk=change.pk)
    )
    if change.status not in open_to_decision:
        raise Refused(f"This change is {change.get_status_display().lower()} already.")
    return change


def _decide(change: FeeChange, status: FeeChangeStatus, reason: str) -> None:
    change.status, change.reason = status, reason[:500]
    change.decided_at, change.decided_by = timezone.now(), audit.current_actor().name
    change.save(update_fields=["status", "reason", "decided_at", "decided_by"])
    audit.record(f"fee_change.{status}", change, reason=reason, detail=decision_detail(change))


def decision_detail(change: FeeChange) -> dict[str, str | int]:
    """What the trail keeps of a decision."""
    return {
        "student": change.student.number,
        "term": change.term.code,
        "before": change.before_minor,
        "after": change.after_minor,
    }
