"""`manage.py api_document`: write openapi.yaml anew after a change of the API that breaks nothing."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from integrations.management.output import Outcome, OutcomeCommand, Refusal
from registration.api import published
from registration.api.docs import document


class Command(OutcomeCommand):
    help = "Write openapi.yaml from the code; refuses a change that would break a partner's program."

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
        is_current = published.FILE.exists() and published.FILE.read_text() == published.as_yaml(document())
        if options["check"] and not is_current:
            raise Refusal("openapi.yaml is not what the code says: run ./matricula api_document.")
        if not is_current:
            published.publish()
        return Outcome(
            {"changed": not is_current}, ["openapi.yaml is current." if is_current else "Written."]
        )
