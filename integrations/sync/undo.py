"""Undo: a run's before-images as the plan of another run, applied in one transaction.

What has changed since stays as it is and is listed. A value that was undone is pinned: while the source says the same, it
is ignored; when the source says something else, or a person releases it, the next run follows the source again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson
from django.db.models import Count, Sum

from integrations.datasets import DATASETS
from integrations.datasets.base import Dataset, TakenBack
from integrations.models import Change, SyncLink, SyncRun
from integrations.models.plan import ABSENT, ChangeAction
from integrations.sync.apply import remember_changes
from integrations.sync.bulk import CHUNK, bulk_load, in_chunks
from integrations.sync.certificate import Certificate
from integrations.sync.extract import fingerprint_of
from integrations.sync.plan import count_plan
from registration.models import College

_COLUMNS: Final = (
    "run_id",
    "action",
    "is_absent",
    "key",
    "student_id",
    "object_id",
    "raw_fingerprint",
    "canonical_fingerprint",
    "amount_before",
    "amount_after",
    "moved",
    "before",
    "after",
)


@dataclass(frozen=True)
class Step:
    """What undoing one change comes to: `skipped` says why it stays, or is empty."""

    change: Change
    link: SyncLink
    skipped: str = ""

    @property
    def restored(self) -> dict[str, Any] | None:
        """The canonical values that come back, or None where nothing does. Where the change overwrote an edit by hand,
        that is what stood on the bill."""
        before: dict[str, Any] | None = self.change.before
        edit = self.change.conflict
        if before is None or edit is None:
            return before
        return (
            None if edit["amount"] is None else {**before, **edit.get("values", {"amount": edit["amount"]})}
        )

    @property
    def amount_restored(self) -> int | None:
        """The amount of what comes back, in minor units."""
        edit = self.change.conflict
        return self.change.amount_before if edit is None else edit["amount"]

    def as_taken_back(self) -> TakenBack:
        """The step as the dataset judges it."""
        return TakenBack(self.change, self.link.object_id, self.restored, self.amount_restored)

    @property
    def action(self) -> ChangeAction:
        """What leads back."""
        if self.change.action == ChangeAction.VOID:
            return ChangeAction.CREATE
        return ChangeAction.VOID if self.restored is None else ChangeAction.MODIFY


def steps_to_undo(
    run: SyncRun, only: Collection[int] | None = None, within: College | None = None
) -> Iterator[Step]:
    """Yield what undoing each change of an applied run (or `only` those with these ids) comes to, for somebody who
    decides about the students of one college, or of all."""
    dataset = DATASETS[run.stream.dataset]
    changes = run.changes.effective().select_related("student__program").order_by("id")
    if only is not None:
        changes = changes.filter(pk__in=only)
    for chunk in in_chunks(changes.iterator(chunk_size=CHUNK)):
        links = {link.key: link for link in run.stream.links.filter(key__in=[change.key for change in chunk])}
        steps = [Step(change, links[change.key]) for change in chunk]
        left = dataset.why_left([step.as_taken_back() for step in steps])
        for step in steps:
            reason = _why_skipped(step.change, step.link) or _whose_else(step.change, within)
            yield replace(step, skipped=reason or left.get(step.change.pk, ""))


def _why_skipped(change: Change, link: SyncLink) -> str:
    if link.change_id == change.pk:
        return ""
    since = Change.objects.filter(pk=link.change_id or 0).values_list("run_id", flat=True).first()
    return f"changed since, by run {since}"


def _whose_else(change: Change, within: College | None) -> str:
    program = change.student.program if change.student else None
    if within is None or (program is not None and program.college_id == within.pk):
        return ""
    return f"not a student of {within.name}"


def carry_out(undo: SyncRun, steps: list[Step]) -> None:
    """Write the plan that leads back, land it, and remember it, in the caller's transaction. Nobody reads the source for
    an undo: what it reads are the before-images."""
    stream, dataset, certificate = undo.stream, DATASETS[undo.stream.dataset], Certificate()
    _write_inverse_plan(undo, dataset, steps)
    count_plan(undo, stream, certificate)
    for tally in (certificate.counts, certificate.sums):
        tally.read = tally.accounted_for
    posting = undo.changes.exclude(object_id__isnull=True)
    certificate.check_posted(dataset.land(undo), posting.count())
    remember_changes(undo, stream)
    _pin(steps)
    live = stream.links.filter(live=True).aggregate(count=Count("id"), total=Sum("amount"))
    certificate.check_live(live["count"], int(live["total"] or 0))
    certificate.write_to(undo)


def _write_inverse_plan(undo: SyncRun, dataset: Dataset, steps: list[Step]) -> None:
    """Write the plan of the undo: for each step the change that leads back."""
    restored = [step.restored for step in steps]
    posting = [values is not None and dataset.posts(values) for values in restored]
    object_ids = iter(dataset.reserve_ids(sum(posting)))
    bulk_load(
        Change._meta.db_table,
        _COLUMNS,
        (
            (
                undo.pk,
                step.action.value,
                _is_absent_again(step),
                step.change.key,
                step.change.student_id,
                next(object_ids) if posts else None,
                # The looks of the value that is now ignored, so that it is not even looked at.
                bytes(step.link.raw_fingerprint),
                _canonical_after(dataset, step),
                step.change.amount_after if step.change.action != ChangeAction.VOID else None,
                step.amount_restored,
                step.change.moved,
                _json(step.change.after) if step.change.action != ChangeAction.VOID else None,
                _json(step.restored),
            )
            for step, posts in zip(steps, posting, strict=True)
        ),
    )


def _pin(steps: list[Step]) -> None:
    """Pin what the source says of each undone record. One that was pinned before was undone before: taking that back
    follows the source again. The links in `steps` are as they were before this undo: only their pins are written."""
    for step in steps:
        step.link.pinned = _source_says(step) if step.link.pinned is None else None
    SyncLink.objects.bulk_update([step.link for step in steps], ["pinned"], batch_size=CHUNK)


def _source_says(step: Step) -> bytes:
    """What the source said last of a record that follows it."""
    return ABSENT if step.change.is_absent else bytes(step.link.canonical_fingerprint)


def _is_absent_again(step: Step) -> bool:
    """Whether taking back an undo leaves the record missing from the feed, as it was before."""
    pinned = step.link.pinned
    return step.restored is None and pinned is not None and bytes(pinned) == ABSENT


def _canonical_after(dataset: Dataset, step: Step) -> bytes:
    """The canonical fingerprint of what stands after the undo or, where nothing does, of what the source says."""
    if step.restored is not None:
        return fingerprint_of(dataset.identity(step.restored))
    return bytes(step.link.pinned or step.link.canonical_fingerprint)


def _json(values: object) -> str | None:
    return None if values is None else orjson.dumps(values).decode()
