"""Seal every secret with the newest key of CREDENTIAL_KEYS: `manage.py rotate_credentials [--json]`."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured

from integrations.management.output import EXIT_FAILED, Outcome, OutcomeCommand, Refusal
from integrations.rotation import rotate_credentials


class Command(OutcomeCommand):
    help = (
        "Seal every secret with the newest key, while the system runs. Exit status 1 when one does not open."
    )

    def outcome(self, **options: Any) -> Outcome:
        try:
            rotation = rotate_credentials()
        except ImproperlyConfigured as error:
            raise Refusal(str(error)) from None
        is_done = not rotation.unreadable
        last = (
            "The older keys may leave CREDENTIAL_KEYS, once every process has been started with the new list."
            if is_done
            else f"{len(rotation.unreadable):,} do not open: leave the older keys in CREDENTIAL_KEYS."
        )
        lines = [
            f"{rotation.rotated:,} values sealed anew, {rotation.current:,} were already.",
            *(f"{each.name} ({each.table} {each.id}): {each.reason}" for each in rotation.unreadable),
            last,
        ]
        data = {
            "status": "done" if is_done else "failed",
            "reason": "" if is_done else last,
            **rotation.as_json(),
        }
        return Outcome(data, lines, 0 if is_done else EXIT_FAILED)
