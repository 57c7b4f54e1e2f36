"""The ledger for the general ledger: `manage.py export_ledger --from DAY --to DAY [--output FILE] [--json]`."""

from __future__ import annotations

import datetime
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from integrations.management.output import Outcome, OutcomeCommand, Refusal
from registration.ledger_export import LedgerExport, export_ledger, record_export
from registration.money import decimal_text


class Command(OutcomeCommand):
    help = "Write what moved balances within a range of days as CSV in double entry, with totals by kind and account and a checksum."

    def add_arguments(self, parser: ArgumentParser) -> None:
        for name, words in (("from", "the first day"), ("to", "the last day, included")):
            parser.add_argument(
                f"--{name}", dest=name, required=True, type=datetime.date.fromisoformat, help=words
            )
        parser.add_argument(
            "--output", type=Path, required=True, help="the file to write; it must not be there yet"
        )

    def outcome(self, **options: Any) -> Outcome:
        try:
            export = export_ledger(options["from"], options["to"])
        except ValueError as error:
            raise Refusal(str(error)) from None
        try:
            with options["output"].open("xb") as file:
                file.write(export.csv)
        except OSError as error:
            raise Refusal(
                f"The file cannot be written ({error.strerror}). Nothing was exported: name one that is not there yet."
            ) from None
        record_export(export)
        return Outcome(_report(export, options["output"]), _lines(export, options["output"]))


def _report(export: LedgerExport, path: Path) -> dict[str, Any]:
    return {
        "status": "ok",
        "from": export.first_on,
        "to": export.last_on,
        "file": str(path),
        "movements": export.movements,
        "rows": export.rows,
        "totals": [
            {"currency": currency, "kind": kind, "effect": decimal_text(effect, currency)}
            for (currency, kind), effect in sorted(export.totals.items())
        ],
        "accounts": [
            {
                "account": moved.account,
                "currency": moved.currency,
                "debit": decimal_text(moved.debit, moved.currency),
                "credit": decimal_text(moved.credit, moved.currency),
            }
            for moved in export.accounts
        ],
        "sha256": export.checksum,
    }


def _lines(export: LedgerExport, path: Path) -> list[str]:
    return [
        f"{export.movements:,} movements from {export.first_on} through {export.last_on} written to {path}.",
        *(
            f"  {kind}: {decimal_text(effect, currency)} {currency}"
            for (currency, kind), effect in sorted(export.totals.items())
        ),
        *(
            f"  {moved.account}: debit {decimal_text(moved.debit, moved.currency)}, "
            f"credit {decimal_text(moved.credit, moved.currency)} {moved.currency}"
            for moved in export.accounts
        ),
        f"SHA-256 {export.checksum}",
    ]
