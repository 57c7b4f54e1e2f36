"""Whether charges still are what fee schedules say: registration's part of `verify_ledger`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from registration.fees import FeeScope, found_differences
from registration.models import FeeChange, FeeItem, FeeSchedule, LedgerEntry, Student, Term
from registration.models.fee_change import FeeChangeStatus

_ENTRY, _ITEM, _SCHEDULE = (model._meta.db_table for model in (LedgerEntry, FeeItem, FeeSchedule))
# As in integrations.sync.verification: a rule's name, the sentence for a fault, and the statement that finds it.
FEE_RULES: Final = (
    (
        "fee_of_another_term",
        "Entry {0} is charged in another term than that of its fee schedule, {1}.",
        f"SELECT entry.id, schedule.id FROM {_ENTRY} AS entry JOIN {_ITEM} AS item ON item.id = entry.fee_item_id "
        f"JOIN {_SCHEDULE} AS schedule ON schedule.id = item.schedule_id "
        "WHERE entry.state <> 'void' AND entry.term_id <> schedule.term_id",
    ),
    (
        "fee_in_another_currency",
        "Entry {0} is in another currency than its fee schedule, {1}.",
        f"SELECT entry.id, schedule.currency FROM {_ENTRY} AS entry JOIN {_ITEM} AS item ON item.id = entry.fee_item_id "
        f"JOIN {_SCHEDULE} AS schedule ON schedule.id = item.schedule_id "
        "WHERE entry.state <> 'void' AND entry.currency <> schedule.currency",
    ),
)
FEE_DIFFERS: Final = "fee_differs"


def fees_that_differ(limit: int) -> Iterator[str]:
    """Yield a sentence for each fee, in terms that are open, that is not what the schedules say, `limit` at most.

    Whoever was never charged for a term is left out, and so is what waits for a person or was refused by one.
    """
    for term in Term.objects.filter(is_closed=False, fee_schedules__isnull=False).distinct().order_by("pk"):
        assessed = LedgerEntry.objects.from_schedules().filter(term=term).values_list("account", flat=True)
        spoken_for = FeeChange.objects.filter(
            term=term, status__in=[FeeChangeStatus.WAITING, FeeChangeStatus.REFUSED]
        ).values_list("student", flat=True)
        watched = set(assessed) - set(spoken_for)
        rows = [row for row in found_differences(FeeScope([term.pk])) if row[0] in watched][:limit]
        numbers = Student.objects.in_bulk([row[0] for row in rows])
        for student, _, code, charged, owed in rows:
            yield (
                f"{numbers[student].number} is charged {charged} of {code} in {term.code} (minor units) where the "
                f"fee schedule says {owed}: assess the term's fees."
            )
        limit -= len(rows)
