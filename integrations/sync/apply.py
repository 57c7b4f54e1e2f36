"""Apply: one transaction for the whole plan. All of it, or nothing."""

from __future__ import annotations

from django.db import transaction
from django.db.models import Count, Sum
from django.utils import timezone

import audit
from integrations.datasets import DATASETS
from integrations.models import Change, Stream, SyncLink, SyncRun
from integrations.models.plan import ChangeAction
from integrations.models.run import RunStatus, RunStep
from integrations.sync.bulk import execute, id_set
from integrations.sync.certificate import Certificate
from integrations.sync.conflicts import pin_kept
from integrations.sync.extract import Extract
from integrations.sync.failpoints import Failpoint, pass_by
from integrations.sync.known import KnownRecords
from integrations.sync.lease import Lease
from integrations.sync.mapping import reading_version
from integrations.sync.rejections import close_rejections

CHANGE, LINK = Change._meta.db_table, SyncLink._meta.db_table


class ConnectionChanged(Exception):
    """The connection was edited while the run was reading: what was read may not be what is wanted now."""


@transaction.atomic
def apply_plan(
    run: SyncRun, stream: Stream, lease: Lease, certificate: Certificate, extract: Extract
) -> None:
    """Carry the plan of `run` into registration and remember what was applied.

    Raises LeaseLost when the run is no longer ours, ConnectionChanged when its connection was edited meanwhile, and
    CertificateBroken when what was posted or is live afterwards does not add up. After any of them nothing has
    happened.
    """
    lease.lock()
    _check_connection(stream)
    posting = run.changes.filter(
        action__in=[ChangeAction.CREATE, ChangeAction.MODIFY], object_id__isnull=False
    )
    certificate.check_posted(DATASETS[stream.dataset].land(run), posting.count())
    _remember(run, stream, extract.known)
    _move_watermark(run, stream, extract, certificate)
    live = stream.links.filter(live=True).aggregate(count=Count("id"), total=Sum("amount"))
    certificate.check_live(live["count"], int(live["total"] or 0))
    certificate.write_to(run)
    run.status, run.step, run.finished_at = RunStatus.APPLIED, RunStep.DONE, timezone.now()
    run.save()
    pass_by(Failpoint.LANDING)
    audit.record(
        "sync_run.applied",
        run,
        detail={
            "stream": str(stream),
            **{name: getattr(run, name) for name in ("created", "modified", "voided", "rejected")},
        },
    )


def _check_connection(stream: Stream) -> None:
    current = Stream.objects.select_for_update(of=("self",)).select_related("connection").get(pk=stream.pk)
    if not current.is_in_use or current.connection.changed_at != stream.connection.changed_at:
        raise ConnectionChanged


def _remember(run: SyncRun, stream: Stream, known: KnownRecords) -> None:
    """Bring the links to what was applied, so that the next run knows it."""
    version = reading_version(stream)
    if stream.known_with != version:
        # Whatever this run did not map anew was read with another mapping: look at it again next time.
        execute(f"UPDATE {LINK} SET raw_fingerprint = %s WHERE stream_id = %s", [b"", stream.pk])
    if stream.known_scope != stream.scope:
        _remember_scope(stream, known)
    remember_changes(run, stream)
    _remember_sameness(run, stream)
    pin_kept(run, stream)
    close_rejections(run, stream, known)
    Change.objects.filter(run=run, action=ChangeAction.SAME).delete()
    # What asked for a part of the feed has seen a part of it: whose scope the rest is shows at the next complete one.
    scope = stream.scope if run.is_complete else stream.known_scope
    Stream.objects.filter(pk=stream.pk).update(known_with=version, known_scope=scope)
    if stream.known_with != version and not run.is_complete:
        # A replay with a mended mapping: all that it did not take again has to be read anew.
        Stream.objects.filter(pk=stream.pk).update(watermark="")


def _move_watermark(run: SyncRun, stream: Stream, extract: Extract, certificate: Certificate) -> None:
    """Ask from later on next time, unless something of what was read is not applied: then it has to come again."""
    if run.replay:
        return
    if run.is_complete:
        Stream.objects.filter(pk=stream.pk).update(complete_at=run.started_at)
    if extract.watermark and not certificate.beyond_approval:
        asked = extract.watermark.after(run.asked_since, certificate.counts.rejected)
        Stream.objects.filter(pk=stream.pk).update(watermark=asked)


def _remember_scope(stream: Stream, known: KnownRecords) -> None:
    """What needed no second look has been brought by this extract too, which was asked for something else than the last:
    it belongs to this one's scope now."""
    with id_set("seen_link", known.seen_ids()) as seen:
        execute(f"UPDATE {LINK} SET scope = %s WHERE id IN (SELECT id FROM {seen})", [stream.scope])


def remember_changes(run: SyncRun, stream: Stream) -> None:
    """Link what was created, modified and voided to its change. What went by absence is forgotten from outside: if
    it returns as it was, it must not look known."""
    execute(
        f"INSERT INTO {LINK} AS link (stream_id, key, raw_fingerprint, canonical_fingerprint, object_id, amount, "
        "live, change_id, scope) "
        "SELECT %s, key, CASE WHEN is_absent THEN %s ELSE raw_fingerprint END, canonical_fingerprint, object_id, "
        "coalesce(amount_after, amount_before, 0), action <> 'void', id, %s "
        f"FROM {CHANGE} WHERE run_id = %s AND action IN ('create', 'modify', 'void') "
        "ON CONFLICT (stream_id, key) DO UPDATE SET raw_fingerprint = excluded.raw_fingerprint, "
        "canonical_fingerprint = excluded.canonical_fingerprint, object_id = excluded.object_id, "
        "amount = excluded.amount, live = excluded.live, change_id = excluded.change_id, "
        "scope = excluded.scope, pinned = NULL",
        [stream.pk, b"", stream.scope, run.pk],
    )


def _remember_sameness(run: SyncRun, stream: Stream) -> None:
    """Learn the new looks of what means the same. A record first seen cancelled gets a link that is not live. A pin
    goes when the source says something else than what was pinned."""
    execute(
        f"INSERT INTO {LINK} AS link (stream_id, key, raw_fingerprint, canonical_fingerprint, amount, live, scope) "
        "SELECT %s, key, raw_fingerprint, canonical_fingerprint, coalesce(amount_after, 0), FALSE, %s "
        f"FROM {CHANGE} WHERE run_id = %s AND action = 'same' "
        "ON CONFLICT (stream_id, key) DO UPDATE SET raw_fingerprint = excluded.raw_fingerprint, "
        "scope = excluded.scope, "
        "pinned = CASE WHEN link.pinned = excluded.canonical_fingerprint THEN link.pinned END",
        [stream.pk, stream.scope, run.pk],
    )
