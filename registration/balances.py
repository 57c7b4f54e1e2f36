"""A student's balance for a partner: whether they may see it, and what it is, in one statement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson
from django.conf import settings
from django.db import connection

from apiauth.statements import Statement
from registration.disclosure import Shown
from registration.models.billing import AccountTotals
from registration.models.people import StudentQuerySet

# One row: a JSON text of the sums of a ledger, by kind and state. Nothing of a caller's is in the text.
_STATEMENT: Final = """
WITH page (id, shown_by) AS ({page})
SELECT {gathered} AS told FROM (
  SELECT s.id AS student_id, s.number, g.id AS grant_id, g.purpose, a.currency, e.kind, e.adjusts, e.state,
    SUM(e.amount_minor) AS total
  FROM page JOIN registration_student s ON s.id = page.id JOIN registration_studentgrant g ON g.id = page.shown_by
  LEFT JOIN registration_billingaccount a ON a.student_id = s.id
  LEFT JOIN registration_ledgerentry e ON e.account_id = a.student_id AND e.state <> 'void'
  GROUP BY s.id, s.number, g.id, g.purpose, a.currency, e.kind, e.adjusts, e.state
) AS sums
"""
_COLUMNS: Final = "student_id, number, grant_id, purpose, currency, kind, adjusts, state, total"
_GATHERED: Final = {
    "postgresql": f"CAST(COALESCE(json_agg(json_build_array({_COLUMNS})), '[]') AS TEXT)",
    "sqlite": f"json_group_array(json_array({_COLUMNS}))",
}


@dataclass(frozen=True)
class Balance:
    """What a student owes, and who is shown it."""

    shown: Shown
    totals: AccountTotals


def balance_of(student: StudentQuerySet) -> Statement:
    """What tells the balance of one student, who comes from `visible_to` and `with_grant_to`."""
    columns: tuple[Any, ...] = ("pk", "shown_by")  # the second is an annotation
    page, parameters = student.values(*columns).query.sql_with_params()
    return Statement(_STATEMENT.format(page=page, gathered=_GATHERED[connection.vendor]), parameters)


def told(json: str) -> Balance | None:
    """What the statement has read; None of nobody. A student without an account owes nothing."""
    rows = orjson.loads(json)
    if not rows:
        return None
    currency = rows[0][4] or settings.CURRENCY
    sums = [(kind, adjusts, state, total) for *_, kind, adjusts, state, total in rows if kind]
    return Balance(Shown(*rows[0][:4]), AccountTotals.summed(currency, sums))
