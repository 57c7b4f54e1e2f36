"""The ceiling of an approval: a run that carries out a decision does what was approved, and nothing else.

The source is read anew. What it says now and was approved then is applied; what it says now and was not approved, or
was withheld, is left for another plan.
"""

from __future__ import annotations

from typing import Final

from django.db.models import Exists, OuterRef, QuerySet, Sum
from django.db.models.functions import Coalesce

from integrations.datasets import DATASETS
from integrations.models import Change, SyncRun
from integrations.sync.certificate import Certificate
from integrations.sync.guards import part_that_tripped

# Stands for "no amount" where two amounts are compared: SQL's own equality is unknown between two nothings.
_NO_AMOUNT: Final = -(2**62)
# Two changes with the same values here are the same step of the same record.
_SAME: Final = (
    "key",
    "action",
    "is_absent",
    "student_id",
    "canonical_fingerprint",
    "worth_before",
    "worth_after",
)


def keep_what_was_approved(run: SyncRun, certificate: Certificate) -> None:
    """Take out of the plan whatever the approved plan does not hold, and count it as held."""
    approved_plan = run.carries_out
    if approved_plan is None:
        return
    approved = _with_worth(approved_plan.changes.effective().filter(is_kept=False))
    if run.withholds_tripped:
        approved = approved.exclude(pk__in=part_that_tripped(approved_plan).values("pk"))
    same = approved.filter(**{column: OuterRef(column) for column in _SAME})
    beyond = _with_worth(run.changes.effective()).exclude(Exists(same))
    if DATASETS[run.stream.dataset].moves_students_whole:
        beyond = run.changes.effective().filter(student_id__in=beyond.values("student_id"))
    # Absent records were not read: they are not among what is to be accounted for.
    read = beyond.filter(is_absent=False)
    certificate.counts.held = read.count()
    certificate.sums.held = int(read.aggregate(total=Sum("amount_after"))["total"] or 0)
    certificate.beyond_approval = beyond.delete()[0]


def _with_worth(changes: QuerySet[Change, Change]) -> QuerySet[Change, Change]:
    return changes.annotate(
        worth_before=Coalesce("amount_before", _NO_AMOUNT), worth_after=Coalesce("amount_after", _NO_AMOUNT)
    )
