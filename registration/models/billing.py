"""A student's billing account and the entries of its ledger.

Every amount is an integer of minor units (cents for USD). Entries are never edited: the one step that a row may
take is from anticipated or posted to void, which the database itself enforces (migration 0002).
"""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from django.db import models
from django.db.models import Max, Q, Sum

from registration.models.catalogue import Term
from registration.models.constraints import currency_code, one_of
from registration.models.fees import FeeItem
from registration.models.people import Student
from registration.money import decimal_text, display


class EntryKind(models.TextChoices):
    CHARGE = "charge", "Charge"
    AID = "aid", "Financial aid"
    PAYMENT = "payment", "Payment"
    REFUND = "refund", "Refund"
    ADJUSTMENT = "adjustment", "Adjustment"


class EntryState(models.TextChoices):
    ANTICIPATED = "anticipated", "Anticipated"
    POSTED = "posted", "Posted"
    VOID = "void", "Void"


# What an entry does to the balance: a charge or a refund raises it, aid or a payment lowers it. An adjustment's
# amount is signed and is its own effect: positive raises the balance.
EFFECT = {
    EntryKind.CHARGE: 1,
    EntryKind.REFUND: 1,
    EntryKind.ADJUSTMENT: 1,
    EntryKind.AID: -1,
    EntryKind.PAYMENT: -1,
}


@dataclass(frozen=True)
class AccountTotals:
    """An account in minor units. Each total is net of the posted adjustments that correct it, so that always
    balance = charges - posted_aid - payments + refunds."""

    currency: str
    charges: int = 0
    posted_aid: int = 0
    anticipated_aid: int = 0
    payments: int = 0
    refunds: int = 0

    @classmethod
    def summed(cls, currency: str, rows: Iterable[tuple[str, str, str, int]]) -> AccountTotals:
        """The totals of live entries, of which `rows` has the sums: kind, what it adjusts, state and amount."""
        sums: dict[tuple[str, str], int] = {}
        for kind, adjusts, state, total in rows:
            corrected = EntryKind(adjusts or kind)
            # An adjustment is written by its effect on the balance; a total of aid grows as the balance falls.
            amount = int(total) * EFFECT[corrected] if adjusts else int(total)
            sums[corrected, state] = sums.get((corrected, state), 0) + amount

        def posted(kind: EntryKind) -> int:
            return sums.get((kind, EntryState.POSTED), 0)

        return cls(
            currency=currency,
            charges=posted(EntryKind.CHARGE),
            posted_aid=posted(EntryKind.AID),
            anticipated_aid=sums.get((EntryKind.AID, EntryState.ANTICIPATED), 0),
            payments=posted(EntryKind.PAYMENT),
            refunds=posted(EntryKind.REFUND),
        )

    @property
    def balance(self) -> int:
        return self.charges - self.posted_aid - self.payments + self.refunds

    @property
    def credit(self) -> int:
        """What the institution owes the student, nothing when it is the other way round."""
        return max(-self.balance, 0)

    def as_decimal_texts(self) -> dict[str, str]:
        """Every total and the balance as plain decimal strings."""
        names = ("balance", "charges", "posted_aid", "anticipated_aid", "payments", "refunds")
        return {name: decimal_text(getattr(self, name), self.currency) for name in names}

    def as_displayed(self) -> dict[str, str]:
        """Every total and the balance as people read them."""
        names = ("balance", "charges", "posted_aid", "anticipated_aid", "payments", "refunds")
        return {name: display(getattr(self, name), self.currency) for name in names}


class BillingAccount(models.Model):
    """One for each student; its key is the student's."""

    student = models.OneToOneField(
        Student, on_delete=models.PROTECT, primary_key=True, related_name="billing_account"
    )
    currency = models.CharField(max_length=3)

    class Meta:
        ordering = ["student"]
        permissions = [("refund_billingaccount", "Can refund billingaccount")]
        constraints = [
            models.CheckConstraint(
                name="billing_account_currency_is_iso_code", condition=currency_code("currency")
            ),
        ]

    def __str__(self) -> str:
        return f"Account of {self.student}"

    def totals(self) -> AccountTotals:
        """Sum the ledger in the database."""
        rows = (
            self.entries.exclude(state=EntryState.VOID)
            .order_by()
            .values_list("kind", "adjusts", "state")
            .annotate(total=Sum("amount_minor"))
        )
        return AccountTotals.summed(self.currency, rows)


class LedgerEntryQuerySet(models.QuerySet["LedgerEntry"]):
    def live(self) -> LedgerEntryQuerySet:
        """Leave out what was voided."""
        return self.exclude(state=EntryState.VOID)

    def voided_by_hand(self) -> LedgerEntryQuerySet:
        """Narrow to entries that a sync posted and a person voided."""
        return self.filter(state=EntryState.VOID, voided_run__isnull=True, posted_run__isnull=False)

    def last_refunds(self, accounts: Collection[int]) -> dict[int, datetime.datetime]:
        """When a credit was paid out last, by the account's id, of those among `accounts` where one was."""
        refunds = self.live().filter(kind=EntryKind.REFUND, account_id__in=accounts).order_by()
        return dict(refunds.values_list("account_id").annotate(last=Max("posted_at")))

    def from_aid(self) -> LedgerEntryQuerySet:
        """Narrow to aid and to adjustments of aid."""
        return self.filter(Q(kind=EntryKind.AID) | Q(adjusts=EntryKind.AID))

    def from_schedules(self) -> LedgerEntryQuerySet:
        """Narrow to charges that fee schedules say."""
        return self.filter(fee_item__isnull=False)


