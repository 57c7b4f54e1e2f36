"""Making charges what the schedules say: the difference is voided and posted, as sets. The operations on fees use it."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils import timezone

import audit
from registration.bulk import insert_charges, void_entries
from registration.fees import FeeScope, charges_missing, charges_too_many
from registration.models import BillingAccount, LedgerEntry, Student
from registration.signals import ledger_changed


@dataclass(frozen=True)
class Settled:
    """How many charges were posted and voided, and how many changes of fees were raised for a person."""

    posted: int = 0
    voided: int = 0
    raised: int = 0

    @property
    def is_nothing(self) -> bool:
        return not (self.posted or self.voided or self.raised)


def lock_accounts(scope: FeeScope) -> None:
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


def move(scope: FeeScope, *, why: str) -> Settled:
    """Void what is charged too much and post what is missing; `why` is kept with what is voided."""
    now, who = timezone.now(), audit.current_actor().name
    voided = void_entries(charges_too_many(scope), run_id=None, at=now, by=who, reason=why[:500])
    posted = insert_charges(charges_missing(scope), at=now, by=who)
    if voided or posted:
        ledger_changed.send(sender=LedgerEntry, run=None, entries=voided + posted)
    return Settled(posted=posted, voided=voided)


def charge_newcomers(scope: FeeScope) -> Settled:
    """Post what those owe to whom the term's schedules were never applied before."""
    missing = charges_missing(scope, of_newcomers=True)
    posted = insert_charges(missing, at=timezone.now(), by=audit.current_actor().name)
    if posted:
        ledger_changed.send(sender=LedgerEntry, run=None, entries=posted)
    return Settled(posted=posted)
