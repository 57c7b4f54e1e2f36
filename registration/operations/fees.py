"""Charging what the fee schedules say: the difference between what students owe and what they are charged.

Until a term's census the difference is voided and posted at once. After it, it waits for a person, but for those
who were never charged for the term. A term whose books are closed is never charged.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Sum
from django.utils import timezone

import audit
from registration.bulk import Selection, hash_joins, open_accounts
from registration.fees import FeeScope, fees_owed, only, unpriced
from registration.models import FeeChange, FeeSchedule, LedgerEntry, Student, Term
from registration.operations.billing import open_account
from registration.operations.charging import Settled, charge_newcomers, lock_accounts, move
from registration.operations.fee_changes import put_before_a_person
from registration.operations.refusal import Refused


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


@transaction.atomic
@hash_joins()
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
    before, _ = _charged(term)
    open_accounts(fees_owed(scope), settings.CURRENCY)
    lock_accounts(scope)
    settled = _settle(term, scope, why="Fees were assessed.", with_newcomers=True)
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
        lock_accounts(FeeScope([term.pk], students))
        assessed = Selection(
            f"SELECT account_id FROM {LedgerEntry._meta.db_table} WHERE term_id = %s "
            f"AND fee_item_id IS NOT NULL AND account_id IN ({students.sql})",
            [term.pk, *students.params],
        )
        settled = _settle(term, FeeScope([term.pk], assessed), why=why, with_newcomers=False)
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


def _charged(term: Term) -> tuple[int, int]:
    """What is charged by schedules in a term, in minor units, and to how many students."""
    found = (
        LedgerEntry.objects.live()
        .from_schedules()
        .filter(term=term)
        .aggregate(total=Sum("amount_minor"), students=Count("account", distinct=True))
    )
    return int(found["total"] or 0), int(found["students"])


def _settle(term: Term, scope: FeeScope, *, why: str, with_newcomers: bool) -> Settled:
    """Make the difference go away, or put it before a person. The accounts are locked."""
    if timezone.localdate() <= term.census_on:
        settled = move(scope, why=why)
    else:
        settled = charge_newcomers(scope) if with_newcomers else Settled()
    return replace(settled, raised=put_before_a_person(term, scope, why))
