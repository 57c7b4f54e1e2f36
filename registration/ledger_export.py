"""The ledger for the general ledger: what moved within a range of days in double entry, balanced, with a checksum.

Each movement is two lines: one on the account of what students owe, and one of the same amount on the other side, on the
account of the entry's kind. An entry moves twice at most: on the day that it was posted, and back on the day that it was voided. So the sum of
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
from django.core.exceptions import ImproperlyConfigured
from django.db.models import Q

import audit
from registration.models import LedgerEntry
from registration.models.billing import EFFECT, EntryKind, EntryState
from registration.money import decimal_text

COLUMNS: Final = (
    "entry",
    "moved_on",
    "movement",
    "account",
    "debit",
    "credit",
    "currency",
    "student_number",
    "term",
    "kind",
    "adjusts",
    "code",
    "description",
)
# What students owe; its other side is of the kind that an entry is, or corrects.
RECEIVABLE: Final = "receivable"
ACCOUNTS: Final = {
    RECEIVABLE: "Student receivables",
    EntryKind.CHARGE: "Tuition and fees",
    EntryKind.AID: "Financial aid",
    EntryKind.PAYMENT: "Payments received",
    EntryKind.REFUND: "Refunds to students",
}
# A spreadsheet takes a cell that begins so for a formula (owasp.org, CSV injection).
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class AccountMoved:
    """What an account of the general ledger was debited and credited with, in minor units."""

    account: str
    currency: str
    debit: int
    credit: int


@dataclass(frozen=True)
class LedgerExport:
    """A range of days (both included) as CSV, with its totals and the SHA-256 of its bytes.

    `totals` has the effect on balances of each kind, in minor units by currency and kind; `total` their sum. `accounts` is what
    each account moved by: their debits and credits are equal in each currency.
    """

    first_on: datetime.date
    last_on: datetime.date
    csv: bytes
    movements: int
    totals: dict[tuple[str, str], int]
    accounts: list[AccountMoved]
    checksum: str
    newest: LedgerEntry | None

    @property
    def rows(self) -> int:
        """The lines of the file, but for its heading."""
        return 2 * self.movements

    @property
    def total(self) -> int:
        return sum(self.totals.values())


def ledger_accounts() -> dict[str, str]:
    """The account of the general ledger that stands for receivables and for each kind of entry.

    Raises ImproperlyConfigured when LEDGER_ACCOUNTS names another kind, or gives one no text.
    """
    named = settings.LEDGER_ACCOUNTS
    if not isinstance(named, dict) or not all(
        kind in ACCOUNTS and isinstance(account, str) and account.strip() for kind, account in named.items()
    ):
        raise ImproperlyConfigured(
            'LEDGER_ACCOUNTS names accounts of the general ledger, such as {"receivable": "1200", "charge": "4000"}, for '
            f"some of {', '.join(ACCOUNTS)}."
        )
    return {**{str(kind): account for kind, account in ACCOUNTS.items()}, **named}


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
    accounts, movements, newest = ledger_accounts(), 0, None
    totals = defaultdict[tuple[str, str], int](int)
    moved = defaultdict[tuple[str, str], list[int]](lambda: [0, 0])
    for entry, moved_on, movement, sign in _movements(first_on, last_on):
        effect = sign * entry.amount_minor * EFFECT[EntryKind(entry.kind)]
        kind = entry.adjusts or entry.kind
        totals[entry.currency, kind] += effect
        movements, newest = movements + 1, entry
        # What students owe more of is debited to receivables.
        debited, credited = (RECEIVABLE, kind) if effect >= 0 else (kind, RECEIVABLE)
        for side, account in enumerate((accounts[debited], accounts[credited])):
            moved[entry.currency, account][side] += abs(effect)
            amounts = ["", ""]
            amounts[side] = decimal_text(abs(effect), entry.currency)
            writer.writerow(
                [
                    entry.pk,
                    moved_on.isoformat(),
                    movement,
                    safe_cell(account),
                    *amounts,
                    entry.currency,
                    *_about(entry),
                ]
            )
    content = written.getvalue().encode()
    return LedgerExport(
        first_on=first_on,
        last_on=last_on,
        csv=content,
        movements=movements,
        totals=dict(totals),
        accounts=[
            AccountMoved(account, currency, *sides) for (currency, account), sides in sorted(moved.items())
        ],
        checksum=hashlib.sha256(content).hexdigest(),
        newest=newest,
    )


def _about(entry: LedgerEntry) -> list[str]:
    """What a line says of its entry, as cells."""
    texts = (
        entry.account.student.number,
        entry.term.code,
        entry.kind,
        entry.adjusts,
        entry.code,
        entry.description,
    )
    return [safe_cell(text) for text in texts]


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
