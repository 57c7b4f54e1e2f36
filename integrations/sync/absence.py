"""Confirmation of absence: who is missing from numbered pages is looked for once more.

Numbered pages are no snapshot. While they are read, a record that goes from the first page moves another one from the
second onto the first, where nobody looks again: it seems to be missing though it was there all the time.
"""

from __future__ import annotations

from django.db import transaction
from django.db.models import Sum

from integrations.connectors.base import Page
from integrations.connectors.registry import connector_for
from integrations.datasets import DATASETS, Dataset
from integrations.models import Change, Stream, SyncRun
from integrations.sync.bulk import in_chunks
from integrations.sync.certificate import Certificate
from integrations.sync.contradictions import reject_contradictions
from integrations.sync.lease import Lease
from integrations.sync.mapping import CompiledMapping, Unmapped
from integrations.sync.plan import keep_plan


def confirm_absence(run: SyncRun, stream: Stream, lease: Lease, certificate: Certificate) -> None:
    """Read the feed a second time and keep only those voids by absence that it agrees with.

    A record of which no key can be read could be any of them: then none is confirmed. Raises a TransportError when the
    second extract cannot be had whole.
    """
    missing = run.changes.filter(is_absent=True)
    doubtful = set(missing.values_list("key", flat=True))
    found: set[str] = set()
    dataset, mapping = DATASETS[stream.dataset], CompiledMapping(stream.mapping)
    for page in connector_for(stream.connection).pull(stream):
        with transaction.atomic():
            lease.renew()
        keys = _keys_of(page, dataset, mapping)
        found |= doubtful if "" in keys else doubtful & keys
    with transaction.atomic():
        lease.lock()
        for chunk in in_chunks(found):
            Change.objects.filter(run=run, is_absent=True, key__in=chunk).delete()
        if found:
            # What was thought gone is in the way after all.
            for change in reject_contradictions(run):
                certificate.reject(change)
        certificate.counts.absent = missing.count()
        certificate.sums.absent = int(missing.aggregate(total=Sum("amount_before"))["total"] or 0)
        keep_plan(run, certificate)


def _keys_of(page: Page, dataset: Dataset, mapping: CompiledMapping) -> set[str]:
    """The keys on a page; "" among them for a record of which none can be read."""
    keys = set()
    for record in page.records:
        try:
            values = mapping.apply(record) if isinstance(record, dict) else {}
        except Unmapped as error:
            values = error.values
        keys.add(dataset.key_of(values))
    return keys
