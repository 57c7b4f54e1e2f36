"""Accounts with more aid and payments than charges, and since when: the bursar's list.

Federal aid that exceeds what it may pay for is the student's within 14 days of the credit balance's rise
(34 CFR 668.164(h)); the list shows the days left of them for every credit balance, whatever it came from.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Final

from django.db.models import BigIntegerField, Case, F, Sum, Value, When
from django.utils import timezone

from registration.models import BillingAccount, LedgerEntry, Student
from registration.models.billing import EFFECT, EntryState
from registration.money import display

REFUND_WITHIN: Final = datetime.timedelta(days=14)
# What an entry does to the balance, as the database counts it.
_EFFECT: Final = Case(
    *(When(kind=kind, then=Value(sign)) for kind, sign in EFFECT.items()), output_field=BigIntegerField()
)


@dataclass(frozen=True)
class CreditBalance:
    """What the institution owes one student, in minor units, since which day, and until when it is due."""

    student: Student
    currency: str
    amount_minor: int
    arose_on: datetime.date
    due_on: datetime.date
    days_left: int

    @property
    def displayed_amount(self) -> str:
        return display(self.amount_minor, self.currency)

    @property
    def tone(self) -> str:
        """How urgent it is, as a badge's colour."""
        return "bad" if self.days_left < 0 else "warn" if self.days_left <= URGENT_DAYS else "muted"


URGENT_DAYS: Final = 3


def credit_balances(students: Iterable[int] | None = None) -> list[CreditBalance]:
    """Return every credit balance, or those of `students` (ids), the most urgent first."""
    posted = LedgerEntry.objects.filter(state=EntryState.POSTED).order_by()
    if students is not None:
        posted = posted.filter(account__in=list(students))
    owed = dict(
        posted.values("account")
        .annotate(balance=Sum(F("amount_minor") * _EFFECT))
        .filter(balance__lt=0)
        .values_list("account", "balance")
    )
    accounts = BillingAccount.objects.select_related("student").in_bulk(owed)
    today = timezone.localdate()
    found = [
        _credit(accounts[account], -owed[account], arose_on, today)
        for account, arose_on in _rises(list(owed))
    ]
    return sorted(found, key=lambda credit: (credit.days_left, credit.student.number))


def _credit(
    account: BillingAccount, amount: int, arose_on: datetime.date, today: datetime.date
) -> CreditBalance:
    due_on = arose_on + REFUND_WITHIN
    return CreditBalance(account.student, account.currency, amount, arose_on, due_on, (due_on - today).days)


def _rises(accounts: list[int]) -> Iterator[tuple[int, datetime.date]]:
    """For each account the day, where the institution is, on which its balance last fell below zero.

    An entry counts from when it was posted until it was voided; one that was only anticipated never did.
    """
    moves: list[tuple[int, datetime.datetime, int]] = []
    counted = LedgerEntry.objects.filter(account__in=accounts).annotate(effect=F("amount_minor") * _EFFECT)
    live = counted.filter(state=EntryState.POSTED)
    gone = counted.filter(state=EntryState.VOID, voided_from=EntryState.POSTED)
    for account, effect, posted_at in live.values_list("account", "effect", "posted_at"):
        moves.append((account, posted_at, effect))
    for account, effect, posted_at, voided_at in gone.values_list(
        "account", "effect", "posted_at", "voided_at"
    ):
        moves += [(account, posted_at, effect), (account, voided_at or posted_at, -effect)]
    moves.sort()
    for account, of_account in groupby(moves, key=itemgetter(0)):
        balance, arose_at = 0, None
        # What happened at one moment is one step: a void and its new entry are never half done.
        for moment, steps in groupby(of_account, key=itemgetter(1)):
            before, balance = balance, balance + sum(step[2] for step in steps)
            if balance < 0 <= before:
                arose_at = moment
        if arose_at is not None:
            yield account, timezone.localdate(arose_at)
