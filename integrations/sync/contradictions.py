"""Contradictions: changes of a plan that cannot stand beside each other, or beside what is there."""

from __future__ import annotations

import orjson
from django.db import transaction

from integrations.datasets import DATASETS
from integrations.datasets.rejection import Rejection
from integrations.models import Change, RejectedRecord, SyncRun
from integrations.models.plan import MAX_RAW_BYTES
from integrations.sync.bulk import in_chunks


@transaction.atomic
def reject_contradictions(run: SyncRun) -> list[Change]:
    """Turn what the dataset says cannot stand into rejected records, and return the changes that it was. What they
    concern stands as it did, and every run looks at them again."""
    found = DATASETS[run.stream.dataset].contradictions(run)
    rejected: list[Change] = []
    for chunk in in_chunks(found):
        changes = list(Change.objects.filter(pk__in=chunk))
        RejectedRecord.objects.bulk_create(_as_rejected(change, found[change.pk]) for change in changes)
        Change.objects.filter(pk__in=chunk).delete()
        rejected += changes
    return rejected


def _as_rejected(change: Change, rejection: Rejection) -> RejectedRecord:
    """In its canonical form: what came is no longer at hand once the plan is made."""
    raw = orjson.dumps(change.after)
    return RejectedRecord(
        run_id=change.run_id,
        key=change.key,
        rule=rejection.rule,
        field=rejection.field,
        reason=rejection.reason,
        raw=raw[:MAX_RAW_BYTES],
        raw_bytes=len(raw),
        amount=change.amount_after,
    )
