"""Runs, and what a person decides about them:
`manage.py runs list|show|approve|withhold|refuse|undo|release|replay|cancel`."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any, Final

from integrations.decisions import (
    Undecided,
    approve_run,
    cancel_run,
    refuse_run,
    release_pins,
    replay_rejections,
    undo_run,
)
from integrations.management.output import Outcome, OutcomeCommand, Refusal
from integrations.management.reports import exit_status_of, line_of, report_of
from integrations.models import RejectedRecord, SyncRun
from integrations.notices import send_alerts
from integrations.sync.runner import execute_run

LISTED: Final = 20
DECISIONS: Final = {
    "approve": "apply a held plan: what the source still says of it",
    "withhold": "apply a held plan without the part that tripped",
    "refuse": "apply nothing of a held plan",
    "undo": "take back what an applied run changed",
    "release": "follow the source again where a run has pinned what it says",
    "replay": "take the records again that a run rejected and that are still open",
    "cancel": "stop a run that is queued or running",
}


class Command(OutcomeCommand):
    help = "List runs, show one, and decide about a held plan."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        listing = actions.add_parser("list", help=f"the {LISTED} newest runs")
        showing = actions.add_parser("show", help="one run, with its decision and the guards that tripped")
        deciding = [actions.add_parser(name, help=words) for name, words in DECISIONS.items()]
        for action in (showing, *deciding):
            action.add_argument("id", type=int, help="the number of the run")
        for action in deciding:
            action.add_argument("--reason", required=True, help="why; it is kept with the run")
        for action in (listing, showing, *deciding):
            action.add_argument("--json", action="store_true", help="print one JSON value instead of text")

    def outcome(self, **options: Any) -> Outcome:
        if options["action"] == "list":
            runs = list(SyncRun.objects.select_related("stream__connection")[:LISTED])
            return Outcome([report_of(run) for run in runs], [line_of(run) for run in runs])
        run = _run(options["id"])
        if options["action"] == "show":
            return Outcome(_report(run), _lines(run))
        try:
            return _decide(run, options["action"], options["reason"])
        except Undecided as error:
            raise Refusal(str(error)) from None


def _decide(run: SyncRun, action: str, reason: str) -> Outcome:
    """Take the decision; what is approved is carried out here and now."""
    if action in ("approve", "withhold"):
        follower = approve_run(run, checksum=run.plan_checksum, reason=reason, withhold=action == "withhold")
        done = execute_run(follower.pk)
        send_alerts()
        return Outcome(_report(done), _lines(done), exit_status_of(done))
    if action == "replay":
        replay = replay_rejections(RejectedRecord.objects.filter(run=run), reason=reason)
        done = execute_run(replay.pk)
        send_alerts()
        return Outcome(_report(done), _lines(done), exit_status_of(done))
    if action == "undo":
        undo = undo_run(run, reason=reason)
        return Outcome(_report(undo), _lines(undo))
    _SIMPLE_DECISIONS[action](run, reason=reason)
    run.refresh_from_db()
    return Outcome(_report(run), _lines(run))


_SIMPLE_DECISIONS: Final[dict[str, Callable[..., Any]]] = {
    "refuse": refuse_run,
    "cancel": cancel_run,
    "release": release_pins,
}


def _run(number: int) -> SyncRun:
    run = SyncRun.objects.select_related("stream__connection").filter(pk=number).first()
    if run is None:
        raise Refusal(f"There is no run {number}.")
    return run


def _report(run: SyncRun) -> dict[str, Any]:
    return {
        **report_of(run),
        "guards": run.trips,
        "plan_checksum": run.plan_checksum,
        "decided_by": run.decided_by,
        "decided_at": run.decided_at,
        "decision_reason": run.decision_reason,
        "carries_out": run.carries_out_id,
        "undoes": run.undoes_id,
    }


def _lines(run: SyncRun) -> list[str]:
    lines = [line_of(run)]
    if run.decided_by:
        lines.append(f"{run.get_status_display()} by {run.decided_by}: {run.decision_reason}")
    return lines
