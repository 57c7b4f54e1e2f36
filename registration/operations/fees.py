"""Charging what the fee schedules say: the difference between what students owe and what they are charged.

Until a term's census the difference is voided and posted at once. After it, it waits for a person, but for those
who were never charged for the term. A term whose books are closed is never charged.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Sum
from django.utils import timezone

import audit
from registration.bulk import Selection, insert_charges, open_accounts, prefer_hash_joins, void_entries
from registration.fees import (
    FeeScope,
    charges_missing,
    charges_too_many,
    fees_owed,
    found_differences,
    only,
    unpriced,
)
from registration.models import BillingAccount, FeeChange, FeeSchedule, LedgerEntry, Student, Term
from registration.models.fee_change import FeeChangeStatus, FeeLine
from registration.operations.billing import open_account
from registration.operations.refusal import Refused
from registration.signals import ledger_changed

# Ends a waiting change whose cause has gone; kept with it.
_LAPSED: Final = "What is charged is what the fee schedule says: nothing is left to decide."
_MANY: Final = 500


@dataclass(frozen=True)
class Assessment:
    """What came of applying a term's fee schedules. Amounts are in minor units of `currency`."""

    term: Term
    currency: str
    students: int
    posted: int
    voided: int
    before: int
    after: int
    waiting: int
    unpriced: tuple[int, ...]

    @property
    def what_waits(self) -> list[str]:
        """What needs a person, in words."""
        changes, students = self.waiting, len(self.unpriced)
        return [
            *(
                [f"{changes:,} changes of fees wait for a person: the census of {self.term} is over."]
                if changes
                else []
            ),
            *(
                [
                    f"For {students:,} students no fee schedule fits (residency, living arrangement and currency): "
                    "their bills stay as they are. Add the schedule, and assess again."
                ]
                if students
                else []
            ),
        ]


@dataclass(frozen=True)
class _Settled:
    """How many charges were posted and voided, and how many changes of fees were raised for a person."""

    posted: int = 0
    voided: int = 0
    raised: int = 0

    @property
    def is_nothing(self) -> bool:
        return not (self.posted or self.voided or self.raised)


@transaction.atomic
def assess_fees(term: Term) -> Assessment:
    """Charge every enrolled student of the term what the fee schedules say; a second call changes nothing.

    Raises Refused when the term's books are closed or it has no fee schedule.
    """
    term = Term.objects.select_for_update(no_key=True).get(pk=term.pk)
    if term.is_closed:
        raise Refused(f"The books of {term} are closed: it is not charged any more.")
    if not FeeSchedule.objects.filter(term=term).exists():
        raise Refused(f"{term} has no fee schedule: add one before its fees are assessed.")
    scope = FeeScope([term.pk])
    prefer_hash_joins()
    before, _ = _charged(term)
    open_accounts(fees_owed(scope), settings.CURRENCY)
    _lock_accounts(scope)
    settled = _settle(term, scope, why="Fees were assessed.", charges_newcomers=True)
    after, students = _charged(term)
    assessment = Assessment(
        term=term,
        currency=settings.CURRENCY,
        students=students,
        posted=settled.posted,
        voided=settled.voided,
        before=before,
        after=after,
        waiting=FeeChange.objects.waiting().filter(term=term).count(),
        unpriced=tuple(unpriced(scope)),
    )
    audit.record(
        "fees.assessed",
        term,
        detail={
            "term": term.code,
            "posted": assessment.posted,
            "voided": assessment.voided,
            "waiting": assessment.waiting,
            "unpriced": len(assessment.unpriced),
        },
    )
    return assessment


def follow_fees(student: Student, term: Term, *, why: str) -> None:
    """Let the student's fees follow what has changed, if the term's schedules were applied to them before."""
    open_account(student)  # so that there is a row at which this and an assessment meet
    follow_fees_of(only(student.pk), terms=[term], why=why)


def follow_residency(student: Student) -> None:
    """Let the student's fees follow their tuition residency, in every open term that was assessed."""
    follow_fees_of(only(student.pk), why=f"Tuition residency is {student.get_residency_display().lower()}.")


@transaction.atomic
def follow_fees_of(students: Selection, *, why: str, terms: Iterable[Term] | None = None) -> int:
    """Let the fees of the students that `students` selects (ids) follow what has changed; as sets, for a sync.

    Only where a term's schedules were applied to a student before, in `terms` or in every open one. Returns how
    many charges were posted and voided. `why` is kept with what is voided, and with what waits for a person.
    """
    moved = 0
    for term in terms if terms is not None else Term.objects.filter(is_closed=False).order_by("pk"):
        if term.is_closed:
            continue
        # Everyone's, before it is asked who was assessed: an assessment that is under way is waited for.
        _lock_accounts(FeeScope([term.pk], students))
        assessed = Selection(
            f"SELECT account_id FROM {LedgerEntry._meta.db_table} WHERE term_id = %s "
            f"AND fee_item_id IS NOT NULL AND account_id IN ({students.sql})",
            [term.pk, *students.params],
        )
        settled = _settle(term, FeeScope([term.pk], assessed), why=why, charges_newcomers=False)
        if settled.is_nothing:
            continue
        moved += settled.posted + settled.voided
        audit.record(
            "fees.followed",
            term,
            reason=why,
            detail={
                "term": term.code,
                "posted": settled.posted,
                "voided": settled.voided,
                "waiting": settled.raised,
            },
        )
    return moved


