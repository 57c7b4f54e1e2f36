"""Changes of fees after a census: `manage.py fee_changes list|approve|refuse`."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any, Final

import audit
from integrations.management.output import Outcome, OutcomeCommand, Refusal
from registration.models import FeeChange
from registration.money import decimal_text
from registration.operations import Refused, approve_fee_change, refuse_fee_change

DECISIONS: Final = {
    "approve": (approve_fee_change, "charge what the change says"),
    "refuse": (refuse_fee_change, "leave the bill as it is"),
}


class Command(OutcomeCommand):
    help = "List the changes of fees that wait for a person, and decide about one."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        listing = actions.add_parser("list", help="what waits, the oldest first")
        listing.add_argument("--term", help="only of this term, by its code")
        deciding = [actions.add_parser(name, help=words) for name, (_, words) in DECISIONS.items()]
        for action in deciding:
            action.add_argument("id", type=int, help="the number of the change")
            action.add_argument("--reason", required=True, help="why; it is kept with the change")
        for action in (listing, *deciding):
            action.add_argument("--json", action="store_true", help="print one JSON value instead of text")

    def outcome(self, **options: Any) -> Outcome:
        if options["action"] == "list":
            waiting = (
                FeeChange.objects.waiting().select_related("student", "term").order_by("raised_at", "pk")
            )
            if options["term"]:
                waiting = waiting.filter(term__code=options["term"])
            changes = list(waiting)
            numbers = {change.student.number for change in changes}
            named = {"student": numbers.pop()} if len(numbers) == 1 else {}
            audit.record("feechange.listed", FeeChange(), detail={"shown": len(changes), **named})
            return Outcome([_report(change) for change in changes], [_line(change) for change in changes])
        change = FeeChange.objects.filter(pk=options["id"]).first()
        if change is None:
            raise Refusal(f"There is no change of fees {options['id']}.")
        decide, _ = DECISIONS[options["action"]]
        try:
            decided = decide(change, reason=options["reason"])
        except Refused as refusal:
            raise Refusal(str(refusal)) from None
        return Outcome(_report(decided), [_line(decided)])


def _report(change: FeeChange) -> dict[str, Any]:
    return {
        "id": change.pk,
        "student": change.student.number,
        "term": change.term.code,
        "status": change.status,
        "currency": change.currency,
        "before": decimal_text(change.before_minor, change.currency),
        "after": decimal_text(change.after_minor, change.currency),
        "lines": [
            {
                "code": line["code"],
                "before": decimal_text(line["before"], change.currency),
                "after": decimal_text(line["after"], change.currency),
            }
            for line in change.lines
        ],
        "why": change.why,
        "raised_at": change.raised_at,
        "decided_at": change.decided_at,
        "decided_by": change.decided_by,
        "reason": change.reason,
    }


def _line(change: FeeChange) -> str:
    return f"{change.pk}: {change}, {change.get_status_display().lower()}. {change.why}"
