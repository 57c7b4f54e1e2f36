"""What may be done to a bill."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from django.conf import settings
from django.db import transaction
from django.utils import timezone

import audit
from registration.bulk import Selection, insert_entries, void_entries
from registration.models import BillingAccount, LedgerEntry, Student, Term
from registration.models.billing import EntryKind, EntryState
from registration.money import display
from registration.operations.refusal import Refused
from registration.signals import ledger_changed


def open_account(student: Student) -> BillingAccount:
    """Return the student's billing account, opened in the installation's currency where there was none."""
    account, _ = BillingAccount.objects.get_or_create(
        student=student, defaults={"currency": settings.CURRENCY}
    )
    return account


@dataclass(frozen=True)
class Line:
    """What a person posts by hand: an entry without its account and its trail."""

    kind: EntryKind
    amount_minor: int
    code: str
    description: str = ""
    adjusts: EntryKind | None = None
    effective_on: datetime.date | None = None


@transaction.atomic
def post(student: Student, term: Term, line: Line, *, reason: str = "") -> LedgerEntry:
    """Post one line to the student's bill and return the entry. The database refuses what is no valid entry."""
    account = open_account(student)
    entry = LedgerEntry.objects.create(
        account=account,
        term=term,
        kind=line.kind,
        adjusts=line.adjusts or "",
        state=EntryState.POSTED,
        amount_minor=line.amount_minor,
        currency=account.currency,
        code=line.code,
        description=line.description,
        effective_on=line.effective_on,
        posted_at=timezone.now(),
        posted_by=audit.current_actor().name,
    )
    audit.record("ledger_entry.posted", entry, reason=reason, detail={"student": student.number})
    ledger_changed.send(sender=LedgerEntry, run=None, entries=1)
    return entry


@transaction.atomic
def void(entry: LedgerEntry, *, reason: str) -> LedgerEntry:
    """Void one line of a bill, for a reason that is kept. Raises Refused without one, or when it is void already."""
    if not reason.strip():
        raise Refused("Say why: the reason is kept with the entry.")
    entry = LedgerEntry.objects.select_for_update().get(pk=entry.pk)
    if entry.state == EntryState.VOID:
        raise Refused("This entry is void already.")
    entry.voided_from, entry.state = entry.state, EntryState.VOID
    entry.voided_at = timezone.now()
    entry.voided_by = audit.current_actor().name
    entry.void_reason = reason
    entry.save(update_fields=["state", "voided_from", "voided_at", "voided_by", "void_reason"])
    student = Student.objects.get(pk=entry.account_id)
    audit.record("ledger_entry.voided", entry, reason=reason, detail={"student": student.number})
    ledger_changed.send(sender=LedgerEntry, run=None, entries=1)
    return entry


@transaction.atomic
def correct(entry: LedgerEntry, amount_minor: int, *, reason: str) -> LedgerEntry:
    """Put another amount in the place of a line of a bill: void it, and post the same line with `amount_minor` (in minor
    units, of the same sign as its kind asks for). Returns the new entry.

    It remembers which entry it stands for, so that a sync that has something else to say finds a conflict and not a
    stranger. Raises Refused without a reason, for an entry that is void or follows a fee
    schedule, and for the amount that it has already.
    """
    original = LedgerEntry.objects.select_for_update().get(pk=entry.pk)
    if original.fee_item_id is not None:
        raise Refused(
            "This charge follows a fee schedule: change the schedule, or post an adjustment beside it."
        )
    if original.amount_minor == amount_minor:
        raise Refused("The entry has this amount already.")
    if amount_minor == 0:
        raise Refused("An entry of nothing is no entry: void it instead.")
    if amount_minor < 0 and original.kind != EntryKind.ADJUSTMENT:
        raise Refused(
            f"A {original.get_kind_display().lower()} is never negative: post an adjustment instead."
        )
    void(original, reason=reason)
    stands_for = original.corrects or original
    corrected = LedgerEntry.objects.create(
        account=original.account,
        term=original.term,
        kind=original.kind,
        adjusts=original.adjusts,
        state=original.state,
        amount_minor=amount_minor,
        currency=original.currency,
        code=original.code,
        description=original.description,
        effective_on=original.effective_on,
        corrects=stands_for,
        posted_at=timezone.now(),
        posted_by=audit.current_actor().name,
    )
    audit.record("ledger_entry.corrected", corrected, reason=reason, detail={"replaces": original.pk})
    ledger_changed.send(sender=LedgerEntry, run=None, entries=1)
    return corrected


@transaction.atomic
def refund(student: Student, term: Term, amount_minor: int, *, reason: str) -> LedgerEntry:
    """Give a credit balance, or a part of it, back to the student: an entry of the ledger, in minor units.

    Raises Refused without a reason, or when the amount is nothing or more than the account has in credit.
    """
    if not reason.strip():
        raise Refused("Say why, or by which payment: the reason is kept with the entry.")
    open_account(student)
    # Whoever else refunds from this account waits here, so that a credit is not paid out twice.
    account = BillingAccount.objects.select_for_update(no_key=True).get(pk=student.pk)
    credit = account.totals().credit
    if amount_minor <= 0:
        raise Refused("A refund is more than nothing.")
    if amount_minor > credit:
        raise Refused(
            f"The account has {display(credit, account.currency)} in credit: no more than that can be refunded."
        )
    line = Line(
        EntryKind.REFUND, amount_minor, "REFUND", "Refund to the student", effective_on=timezone.localdate()
    )
    return post(student, term, line, reason=reason)


@transaction.atomic
def apply_run_to_ledger(
    run_id: int, *, voiding: Selection, posting: Selection, reason: str
) -> tuple[int, int]:
    """Void and post whatever a sync run's plan says, each as one statement, and return (voided, posted).

    `voiding` selects ids of entries; `posting` selects the columns of registration.bulk.POSTED_COLUMNS. The
    caller records the one audit event that stands for the run.
    """
    moment, who = timezone.now(), audit.current_actor().name
    voided = void_entries(voiding, run_id=run_id, at=moment, by=who, reason=reason)
    posted = insert_entries(posting, run_id=run_id, at=moment, by=who)
    ledger_changed.send(sender=LedgerEntry, run=run_id, entries=voided + posted)
    return voided, posted
