"""Term codes: what the words that another system has for a term mean here, as administrators say it."""

from __future__ import annotations

import datetime

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Coalesce

from integrations.models.connection import Connection
from registration.models import Term


class TermCode(models.Model):
    """What a code of a connection's system stands for: always, or for records of certain days. Without a code it is for
    records of those days whose code nobody knows."""

    connection = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="term_codes")
    code = models.CharField(
        max_length=40,
        blank=True,
        help_text="As the system writes it. Empty: for any code that is not known otherwise, by the days below.",
    )
    from_on = models.DateField(
        "from",
        null=True,
        blank=True,
        help_text="The first day of records that it is for; empty: no first day.",
    )
    through_on = models.DateField(
        "through",
        null=True,
        blank=True,
        help_text="The last day of records that it is for; empty: no last day.",
    )
    term = models.ForeignKey(
        Term, on_delete=models.PROTECT, related_name="+", help_text="The term that it stands for here."
    )
    changed_at = models.DateTimeField(auto_now=True)
    changed_by = models.CharField(max_length=150, editable=False)

    class Meta:
        ordering = ["connection", "code", "from_on"]
        constraints = [
            # SQLite knows no unique constraint in which two nothings are the same.
            models.UniqueConstraint(
                "connection",
                "code",
                Coalesce("from_on", models.Value(datetime.date.min)),
                Coalesce("through_on", models.Value(datetime.date.max)),
                name="term_code_once_for_its_days",
                violation_error_message="The connection has this code for these days already.",
            ),
            models.CheckConstraint(
                name="term_code_days_in_order",
                condition=Q(from_on__isnull=True)
                | Q(through_on__isnull=True)
                | Q(through_on__gte=F("from_on")),
                violation_error_message="The last day lies before the first.",
            ),
            models.CheckConstraint(
                name="term_code_says_which_records",
                condition=~Q(code="") | Q(from_on__isnull=False) | Q(through_on__isnull=False),
                violation_error_message="Give a code, or the days of the records that it is for.",
            ),
            models.CheckConstraint(name="term_code_says_who", condition=~Q(changed_by="")),
        ]

    def __str__(self) -> str:
        return f"{self.code or 'any code'}{self.days}"

    @property
    def days(self) -> str:
        """The days that it is for, in words; nothing for all of them."""
        first = f" from {self.from_on}" if self.from_on else ""
        return f"{first} through {self.through_on}" if self.through_on else first
