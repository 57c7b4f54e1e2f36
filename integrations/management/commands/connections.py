"""Connection documents: `manage.py connections load FILE [--json]` and `manage.py connections export [SLUG] [--json]`."""

from __future__ import annotations

import sys
from argparse import SUPPRESS, ArgumentParser
from pathlib import Path
from typing import Any

import orjson
from django.db import transaction

from apiauth.sealed import SealBroken
from integrations.documents import DocumentRefused, document_of
from integrations.management.output import Outcome, OutcomeCommand, Refusal
from integrations.models import Connection
from integrations.operations import save_connection

MAX_DOCUMENT_BYTES = 1024 * 1024


class Command(OutcomeCommand):
    help = "Create or replace connections from their documents, or print them without secrets."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        load = actions.add_parser("load", help="create or replace the connections in a JSON file")
        load.add_argument("file", help="a document or a list of documents; - reads standard input")
        export = actions.add_parser("export", help="print the document of one connection, or of all of them")
        export.add_argument("slug", nargs="?", help="the connection's slug; all of them otherwise")
        for action in (load, export):
            # Without a default of its own, which would overrule a --json that stands before the action.
            action.add_argument(
                "--json", action="store_true", default=SUPPRESS, help="print one JSON value instead of text"
            )

    def outcome(self, **options: Any) -> Outcome:
        return self._load(**options) if options["action"] == "load" else self._export(options["slug"])

    def _export(self, slug: str | None) -> Outcome:
        """A document is JSON, with or without --json: what `load` reads."""
        present = Connection.objects.present().order_by("slug")
        chosen = present.filter(slug=slug) if slug else present
        if slug and not chosen:
            known = ", ".join(present.values_list("slug", flat=True)) or "none yet"
            raise Refusal(f"There is no connection {slug!r}. There are: {known}.")
        try:
            documents = [document_of(connection) for connection in chosen]
        except SealBroken as error:
            raise Refusal(str(error)) from None
        data: Any = documents[0] if slug else documents
        return Outcome(data, [orjson.dumps(data, option=orjson.OPT_INDENT_2).decode()])

    def _load(self, **options: Any) -> Outcome:
        content = _read(options["file"])
        documents = content if isinstance(content, list) else [content]
        with transaction.atomic():  # all of the file, or nothing
            results = [_load(document) for document in documents]
        lines = [f"{result['slug']}: {'saved' if result['changed'] else 'unchanged'}." for result in results]
        return Outcome(results if isinstance(content, list) else results[0], lines)


def _load(document: object) -> dict[str, Any]:
    try:
        connection, changed = save_connection(document)
    except DocumentRefused as error:
        faults = "\n".join(f"  {fault}" for fault in error.faults)
        raise Refusal(f"The connection was not saved. Its document has faults:\n{faults}") from None
    return {"slug": connection.slug, "changed": changed}


def _read(name: str) -> Any:
    try:
        text = (
            sys.stdin.buffer.read(MAX_DOCUMENT_BYTES)
            if name == "-"
            else Path(name).read_bytes()[:MAX_DOCUMENT_BYTES]
        )
    except OSError as error:
        raise Refusal(f"{name} cannot be read: {error.strerror}.") from None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Refusal(f"{name} is not JSON: {error}.") from None
