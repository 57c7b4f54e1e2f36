"""Fee schedules: what a term costs, by living arrangement and tuition residency, and what is refunded when.

Amounts are integers of minor units. docs/billing.md says in words how they become a bill.
"""

from __future__ import annotations

from typing import Final

from django.conf import settings
from django.db import models
from django.db.models import Q

from registration.models.catalogue import Term
from registration.models.constraints import currency_code, filled, one_of
from registration.models.enrollment import SeatExit
from registration.models.housing import LivingArrangement
from registration.models.people import TuitionResidency
from registration.money import display

# A thousand million in hundredths: times ninety credits in hundredths and 100% in hundredths of a percent, the
# highest product that a bill's arithmetic makes, is still a 64-bit integer on both databases.
MAX_FEE_MINOR: Final = 10**11


class FeeBasis(models.TextChoices):
    FLAT = "flat", "Flat"
    PER_CREDIT = "per_credit", "Per credit"


def billing_currency() -> str:
    """The installation's currency, asked when a row is made."""
    return str(settings.CURRENCY)


class FeeSchedule(models.Model):
    """What students of one living arrangement and one tuition residency are charged for a term."""

    term = models.ForeignKey(Term, on_delete=models.PROTECT, related_name="fee_schedules")
    living_arrangement = models.CharField(max_length=12, choices=LivingArrangement.choices)
    residency = models.CharField("tuition residency", max_length=20, choices=TuitionResidency.choices)
    currency = models.CharField(max_length=3, default=billing_currency)

    class Meta:
        ordering = ["-term__starts_on", "living_arrangement", "residency"]
        constraints = [
            models.UniqueConstraint(
                fields=["term", "living_arrangement", "residency"],
                name="fee_schedule_once_a_term_arrangement_and_residency",
                violation_error_message="This term has a schedule for that living arrangement and residency already.",
            ),
            models.CheckConstraint(
                name="fee_schedule_arrangement_known",
                condition=one_of("living_arrangement", LivingArrangement),
            ),
            models.CheckConstraint(
                name="fee_schedule_residency_known", condition=one_of("residency", TuitionResidency)
            ),
            models.CheckConstraint(
                name="fee_schedule_currency_is_iso_code", condition=currency_code("currency")
            ),
        ]

    def __str__(self) -> str:
        where, who = self.get_living_arrangement_display(), self.get_residency_display()
        return f"{self.term.code} {where.lower()}, {who.lower()}"


class FeeItem(models.Model):
    """One fee of a schedule. Of zero, it charges nothing: how a fee is taken off without losing its history."""

    schedule = models.ForeignKey(FeeSchedule, on_delete=models.PROTECT, related_name="items")
    code = models.CharField(max_length=40, help_text="Names the fee on the bill, such as TUITION.")
    description = models.CharField(max_length=150)
    basis = models.CharField(max_length=12, choices=FeeBasis.choices)
    amount_minor = models.BigIntegerField(
        help_text="In minor units, such as cents; of a per-credit fee, for one whole credit."
    )

    class Meta:
        ordering = ["schedule", "code"]
        constraints = [
            models.UniqueConstraint(
                fields=["schedule", "code"],
                name="fee_item_code_once_a_schedule",
                violation_error_message="The schedule has a fee with this code already.",
            ),
            models.CheckConstraint(name="fee_item_named", condition=filled("code", "description")),
            models.CheckConstraint(name="fee_item_basis_known", condition=one_of("basis", FeeBasis)),
            models.CheckConstraint(
                name="fee_item_amount_within_bounds",
                condition=Q(amount_minor__gte=0, amount_minor__lte=MAX_FEE_MINOR),
                violation_error_message="A fee is not negative, and not beyond any bill.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.code} {self.displayed_amount}"

    @property
    def displayed_amount(self) -> str:
        amount = display(self.amount_minor, self.schedule.currency)
        return f"{amount} a credit" if self.basis == FeeBasis.PER_CREDIT else amount


class RefundStep(models.Model):
    """How much of its fees a seat gives back when it is given up by a day; after the last day, nothing."""

    schedule = models.ForeignKey(FeeSchedule, on_delete=models.PROTECT, related_name="refund_steps")
    applies_to = models.CharField(max_length=12, choices=SeatExit.choices)
    through_on = models.DateField(help_text="The last day on which this share is refunded.")
    percent = models.DecimalField(max_digits=5, decimal_places=2)

    class Meta:
        ordering = ["schedule", "applies_to", "through_on"]
        constraints = [
            models.UniqueConstraint(
                fields=["schedule", "applies_to", "through_on"],
                name="refund_step_once_a_day",
                violation_error_message="The schedule has a refund step for this day already.",
            ),
            models.CheckConstraint(
                name="refund_step_applies_to_known", condition=one_of("applies_to", SeatExit)
            ),
            models.CheckConstraint(
                name="refund_step_percent_within_bounds",
                condition=Q(percent__gte=0, percent__lte=100),
                violation_error_message="A refund is between 0 and 100 percent.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.percent}% through {self.through_on}"
