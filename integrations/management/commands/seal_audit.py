"""Seal what is on the trail, here and now: `manage.py seal_audit [--export] [--json]`."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from audit.heads import export_head, keep_latest_head
from audit.models import AuditSeal
from audit.sealing import seal_events
from audit.signing import verifying_keys
from integrations.management.output import Outcome, OutcomeCommand, Refusal


class Command(OutcomeCommand):
    help = "Seal the audit trail's new events now, as beat does every few seconds, and say with which key heads are signed."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--export", action="store_true", help="keep the head for good too, as beat does hourly"
        )

    def outcome(self, **options: Any) -> Outcome:
        sealed = seal_events(whole=True)
        keep_latest_head()
        path = None
        if options["export"]:
            try:
                path = export_head()
            except OSError as error:
                raise Refusal(f"AUDIT_HEAD_DIR cannot be written: {error.strerror}.") from None
        head, keys = AuditSeal.objects.head(), verifying_keys()
        data = {
            "sealed": sealed,
            "position": head.position,
            "digest": head.digest.hex(),
            "exported": str(path) if path else None,
            "public_keys": {key.id: key.text for key in keys},
        }
        lines = [
            f"{sealed:,} events sealed; the chain ends at position {head.position:,}, digest {head.digest.hex()}.",
            *([f"Its head is kept in {path}."] if path else []),
            *(f"Public key {key.id}: {key.text}" for key in keys),
        ]
        return Outcome(data, lines)
