"""Charge what a term's fee schedules say: `manage.py assess_fees TERM [--json]`."""

from __future__ import annotations

from argparse import ArgumentParser
from time import monotonic
from typing import Any, ClassVar, Final

from integrations.management.output import Outcome, OutcomeCommand, Refusal
from integrations.management.reports import EXIT_APPLIED, EXIT_HELD
from registration.models import Student, Term
from registration.money import decimal_text, display
from registration.operations import Assessment, Refused, assess_fees

_NAMED: Final = 100


class Command(OutcomeCommand):
    help = (
        "Charge every enrolled student of a term by its fee schedules; a second run changes nothing. "
        "Exit status 2 when something waits for a person."
    )
    nothing: ClassVar[dict[str, Any]] = {
        "term": None,
        "students": 0,
        "posted": 0,
        "voided": 0,
        "waiting": 0,
        "unpriced": 0,
        "unpriced_students": [],
        "sums": {},
        "seconds": 0.0,
    }

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("term", help="the code of the term, such as 2026FA")

    def outcome(self, **options: Any) -> Outcome:
        term = Term.objects.filter(code=options["term"]).first()
        if term is None:
            raise Refusal(f"There is no term with the code {options['term']}.")
        began = monotonic()
        try:
            done = assess_fees(term)
        except Refused as refusal:
            raise Refusal(str(refusal)) from None
        held = bool(done.waiting or done.unpriced)
        return Outcome(
            _report(done, seconds=round(monotonic() - began, 3)),
            _lines(done),
            EXIT_HELD if held else EXIT_APPLIED,
        )


def _report(done: Assessment, *, seconds: float) -> dict[str, Any]:
    numbers = Student.objects.filter(pk__in=done.unpriced[:_NAMED]).values_list("number", flat=True)
    return {
        "term": done.term.code,
        "status": "held" if done.waiting or done.unpriced else "applied",
        "students": done.students,
        "posted": done.posted,
        "voided": done.voided,
        "waiting": done.waiting,
        "unpriced": len(done.unpriced),
        "unpriced_students": list(numbers),
        "sums": {
            "currency": done.currency,
            "before": decimal_text(done.before, done.currency),
            "after": decimal_text(done.after, done.currency),
        },
        "seconds": seconds,
        "reason": " ".join(done.what_waits),
    }


def _lines(done: Assessment) -> list[str]:
    return [
        f"{done.term}: {done.students:,} students charged {display(done.after, done.currency)}; "
        f"{done.posted:,} charges posted, {done.voided:,} voided.",
        *done.what_waits,
    ]
