"""How commands tell of a run: as JSON for programs, as a line for people, and as an exit status for both."""

from __future__ import annotations

from typing import Any, Final

from django.conf import settings
from django.db.models import Sum

from integrations.models import SyncRun
from integrations.models.run import RunStatus
from integrations.sync.certificate import shown_sums
from registration.money import decimal_text, display

EXIT_APPLIED, EXIT_FAILED, EXIT_HELD = 0, 1, 2
_COUNTS: Final = ("read", "created", "modified", "voided", "unchanged", "copies", "rejected", "held")
# The report of a sync that did not become a run.
NO_RUN: Final[dict[str, Any]] = {"run": None, **dict.fromkeys(_COUNTS, 0), "sums": {}, "seconds": 0.0}


def exit_status_of(run: SyncRun) -> int:
    """0 applied or previewed, 2 held (or would be), 1 anything else."""
    if run.status == RunStatus.HELD or (run.status == RunStatus.PREVIEWED and run.reason):
        return EXIT_HELD
    return EXIT_APPLIED if run.status in (RunStatus.APPLIED, RunStatus.PREVIEWED) else EXIT_FAILED


def report_of(run: SyncRun) -> dict[str, Any]:
    """A run as JSON. The counts are of what was applied; what was only planned is in `planned`."""
    counts = {name: getattr(run, name) for name in _COUNTS}
    report: dict[str, Any] = {
        "run": run.pk,
        "connection": run.stream.connection.slug,
        "dataset": run.stream.dataset,
        "status": run.status,
        **counts,
        "sums": shown_sums(run),
        "seconds": run.seconds,
        "reason": run.reason,
    }
    if run.status in (RunStatus.PREVIEWED, RunStatus.HELD, RunStatus.APPROVED, RunStatus.REFUSED):
        moved = {"moved": decimal_text(money_moved(run), settings.CURRENCY)}
        report |= {"planned": {**counts, **moved}, "created": 0, "modified": 0, "voided": 0}
    if run.status == RunStatus.HELD:
        report["held"] = run.created + run.modified + run.voided - run.absent
    return report


def money_moved(run: SyncRun) -> int:
    """What the changes of a run move on bills, in minor units: the sum of absolute differences."""
    return int(run.changes.effective().aggregate(total=Sum("moved"))["total"] or 0)


def line_of(run: SyncRun) -> str:
    """A run as one line for people."""
    head = f"Run {run.pk} of {run.stream}: {run.get_status_display().lower()} in {run.seconds:.1f} s."
    if run.status == RunStatus.FAILED:
        return f"{head} {run.reason}"
    would = "would be " if run.is_plan_only else ""
    figures = (
        f"{run.read:,} read; {would}{run.created:,} created, {run.modified:,} modified, {run.voided:,} voided; "
        f"{run.unchanged:,} unchanged, {run.rejected:,} rejected."
    )
    if run.is_plan_only:
        figures += f" It would move {display(money_moved(run), settings.CURRENCY)} on bills."
    return f"{head} {figures} {run.reason}".rstrip()
