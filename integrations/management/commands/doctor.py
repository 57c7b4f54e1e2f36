"""How the installation stands, and what to do about what is wrong: `manage.py doctor [--json]`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from integrations.diagnosis import examine
from integrations.management.output import EXIT_FAILED, Outcome, OutcomeCommand


class Command(OutcomeCommand):
    help = "Look at database, broker, disk, beat, workers, due work and keys. Exit status 1 when one is not well."

    def outcome(self, **options: Any) -> Outcome:
        findings = examine()
        faults = [finding for finding in findings if not finding.is_ok]
        lines = [f"{finding.state:<20} {finding.part}: {finding.sentence}" for finding in findings]
        lines += [f"{finding.part}: {finding.advice}" for finding in faults]
        data = {
            "status": "failed" if faults else "ok",
            "findings": [asdict(finding) for finding in findings],
        }
        return Outcome(data, lines, EXIT_FAILED if faults else 0)
