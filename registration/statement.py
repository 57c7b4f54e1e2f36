"""A student's account for one term, as a person reads it and as CSV."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import Final

from registration.ledger_export import safe_cell
from registration.models import BillingAccount, LedgerEntry, Student, Term
from registration.models.billing import EFFECT, EntryKind, EntryState
from registration.money import decimal_text, display

COLUMNS: Final = ("date", "kind", "code", "description", "basis", "amount", "balance", "currency")


@dataclass(frozen=True)
class StatementLine:
    """One posted entry, what it does to the balance, and the balance after it, in minor units."""

    entry: LedgerEntry
    effect: int
    balance: int

    @property
    def displayed_effect(self) -> str:
        return display(self.effect, self.entry.currency)

    @property
    def displayed_balance(self) -> str:
        return display(self.balance, self.entry.currency)


@dataclass(frozen=True)
class Statement:
    """What is posted to an account in a term. What was voided has no place on it; anticipated aid stands beside."""

    student: Student
    term: Term
    currency: str
    lines: list[StatementLine]
    anticipated: list[LedgerEntry]

    @property
    def balance(self) -> int:
        return self.lines[-1].balance if self.lines else 0

    @property
    def displayed_balance(self) -> str:
        return display(abs(self.balance), self.currency)

    def as_csv(self) -> bytes:
        """The statement as CSV, no cell of which a spreadsheet takes for a formula."""
        written = io.StringIO()
        writer = csv.writer(written, lineterminator="\r\n")
        writer.writerow(COLUMNS)
        for line in self.lines:
            entry = line.entry
            texts = (entry.kind, entry.code, entry.description, entry.basis)
            amounts = (decimal_text(line.effect, self.currency), decimal_text(line.balance, self.currency))
            writer.writerow([entry.posted_at.date(), *map(safe_cell, texts), *amounts, self.currency])
        return written.getvalue().encode()


def statement_of(account: BillingAccount, term: Term) -> Statement:
    """Draw up the account's statement for the term, in the order of posting."""
    entries = list(account.entries.live().filter(term=term).order_by("posted_at", "pk"))
    lines: list[StatementLine] = []
    balance = 0
    for entry in entries:
        if entry.state == EntryState.POSTED:
            effect = entry.amount_minor * EFFECT[EntryKind(entry.kind)]
            balance += effect
            lines.append(StatementLine(entry, effect, balance))
    anticipated = [entry for entry in entries if entry.state == EntryState.ANTICIPATED]
    return Statement(account.student, term, account.currency, lines, anticipated)
