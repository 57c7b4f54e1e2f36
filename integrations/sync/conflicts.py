"""Conflicts: a person has edited what a sync had applied, and the source says something else.

The connection's policy says what counts: the source, the edit, or a person who is asked. Where the edit counts, what the
source says is pinned on the record's link, as after an undo: it is ignored until the source says something else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.models import Q

from integrations.datasets import DATASETS
from integrations.datasets.base import Dataset, HandEdit
from integrations.models import Change, Stream, SyncLink, SyncRun
from integrations.models.connection import ConflictPolicy
from integrations.models.plan import ABSENT, ChangeAction
from integrations.sync.bulk import in_chunks
from integrations.sync.guards import part_that_tripped


def settle_conflicts(run: SyncRun, stream: Stream, edits: Mapping[int, HandEdit]) -> None:
    """Find the conflicts among the plan's changes and settle them by the connection's policy. A plan that carries out a
    decision has no policy left to ask: what was approved is done."""
    dataset = DATASETS[stream.dataset]
    keeps_ours = stream.connection.conflicts == ConflictPolicy.LOCAL and run.carries_out_id is None
    for chunk in in_chunks(edits):
        links = {link.key: link for link in SyncLink.objects.filter(pk__in=chunk).select_related("change")}
        conflicting = []
        for change in Change.objects.filter(run=run, key__in=links):
            link = links[change.key]
            if _differs(change, link, edits[link.pk], dataset):
                _note(change, link, edits[link.pk], dataset)
                if keeps_ours:
                    change.action, change.object_id, change.moved = ChangeAction.KEEP, None, 0
                conflicting.append(change)
        Change.objects.bulk_update(
            conflicting,
            ["action", "object_id", "moved", "before", "amount_before", "conflict"],
        )


def _differs(change: Change, link: SyncLink, edit: HandEdit, dataset: Dataset) -> bool:
    """Whether the source and the person say different things. What was settled before is settled until the source says
    something else."""
    if link.pinned is not None and bytes(link.pinned) == _said(change):
        return False
    return dataset.contradicts(_would_stand(change, dataset), edit)


def _would_stand(change: Change, dataset: Dataset) -> dict[str, Any] | None:
    """The canonical values that following the source would leave standing; none for nothing."""
    values: dict[str, Any] | None = change.after
    if change.action == ChangeAction.VOID or values is None or not dataset.posts(values):
        return None
    return values


def _said(change: Change) -> bytes:
    """What the source says of the record, as a pin keeps it."""
    return ABSENT if change.is_absent else bytes(change.canonical_fingerprint)


def _note(change: Change, link: SyncLink, edit: HandEdit, dataset: Dataset) -> None:
    """Make the change say what following the source comes to, and what the person had made of it. The source may say
    just what it said before: that is a change too now, because the bill no longer does."""
    change.conflict = edit.as_json()
    change.before = link.change.after if link.change else None
    change.amount_before = link.amount
    if change.action == ChangeAction.SAME:
        change.action = ChangeAction.MODIFY
        if dataset.posts(change.after or {}):
            (change.object_id,) = dataset.reserve_ids(1)
    followed = change.amount_after if _would_stand(change, dataset) else None
    change.moved = abs((followed or 0) - (edit.amount or 0))


def pin_kept(run: SyncRun, stream: Stream) -> None:
    """Once `run` is applied: pin what the source says of each record of which the edit by hand counts, so that it is not
    asked again. They are those that the policy kept, and those that a person kept of the plan that `run` carries out."""
    kept = Change.objects.filter(run=run, action=ChangeAction.KEEP)
    if decided := run.carries_out:
        by_person = Q(is_kept=True)
        if run.withholds_tripped:
            by_person |= Q(pk__in=part_that_tripped(decided).values("pk"))
        kept = decided.changes.in_conflict().filter(by_person)
    for chunk in in_chunks(kept.iterator()):
        changes = {change.key: change for change in chunk}
        links = list(stream.links.filter(key__in=changes))
        for link in links:
            change = changes[link.key]
            link.pinned = _said(change)
            if not change.is_absent:
                link.raw_fingerprint = bytes(change.raw_fingerprint)
        SyncLink.objects.bulk_update(links, ["pinned", "raw_fingerprint"])
