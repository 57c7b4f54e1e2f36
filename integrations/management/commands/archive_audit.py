"""Archive the oldest part of the trail: `manage.py archive_audit --before DATE FILE [--json]`."""

from __future__ import annotations

import datetime
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.utils import timezone
from django.utils.dateparse import parse_date

from audit.archives import ArchiveRefused, archive_events
from integrations.management.output import Outcome, OutcomeCommand, Refusal


class Command(OutcomeCommand):
    help = "Write the events before a day into a signed file, verify it, and only then let their rows go."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", help="a new file; compressed when its name ends in .gz")
        parser.add_argument(
            "--before", required=True, metavar="DATE", help="the first day to keep, as 2026-01-31"
        )

    def outcome(self, **options: Any) -> Outcome:
        try:
            day = parse_date(options["before"])
        except ValueError:
            day = None
        if day is None:
            raise Refusal(f"{options['before']} is no day: write it as 2026-01-31.")
        before = timezone.make_aware(datetime.datetime.combine(day, datetime.time.min))
        try:
            archive = archive_events(Path(options["file"]), before=before)
        except ArchiveRefused as error:
            raise Refusal(str(error)) from None
        data = {
            "file": str(archive.path),
            "first_position": archive.first_position,
            "position": archive.position,
            "removed": archive.removed,
        }
        line = (
            f"Positions {archive.first_position:,} to {archive.position:,} are in {archive.path}, which was verified; "
            f"{archive.removed:,} events have gone from the database."
        )
        return Outcome(data, [line])
