"""What is true about one student: `manage.py student NUMBER [--json]`."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings

import audit
from integrations.management.output import Outcome, OutcomeCommand, Refusal
from registration.models import BillingAccount, HousingAssignment, LedgerEntry, LibraryAccount, Student
from registration.money import decimal_text


class Command(OutcomeCommand):
    help = "Show one student's account and rooms, and where each came from."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("number", help="the student number, such as S0000001")

    def outcome(self, **options: Any) -> Outcome:
        student = Student.objects.select_related("billing_account").filter(number=options["number"]).first()
        if student is None:
            raise Refusal(f"There is no student with number {options['number']}.")
        audit.record("student.viewed", student, detail={"student": student.number})
        # Looking opens no account: a student without one is shown as one who owes nothing.
        account = BillingAccount.objects.filter(student=student).first() or BillingAccount(
            student=student, currency=settings.CURRENCY
        )
        entries = list(account.entries.from_aid().select_related("term").order_by("id"))
        rooms = list(student.housing_assignments.select_related("term").order_by("id"))
        totals = account.totals()
        data = {
            "number": student.number,
            "name": student.name,
            "status": student.status,
            "currency": account.currency,
            **totals.as_decimal_texts(),
            "aid": [aid_entry(entry) for entry in entries],
            "housing": [stay(row) for row in rooms],
            "library_status": account_status(student),
        }
        shown = totals.as_displayed()
        lines = [
            f"{student.number} {student.name} ({student.get_status_display().lower()})",
            *(f"  {name.replace('_', ' ')}: {shown[name]}" for name in shown),
            *(
                f"  {entry.term.code} {entry.code} {entry.displayed_amount} {entry.state}, run {entry.posted_run}"
                for entry in entries
            ),
            *(f"  {row.term.code} {row} {row.get_status_display().lower()}" for row in rooms),
        ]
        return Outcome(data, lines)


def stay(row: HousingAssignment) -> dict[str, Any]:
    """One room of the student with the run that said so last. Who may see address and contact sees them in the admin."""
    return {
        "assignment": row.reference or None,
        "term": row.term.code,
        "hall": row.hall,
        "room": row.room,
        "status": row.status,
        "on_campus": row.on_campus,
        "move_in_on": row.move_in_on,
        "move_out_on": row.move_out_on,
        "run": row.recorded_run,
    }


def account_status(student: Student) -> str:
    """The status of the student's library account; "none" where there never was to be one."""
    account = LibraryAccount.objects.filter(student=student).first()
    return account.status if account else "none"


def aid_entry(entry: LedgerEntry) -> dict[str, Any]:
    """One aid entry with the runs that posted and voided it."""
    return {
        "entry": entry.pk,
        "term": entry.term.code,
        "kind": entry.kind,
        "state": entry.state,
        "amount": decimal_text(entry.amount_minor, entry.currency),
        "fund_code": entry.code,
        "fund_name": entry.description,
        "run": entry.posted_run,
        "voided_run": entry.voided_run,
    }
