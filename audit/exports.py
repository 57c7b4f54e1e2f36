"""The trail as a file: CSV that a spreadsheet takes as text, or JSON lines. Streamed, and bounded."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from typing import Any, Final

import orjson

from audit.encoding import TEXTS
from audit.models import AuditEvent
from audit.search import positions_of

MAX_EXPORTED: Final = 200_000
COLUMNS: Final = ("id", "at", "position", *TEXTS, "detail")
# A cell that begins so is a formula to a spreadsheet (OWASP, CSV Injection).
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_AT_ONCE: Final = 500


class Echo:
    """What csv writes to, giving back each line instead of keeping it."""

    def write(self, line: str) -> str:
        return line


def csv_lines(events: Iterable[AuditEvent]) -> Iterator[str]:
    """The events as lines of CSV, a header first; every cell is text to a spreadsheet, whatever it begins with."""
    writer = csv.writer(Echo())
    yield writer.writerow(COLUMNS)
    for row in _rows(events):
        cells = {**row, "detail": orjson.dumps(row["detail"]).decode(), "position": row["position"] or ""}
        yield writer.writerow([harmless(str(cells[name])) for name in COLUMNS])


def json_lines(events: Iterable[AuditEvent]) -> Iterator[bytes]:
    """The events as JSON lines."""
    for row in _rows(events):
        yield orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)


def harmless(cell: str) -> str:
    """The cell, behind an apostrophe where a spreadsheet would take it for a formula."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def _rows(events: Iterable[AuditEvent]) -> Iterator[dict[str, Any]]:
    part: list[AuditEvent] = []
    for event in events:
        part.append(event)
        if len(part) == _AT_ONCE:
            yield from _with_positions(part)
            part = []
    yield from _with_positions(part)


def _with_positions(events: list[AuditEvent]) -> Iterator[dict[str, Any]]:
    positions = positions_of(events)
    for event in events:
        texts = {name: getattr(event, name) for name in TEXTS}
        yield {
            "id": event.pk,
            "at": event.at.isoformat(),
            "position": positions.get(event.pk),
            **texts,
            "detail": event.detail,
        }
