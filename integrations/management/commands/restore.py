"""Bring an embedded installation back to a backup: `manage.py restore FILE [--overwrite] [--while-running] [--json]`."""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command

import audit
from integrations.management.backup import BackupRefused, Restored, restore_backup
from integrations.management.output import Outcome, OutcomeCommand, Refusal
from integrations.models import Pulse


class Command(OutcomeCommand):
    help = "Make the database what it was when a backup was made, and bring its tables to this release."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="what `backup` has written")
        parser.add_argument(
            "--overwrite",
            action="store_true",
            help="though there is a database; it is kept under another name",
        )
        parser.add_argument("--while-running", action="store_true", help="though processes of it are running")

    def outcome(self, **options: Any) -> Outcome:
        try:
            restored = restore_backup(
                options["file"], overwrite=options["overwrite"], while_running=options["while_running"]
            )
        except BackupRefused as error:
            raise Refusal(str(error)) from None
        call_command("migrate", interactive=False, verbosity=0)
        detail = {"sha256": restored.manifest.database_sha256, "made_at": restored.manifest.made_at}
        audit.record("installation.restored", Pulse(), detail=detail)
        data = {
            "status": "ok",
            "kept": str(restored.kept) if restored.kept else None,
            "lacks_a_key": restored.manifest.lacks_a_key,
            **asdict(restored.manifest),
        }
        return Outcome(data, _lines(restored))


def _lines(restored: Restored) -> list[str]:
    lines = [f"The database is that of {restored.manifest.made_at}."]
    if restored.kept:
        lines.append(
            f"What stood there is kept as {restored.kept}; delete it when it is not needed any more."
        )
    if restored.manifest.lacks_a_key:
        lines.append(
            f"The secrets in it are sealed with keys that are not here: put those that were kept into "
            f"{settings.INSTANCE_DIR / 'keys'} before you start anything."
        )
    lines.append(
        "The next syncs bring the bills to what the sources say now. `verify_audit` names the exported heads that know "
        "later events: move these heads into a folder of their own, with a note (docs/operations.md, Backups)."
    )
    return lines
