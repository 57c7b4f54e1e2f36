"""What may be done to registration's records: each a change, its audit event and its domain signal, in one
transaction. The admin, the API, the commands and the sync engine all come through here."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from django.conf import settings
from django.db import transaction
from django.utils import timezone

import audit
from registration.bulk import Selection, insert_entries, void_entries
from registration.models import BillingAccount, Enrollment, LedgerEntry, Section, Student, Term
from registration.models.billing import EntryKind, EntryState
from registration.models.enrollment import EnrollmentStatus
from registration.models.people import StudentStatus
from registration.signals import enrollment_changed, ledger_changed


class Refused(Exception):
    """The operation was not done. Its text says why, and what can be done instead."""


def open_account(student: Student) -> BillingAccount:
    """Return the student's billing account, opened in the installation's currency where there was none."""
    account, _ = BillingAccount.objects.get_or_create(
        student=student, defaults={"currency": settings.CURRENCY}
    )
    return account


@transaction.atomic
def enroll(student: Student, section: Section) -> Enrollment:
    """Give the student a seat in the section, or a place on its waiting list when no seat is free.

    Returns the enrollment. Raises Refused when the student is not active, is already in the section or has
    completed it, or the term's books are closed.
    """
    student = Student.objects.get(pk=student.pk)  # whoever calls may have looked a while ago
    section = (
        Section.objects.select_for_update(of=("self",)).select_related("term", "course").get(pk=section.pk)
    )
    if student.status != StudentStatus.ACTIVE:
        raise Refused(
            f"{student} is {student.get_status_display().lower()}: only an active student can enroll."
        )
    if section.term.is_closed:
        raise Refused(f"The books of {section.term} are closed: nobody can enroll in it any more.")
    enrollment = Enrollment.objects.filter(student=student, section=section).first()
    if enrollment and enrollment.status in (EnrollmentStatus.ENROLLED, EnrollmentStatus.WAITLISTED):
        raise Refused(f"{student} is already {enrollment.status} in {section}.")
    if enrollment and enrollment.status == EnrollmentStatus.COMPLETED:
        raise Refused(f"{student} has completed {section}: enroll in a section of another term instead.")
    enrollment = enrollment or Enrollment(student=student, section=section)
    has_seat = section.enrollments.enrolled().count() < section.capacity
    enrollment.status = EnrollmentStatus.ENROLLED if has_seat else EnrollmentStatus.WAITLISTED
    enrollment.status_since_at = timezone.now()
    enrollment.save()
    audit.record(
        f"enrollment.{enrollment.status}", enrollment, detail={"student": student.number, "crn": section.crn}
    )
    enrollment_changed.send(sender=Enrollment, enrollment=enrollment)
    return enrollment


@transaction.atomic
def drop(enrollment: Enrollment, *, reason: str = "") -> Enrollment:
    """Take the student out of the section. Raises Refused when there is no seat or place to give up."""
    enrollment = (
        Enrollment.objects.select_for_update(of=("self",))
        .select_related("student", "section__course")
        .get(pk=enrollment.pk)
    )
    if enrollment.status not in (EnrollmentStatus.ENROLLED, EnrollmentStatus.WAITLISTED):
        raise Refused(f"{enrollment} is {enrollment.status}: there is nothing to drop.")
    enrollment.status = EnrollmentStatus.DROPPED
    enrollment.status_since_at = timezone.now()
    enrollment.save(update_fields=["status", "status_since_at"])
    audit.record(
        "enrollment.dropped",
        enrollment,
        reason=reason,
        detail={"student": enrollment.student.number, "crn": enrollment.section.crn},
    )
    enrollment_changed.send(sender=Enrollment, enrollment=enrollment)
    return enrollment


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
    entry.state = EntryState.VOID
    entry.voided_at = timezone.now()
    entry.voided_by = audit.current_actor().name
    entry.void_reason = reason
    entry.save(update_fields=["state", "voided_at", "voided_by", "void_reason"])
    student = Student.objects.get(pk=entry.account_id)
    audit.record("ledger_entry.voided", entry, reason=reason, detail={"student": student.number})
    ledger_changed.send(sender=LedgerEntry, run=None, entries=1)
    return entry


@transaction.atomic
def correct(entry: LedgerEntry, amount_minor: int, *, reason: str) -> LedgerEntry:
    """Put another amount in the place of a line of a bill: void it, and post the same line with `amount_minor` (in minor
    units, of the same sign as its kind asks for). Returns the new entry.

    It remembers which entry it stands for, so that a sync that has something else to say finds a conflict and not a
    stranger. Raises Refused without a reason, for an entry that is void, and for the amount that it has already.
    """
    original = LedgerEntry.objects.select_for_update().get(pk=entry.pk)
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