@transaction.atomic
def approve_fee_change(change: FeeChange, *, reason: str) -> FeeChange:
    """Charge what the change says, for a reason that is kept. A refused one may be approved after all.

    Raises Refused without a reason, when it was decided already, when the term's books are closed, or when what
    the schedule says is no longer what was seen.
    """
    change = _locked(change, reason, FeeChangeStatus.WAITING, FeeChangeStatus.REFUSED)
    if change.term.is_closed:
        raise Refused(f"The books of {change.term} are closed: it is not charged any more.")
    scope = FeeScope([change.term_id], only(change.student_id))
    _lock_accounts(scope)
    lines = _lines_by_student(scope).get(change.student_id, [])
    if lines != change.lines:
        raise Refused(
            "What the fee schedule says has changed since. Assess the term's fees again, and decide about what "
            "it then says."
        )
    _decide(change, FeeChangeStatus.APPROVED, reason)
    _move(scope, why=f"Approved: {reason}")
    return change


@transaction.atomic
def refuse_fee_change(change: FeeChange, *, reason: str) -> FeeChange:
    """Leave the bill as it is, for a reason that is kept; the same change is not asked for again.

    Raises Refused without a reason, or when it was decided already.
    """
    change = _locked(change, reason, FeeChangeStatus.WAITING)
    _decide(change, FeeChangeStatus.REFUSED, reason)
    return change


def _charged(term: Term) -> tuple[int, int]:
    """What is charged by schedules in a term, in minor units, and to how many students."""
    found = (
        LedgerEntry.objects.live()
        .from_schedules()
        .filter(term=term)
        .aggregate(total=Sum("amount_minor"), students=Count("account", distinct=True))
    )
    return int(found["total"] or 0), int(found["students"])


def _settle(term: Term, scope: FeeScope, *, why: str, charges_newcomers: bool) -> _Settled:
    """Make the difference go away, or put it before a person. The accounts are locked."""
    if timezone.localdate() <= term.census_on:
        settled = _move(scope, why=why)
    else:
        settled = _charge_newcomers(scope) if charges_newcomers else _Settled()
    return replace(settled, raised=_put_before_a_person(term, scope, why))


def _lock_accounts(scope: FeeScope) -> None:
    """Whoever else moves fees of the same students waits here: what is read after this is the last word."""
    accounts = BillingAccount.objects.order_by("pk").select_for_update(no_key=True)
    if scope.students is not None:
        accounts = accounts.extra(
            where=[f"student_id IN ({scope.students.sql})"], params=[*scope.students.params]
        )
    else:
        enrolled = Student.objects.filter(enrollments__section__term__in=scope.terms)
        accounts = accounts.filter(student__in=enrolled)
    list(accounts.values_list("pk", flat=True))


def _move(scope: FeeScope, *, why: str) -> _Settled:
    now, who = timezone.now(), audit.current_actor().name
    voided = void_entries(charges_too_many(scope), run_id=None, at=now, by=who, reason=why[:500])
    posted = insert_charges(charges_missing(scope), at=now, by=who)
    if voided or posted:
        ledger_changed.send(sender=LedgerEntry, run=None, entries=voided + posted)
    return _Settled(posted=posted, voided=voided)


def _charge_newcomers(scope: FeeScope) -> _Settled:
    missing = charges_missing(scope, of_newcomers=True)
    posted = insert_charges(missing, at=timezone.now(), by=audit.current_actor().name)
    if posted:
        ledger_changed.send(sender=LedgerEntry, run=None, entries=posted)
    return _Settled(posted=posted)


# --- what waits for a person ------------------------------------------------------------------------------


def _lines_by_student(scope: FeeScope) -> dict[int, list[FeeLine]]:
    return {
        student: [FeeLine(code=code, before=charged, after=owed) for _, _, code, charged, owed in rows]
        for student, rows in groupby(found_differences(scope), key=itemgetter(0))
    }


def _put_before_a_person(term: Term, scope: FeeScope, why: str) -> int:
    """Keep one waiting change for each student whose charges are not what schedules say, and end the others.

    Returns how many were raised or have become another. A change that was refused is not raised again as it was.
    """
    wanted = _lines_by_student(scope)
    within = FeeChange.objects.filter(term=term)
    if scope.students is not None:
        within = within.extra(
            where=[f"registration_feechange.student_id IN ({scope.students.sql})"],
            params=[*scope.students.params],
        )
    waiting = {change.student_id: change for change in within.waiting()}
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


def _raised(change: FeeChange, lines: Sequence[FeeLine], why: str, now: datetime.datetime) -> FeeChange:
    change.lines = list(lines)
    change.before_minor = sum(line["before"] for line in lines)
    change.after_minor = sum(line["after"] for line in lines)
    change.currency, change.why, change.raised_at = settings.CURRENCY, why[:500], now
    return change


def _save_raised(changes: Sequence[FeeChange]) -> None:
    FeeChange.objects.bulk_create([change for change in changes if change.pk is None], batch_size=_MANY)
    FeeChange.objects.bulk_update(
        [change for change in changes if change.pk is not None],
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
    audit.record(
        f"fee_change.{status}",
        change,
        reason=reason,
        detail={
            "student": change.student.number,
            "term": change.term.code,
            "before": change.before_minor,
            "after": change.after_minor,
        },
    )
