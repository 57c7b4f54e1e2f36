"""`manage.py api_document`: write openapi.yaml, and the Postman collection that is made of it, anew after a change of the API
that breaks nothing."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from integrations.management.output import Outcome, OutcomeCommand, Refusal
from registration.api import published


class Command(OutcomeCommand):
    help = "Write openapi.yaml and the Postman collection from the code; refuses a change that would break a partner's program."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="write nothing, and fail where it is not current"
        )

    def outcome(self, **options: Any) -> Outcome:
        if broken := published.what_breaks():
            raise Refusal(
                "This breaks what partners rely on: "
                + "; ".join(broken)
                + ". Make it a new version instead, and "
                "deprecate what it replaces (docs/partners.md)."
            )
        stale = published.stale_files()
        names = ", ".join(file.name for file in stale)
        if options["check"] and stale:
            raise Refusal(f"Not what the code says: {names}. Run ./matricula api_document.")
        published.publish(stale)
        return Outcome(
            {"changed": [file.name for file in stale]},
            [f"Written: {names}." if stale else "Everything is current."],
        )
