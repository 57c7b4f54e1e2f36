"""Prove that bills stand as the feeds say: `manage.py verify_ledger [--json]`."""

from __future__ import annotations

from typing import Any

from integrations.management.output import EXIT_FAILED, Outcome, OutcomeCommand
from integrations.sync.verification import verify_ledger


class Command(OutcomeCommand):
    help = "Check every ledger entry against the records that were applied. Exit status 1 when one is wrong."

    def outcome(self, **options: Any) -> Outcome:
        report = verify_ledger()
        lines = [
            f"{report.entries:,} entries of {report.accounts:,} accounts checked against {report.records:,} records.",
            *(f"{fault.rule}: {fault.sentence}" for fault in report.faults),
            f"{len(report.faults)} faults." if report.faults else "Everything holds.",
        ]
        return Outcome(report.as_json(), lines, EXIT_FAILED if report.faults else 0)
