"""The ledger for the general ledger: what moved within a range of days, balanced, with a checksum.

An entry moves twice at most: on the day that it was posted, and back on the day that it was voided. So the sum of
every export from the first day on is what the accounts say, and a range that was exported once never changes.
"""

from __future__ import annotations

import csv
import datetime
import hashlib
import io
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Q

import audit
from registration.models import LedgerEntry
from registration.models.billing import EFFECT, EntryKind, EntryState
from registration.money import decimal_text

COLUMNS: Final = (
    "entry",
    "moved_on",
    "movement",
    "student_number",
    "term",
    "kind",
    "adjusts",
    "code",
    "description",
    "effect",
    "currency",
)
# A spreadsheet takes a cell that begins so for a formula (owasp.org, CSV injection).
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class LedgerExport:
    """A range of days (both included) as CSV, with its totals and the SHA-256 of its bytes.

    `totals` has the effect on balances of each kind, in minor units by currency and kind; `total` their sum.
    """

    first_on: datetime.date
    last_on: datetime.date
    csv: bytes
    rows: int
    totals: dict[tuple[str, str], int]
    total: int
    checksum: str
    newest: LedgerEntry | None


def safe_cell(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def export_ledger(first_on: datetime.date, last_on: datetime.date) -> LedgerExport:
    """Export what moved balances from `first_on` through `last_on`, days where the institution is.

    Raises ValueError when the range ends before it begins.
    """
    if last_on < first_on:
        raise ValueError("The last day lies before the first one.")
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    rows, totals, newest = 0, defaultdict[tuple[str, str], int](int), None
    for entry, moved_on, movement, sign in _movements(first_on, last_on):
        effect = sign * entry.amount_minor * EFFECT[EntryKind(entry.kind)]
        kind = entry.adjusts or entry.kind
        totals[entry.currency, kind] += effect
        rows, newest = rows + 1, entry
        texts = (
            entry.account.student.number,
            entry.term.code,
            entry.kind,
            entry.adjusts,
            entry.code,
            entry.description,
        )
        writer.writerow(
            [entry.pk, moved_on.isoformat(), movement, *map(safe_cell, texts), decimal_text(effect, entry.currency), entry.currency]
        )  # fmt: skip
    content = written.getvalue().encode()
    return LedgerExport(
        first_on,
        last_on,
        content,
        rows,
        dict(totals),
        sum(totals.values()),
        hashlib.sha256(content).hexdigest(),
        newest,
    )


def _movements(
    first_on: datetime.date, last_on: datetime.date
) -> Iterator[tuple[LedgerEntry, datetime.date, str, int]]:
    """Each movement with its day and sign, in the order of entries; only what was posted has moved anything."""
    zone = ZoneInfo(settings.TIME_ZONE)
    begins = datetime.datetime.combine(first_on, datetime.time(), zone)
    ends = datetime.datetime.combine(last_on + datetime.timedelta(days=1), datetime.time(), zone)
    counted = Q(state=EntryState.POSTED) | Q(state=EntryState.VOID, voided_from=EntryState.POSTED)
    within = Q(posted_at__gte=begins, posted_at__lt=ends) | Q(voided_at__gte=begins, voided_at__lt=ends)
    entries = (
        LedgerEntry.objects.filter(counted & within).select_related("account__student", "term").order_by("pk")
    )
    for entry in entries.iterator(chunk_size=2000):
        for moved_at, movement, sign in ((entry.posted_at, "posted", 1), (entry.voided_at, "voided", -1)):
            if moved_at is not None and begins <= moved_at < ends:
                yield entry, moved_at.astimezone(zone).date(), movement, sign


def record_export(export: LedgerExport) -> None:
    """Leave an event that the range was taken out of the house, on its newest entry; an empty one took nothing."""
    if export.newest is not None:
        audit.record(
            "ledger.exported",
            export.newest,
            detail={
                "from": str(export.first_on),
                "to": str(export.last_on),
                "rows": export.rows,
                "sha256": export.checksum,
            },
        )
