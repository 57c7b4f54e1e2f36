"""Taking over: how far a run had come when its holder fell silent, and how much of that still counts.

Cursors and next addresses are gone on with while they are young. Page numbers and offsets are no snapshot: they start the
extract again. A plan is used while it is young. Whatever else has moved since (the connection, the watermark, a bill) makes
the run start again: reading once more costs time, and a wrong bill costs more.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any, Final

import structlog
from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

import audit
from integrations.connectors.base import Bookmark
from integrations.connectors.loops import Trail
from integrations.connectors.registry import connector_for
from integrations.models import Change, RejectedRecord, RunLease, RunPage, Stream, SyncRun
from integrations.models.plan import FINGERPRINT_BYTES
from integrations.models.run import RunStep
from integrations.sync.certificate import Certificate
from integrations.sync.extract import Extract, asked_since_of, known_before
from integrations.sync.lease import Lease

log = structlog.get_logger(__name__)
# Search engines and databases keep a cursor for minutes after its last use (Elasticsearch's scrolls for the one to five
# that their clients ask for, MongoDB's cursors for ten). An older one is either refused or, worse, begins elsewhere.
MAX_CURSOR_AGE: Final = datetime.timedelta(minutes=10)
# Somebody may have edited at the source since; an hour is what a registrar's office is used to wait for.
MAX_PLAN_AGE: Final = datetime.timedelta(hours=1)


class StartAgain(Exception):
    """What had been done does not count any more; the text says why."""


@dataclass(frozen=True)
class Planned:
    """A plan that is made: what it was made of, what it comes to, and whether the absences in it are confirmed."""

    extract: Extract
    certificate: Certificate
    is_confirmed: bool = False


def what_is_left(run: SyncRun, stream: Stream, lease: Lease) -> Planned | Extract | None:
    """Return how far `run` had come before `lease` was taken: its plan, or what was read, or nothing that still counts.
    What does not count is deleted.

    Raises LeaseLost when the run is no longer ours.
    """
    if not lease.takeovers:
        return None
    kept = RunLease.objects.get(pk=run.pk)
    try:
        left = _what_counts(run, stream, kept)
    except StartAgain as why:
        start_over(run, lease, str(why))
        return None
    log.info("sync.taken_over", run=run.pk, step=run.step, pages=run.pages, fence=lease.fence)
    return left


@transaction.atomic
def start_over(run: SyncRun, lease: Lease, why: str) -> None:
    """Take away what was read and planned, so that the run begins at its first page. Raises LeaseLost."""
    lease.lock()
    for model in (Change, RejectedRecord, RunPage):
        model._default_manager.filter(run=run).delete()
    RunLease.objects.filter(pk=run.pk).update(planned_at=None, plan={})
    run.step, run.pages, run.read = RunStep.EXTRACT, 0, 0
    run.save(update_fields=["step", "pages", "read"])
    audit.record("sync_run.started_over", run, reason=why)


def _what_counts(run: SyncRun, stream: Stream, kept: RunLease) -> Planned | Extract:
    if run.replay:
        raise StartAgain("The records that it takes again are kept here: they are taken from the first one.")
    if kept.connection_changed_at != stream.connection.changed_at:
        raise StartAgain("The connection was changed since it was read.")
    if run.asked_since != asked_since_of(run, stream):
        raise StartAgain("Something else would be asked for by now.")
    pages = list(run.read_pages.order_by("number"))
    if not pages:
        raise StartAgain("No page had been read.")
    if kept.planned_at is None:
        _check_reading(stream, pages[-1])
    elif timezone.now() - kept.planned_at > MAX_PLAN_AGE:
        raise StartAgain("Its plan is older than an hour.")
    read = _read_before(run, stream, pages)
    if kept.planned_at is None:
        _check_staged(run, read)
        return read
    if any(edit.at > kept.planned_at for edit in read.hand_edits.values()):
        raise StartAgain("Somebody has edited a bill by hand since the plan was made.")
    is_confirmed = run.step in (RunStep.GUARD, RunStep.APPLY)
    return Planned(read, Certificate.from_json(kept.plan), is_confirmed)


def _check_reading(stream: Stream, last: RunPage) -> None:
    """Raise StartAgain unless reading may go on after the page `last`, or is over and not long ago."""
    age = timezone.now() - last.read_at if last.read_at else MAX_PLAN_AGE * 2
    if not last.next:
        if age > MAX_PLAN_AGE:
            raise StartAgain("It was read more than an hour ago.")
    elif not connector_for(stream.connection).is_snapshot(stream):
        raise StartAgain("Its pages are numbered: records may have moved from one to another since.")
    elif age > MAX_CURSOR_AGE:
        raise StartAgain("Its next page was named too long ago.")


def _read_before(run: SyncRun, stream: Stream, pages: list[RunPage]) -> Extract:
    """What was read, as the process that read it had it in mind.

    The watermark is left out. It would need each record's moment; so it stays where it is, and the next run asks for a
    little more than it has to.
    """
    known, edits = known_before(stream)
    extract = Extract(known, edits, pages=len(pages))
    trail = Trail()
    for page in pages:
        fingerprints = _fingerprints(page)
        for fingerprint in fingerprints:
            extract.see(fingerprint)
        trail.remember(page.number, fingerprints, page.next)
        extract.read += page.records
    staged, rejected = Change.objects.filter(run=run), RejectedRecord.objects.filter(run=run)
    extract.amount = _total(staged, "amount_after") + _total(rejected, "amount")
    extract.rejected, extract.keyless = rejected.count(), rejected.filter(key="").count()
    extract.bookmark = Bookmark(len(pages), extract.read, pages[-1].next, trail)
    return extract


def _check_staged(run: SyncRun, read: Extract) -> None:
    """Raise StartAgain where what needed no look then would need one now, because a person has touched it since: it was
    not staged, and would be taken for absent."""
    staged = Change.objects.filter(run=run).count() + read.rejected
    if staged != read.read - read.unchanged - read.copies:
        raise StartAgain("A person has edited records by hand, or released them, since it was read.")


def _fingerprints(page: RunPage) -> list[bytes]:
    flat = bytes(page.fingerprints)
    return [flat[at : at + FINGERPRINT_BYTES] for at in range(0, len(flat), FINGERPRINT_BYTES)]


def _total(rows: Any, column: str) -> int:
    return int(rows.aggregate(total=Sum(column))["total"] or 0)
