"""Back up an embedded installation: `manage.py backup FILE [--json]`."""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.conf import settings

import audit
from integrations.management.backup import BackupRefused, make_backup
from integrations.management.output import Outcome, OutcomeCommand, Refusal
from integrations.models import Pulse


class Command(OutcomeCommand):
    help = "Write the database and the trail's heads to one file, while everything runs. Keys are not in it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="where to; a file that is there is never written over")

    def outcome(self, **options: Any) -> Outcome:
        file: Path = options["file"].absolute()
        try:
            manifest = make_backup(file)
        except BackupRefused as error:
            raise Refusal(str(error)) from None
        # The pulse stands for the installation as a whole.
        audit.record("installation.backed_up", Pulse(), detail={"sha256": manifest.database_sha256})
        keys = settings.INSTANCE_DIR / "keys"
        lines = [
            f"{manifest.database_bytes:,} bytes of database are in {file}, checked and readable by you alone.",
            f"SHA-256 of the database: {manifest.database_sha256}",
            f"The keys are not in it: keep {keys} in another place. Each is useless without the other.",
        ]
        data = {"status": "ok", "file": str(file), "keys": str(keys), **asdict(manifest)}
        return Outcome(data, lines)
