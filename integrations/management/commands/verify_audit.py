"""Prove that the trail says what was sealed: `manage.py verify_audit [--archive FILE] [--public-key KEY] [--json]`."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from time import perf_counter
from typing import Any

from audit.archives import ArchiveRefused, verify_archive
from audit.database_roles import excess_rights, who_could_alter
from audit.signing import VerifyingKey, verifying_key
from audit.verification import TrailVerification, verify_trail
from integrations.management.output import EXIT_FAILED, Outcome, OutcomeCommand, Refusal


class Command(OutcomeCommand):
    help = "Check the audit trail against its seals and exported heads. Exit status 1 when anything is wrong."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--archive", metavar="FILE", help="check an archive instead; it needs no database rows"
        )
        parser.add_argument(
            "--public-key",
            action="append",
            metavar="KEY",
            help="hold signatures against this key alone, as seal_audit printed it (again for each key of a rotation)",
        )

    def outcome(self, **options: Any) -> Outcome:
        start = perf_counter()
        keys = _keys(options["public_key"])
        if options["archive"]:
            found = _archive(Path(options["archive"]), keys)
            lines = [f"{found.sealed:,} events up to position {found.position:,} checked in the archive."]
        else:
            found = verify_trail(keys)
            lines = _lines(found)
        seconds = round(perf_counter() - start, 1)
        lines += [f"{fault.rule}: {fault.sentence}" for fault in found.faults]
        if found.fault_count > len(found.faults):
            lines.append(f"... and {found.fault_count - len(found.faults):,} more.")
        lines.append(f"{found.fault_count:,} faults." if found.fault_count else "Everything sealed holds.")
        data = {**found.as_json(), "seconds": seconds}
        if not options["archive"]:
            data["could_alter"] = {able.role: able.why for able in who_could_alter()}
        return Outcome(data, lines, EXIT_FAILED if found.fault_count else 0)


def _keys(texts: list[str] | None) -> list[VerifyingKey] | None:
    """The keys that were given; None for those of the installation."""
    try:
        return [verifying_key(text) for text in texts] if texts else None
    except ValueError as error:
        raise Refusal(str(error)) from None


def _archive(path: Path, keys: list[VerifyingKey] | None) -> TrailVerification:
    try:
        return verify_archive(path, keys)
    except ArchiveRefused as error:
        raise Refusal(str(error)) from None


def _lines(found: TrailVerification) -> list[str]:
    """What was checked, and what cannot be said of it."""
    lines = [
        f"{found.sealed:,} sealed events up to position {found.position:,} checked, and {found.heads:,} exported heads."
    ]
    if found.archived_to:
        lines.append(f"Positions up to {found.archived_to:,} are in archives, each verifiable on its own.")
    if not found.heads:
        lines.append("No head has been exported yet: that events were cut from the tail could not be seen.")
    if found.unsealed:
        named = ", ".join(str(pk) for pk in found.unsealed_events)
        more = " ..." if found.unsealed > len(found.unsealed_events) else ""
        lines.append(f"{found.unsealed:,} events are not sealed yet, and nothing proves them: {named}{more}")
    if able := who_could_alter():
        named = ", ".join(f"{each.role} ({each.why})" for each in able)
        lines.append(f"Who could alter rows past the triggers, but not the exported heads: {named}.")
    if excess := excess_rights():
        lines.append(f"The database role at hand may {', '.join(excess)}: see docs/operations.md, Roles.")
    return lines