class LedgerEntry(models.Model):
    """One line of a student's bill.

    The run, change and person columns say why the line is there and why it went. Runs and changes are known by
    their ids alone: they live in a room that this one does not know.
    """

    account = models.ForeignKey(BillingAccount, on_delete=models.PROTECT, related_name="entries")
    term = models.ForeignKey(Term, on_delete=models.PROTECT, related_name="entries")
    kind = models.CharField(max_length=12, choices=EntryKind.choices)
    adjusts = models.CharField(
        max_length=12,
        choices=EntryKind.choices,
        blank=True,
        help_text="Of an adjustment: which total it corrects.",
    )
    state = models.CharField(max_length=12, choices=EntryState.choices)
    amount_minor = models.BigIntegerField(help_text="In minor units of the currency, such as cents.")
    currency = models.CharField(max_length=3)
    code = models.CharField(max_length=40, help_text="The fund of an aid, the fee of a charge.")
    description = models.CharField(max_length=200, blank=True)
    effective_on = models.DateField(null=True, blank=True, help_text="The day that the money counts from.")
    fee_item = models.ForeignKey(
        FeeItem,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="entries",
        help_text="Of a charge that a fee schedule says: the fee.",
    )
    basis = models.CharField(
        max_length=200,
        blank=True,
        default="",
        db_default="",
        help_text="How the amount of such a charge came about.",
    )

    corrects = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="corrections",
        help_text="Of an entry that a person posted in the place of another: the one that a sync or a charge had posted.",
    )

    posted_at = models.DateTimeField()
    posted_by = models.CharField(max_length=150)
    posted_run = models.BigIntegerField(null=True, blank=True)
    posted_change = models.BigIntegerField(null=True, blank=True)
    voided_at = models.DateTimeField(null=True, blank=True)
    voided_by = models.CharField(max_length=150, blank=True)
    voided_run = models.BigIntegerField(null=True, blank=True)
    void_reason = models.CharField(max_length=500, blank=True)
    voided_from = models.CharField(
        max_length=12,
        blank=True,
        default="",
        db_default="",
        help_text="What a void entry was before: only what was posted had counted.",
    )

    objects = LedgerEntryQuerySet.as_manager()

    class Meta:
        ordering = ["-posted_at", "-id"]
        verbose_name_plural = "ledger entries"
        indexes = [
            models.Index(fields=["account", "state"], name="ledger_entry_account_state"),
            # What people have taken off bills that a sync had posted: few, and looked for by every sync.
            models.Index(
                fields=["id"],
                condition=Q(state="void", voided_run__isnull=True, posted_run__isnull=False),
                name="ledger_entry_voided_by_hand",
            ),
        ]
        constraints = [
            models.CheckConstraint(name="ledger_entry_kind_known", condition=one_of("kind", EntryKind)),
            models.CheckConstraint(name="ledger_entry_state_known", condition=one_of("state", EntryState)),
            models.CheckConstraint(
                name="ledger_entry_amount_positive_or_signed_adjustment",
                condition=Q(amount_minor__gt=0) | (Q(kind=EntryKind.ADJUSTMENT) & ~Q(amount_minor=0)),
            ),
            models.CheckConstraint(
                name="ledger_entry_adjustment_names_what_it_adjusts",
                condition=(
                    Q(kind=EntryKind.ADJUSTMENT, adjusts__in=["charge", "aid", "payment", "refund"])
                    | (~Q(kind=EntryKind.ADJUSTMENT) & Q(adjusts=""))
                ),
            ),
            models.CheckConstraint(
                name="ledger_entry_only_aid_is_anticipated",
                condition=~Q(state=EntryState.ANTICIPATED) | Q(kind=EntryKind.AID) | Q(adjusts=EntryKind.AID),
            ),
            models.CheckConstraint(
                name="ledger_entry_void_says_when_who_and_why",
                condition=(
                    (
                        Q(state=EntryState.VOID, voided_at__isnull=False)
                        & ~Q(voided_by="")
                        & ~Q(void_reason="")
                    )
                    | (
                        ~Q(state=EntryState.VOID)
                        & Q(voided_at__isnull=True, voided_by="", voided_run__isnull=True, void_reason="")
                    )
                ),
            ),
            models.CheckConstraint(name="ledger_entry_says_who_posted", condition=~Q(posted_by="")),
            models.UniqueConstraint(
                fields=["corrects"],
                condition=~Q(state="void"),
                name="ledger_entry_one_live_correction",
            ),
            models.CheckConstraint(
                name="ledger_entry_currency_is_iso_code", condition=currency_code("currency")
            ),
            models.CheckConstraint(
                name="ledger_entry_only_a_charge_follows_a_schedule",
                condition=Q(fee_item__isnull=True) | Q(kind=EntryKind.CHARGE),
            ),
            models.UniqueConstraint(
                fields=["account", "term", "code"],
                condition=Q(fee_item__isnull=False) & ~Q(state="void"),
                name="ledger_entry_one_live_charge_a_fee",
            ),
            models.CheckConstraint(
                name="ledger_entry_only_a_void_was_something_else",
                condition=Q(voided_from="")
                | Q(state=EntryState.VOID, voided_from__in=["anticipated", "posted"]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.displayed_amount}"

    @property
    def displayed_amount(self) -> str:
        return display(self.amount_minor, self.currency)

    @property
    def displayed_effect(self) -> str:
        """What the entry does to the balance, signed; nothing unless it is posted."""
        if self.state != EntryState.POSTED:
            return ""
        return display(self.amount_minor * EFFECT[EntryKind(self.kind)], self.currency)
