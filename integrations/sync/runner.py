"""The whole road of a record, on one screen."""

from __future__ import annotations

import hashlib

import structlog
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import Value
from django.db.models.functions import Concat
from django.utils import timezone

import audit
from audit.faults import where
from integrations.alerts import Incident, raise_for_run, resolve_alerts
from integrations.connectors.registry import connector_for
from integrations.models import Change, Stream, SyncRun
from integrations.models.run import RunStatus, RunStep
from integrations.sync.absence import confirm_absence
from integrations.sync.apply import ConnectionChanged, apply_plan
from integrations.sync.certificate import Certificate
from integrations.sync.extract import Extract, extract
from integrations.sync.failing import TakenOverTooOften, end_badly
from integrations.sync.failpoints import Failpoint, pass_by
from integrations.sync.guards import Trip, tripped_guards
from integrations.sync.heartbeat import beating
from integrations.sync.lease import MAX_TAKEOVERS, Lease, LeaseLost, take
from integrations.sync.plan import make_plan, weigh_plan
from integrations.sync.silence import notice_small_feed
from integrations.sync.takeover import Planned, start_over, what_is_left
from integrations.transports.errors import TransportError
from integrations.transports.request_log import requests_of

log = structlog.get_logger(__name__)


def execute_run(run_id: int) -> SyncRun:
    """Take a queued run, or one whose holder has died, and bring it to its end, whatever that is; the run says which.

    A run that is somebody else's is left to them and returned as it stands. So is one whose database went away under it:
    it is taken over once its lease has run out.
    """
    lease = take(run_id)
    run = SyncRun.objects.select_related("stream__connection").get(pk=run_id)
    if lease is None:
        return run
    log.info("sync.started", run=run.pk, stream=str(run.stream), dry_run=run.is_dry_run, fence=lease.fence)
    try:
        with beating(lease), requests_of(run.pk):
            _travel(run, run.stream, lease)
    except LeaseLost:
        log.warning("sync.lease_lost", run=run.pk)
    except (OperationalError, InterfaceError) as error:
        log.error("sync.database_lost", run=run.pk, where=where(error))  # noqa: TRY400 - it may quote a student
        connection.close()
    except Exception as error:  # noqa: BLE001 - whatever it is, the run must end and say so
        end_badly(run, lease, error)
    run.refresh_from_db()
    log.info("sync.ended", run=run.pk, status=run.status, seconds=run.seconds)
    return run


def _travel(run: SyncRun, stream: Stream, lease: Lease) -> None:
    """run -> extract -> map -> validate -> stage -> plan -> guard -> apply -> certify"""
    pass_by(Failpoint.TAKEN)
    if lease.takeovers > MAX_TAKEOVERS:
        raise TakenOverTooOften
    if not stream.is_in_use:
        raise ConnectionChanged
    left = what_is_left(run, stream, lease)
    planned = left if isinstance(left, Planned) else _plan(run, stream, lease, left)
    certificate = planned.certificate
    if certificate.counts.absent and not planned.is_confirmed and not _is_snapshot(stream):
        confirm_absence(run, stream, lease, certificate)
    _enter(run, RunStep.GUARD, lease)
    pass_by(Failpoint.CONFIRMED)
    with transaction.atomic():
        lease.renew()
        weigh_plan(run)
    # What carries out a decision has a ceiling instead of guards: a person has seen all of it.
    trips = [] if run.carries_out_id else tripped_guards(run, stream, certificate)
    if run.is_dry_run or trips:
        _stop_before_apply(run, lease, certificate, trips)
    else:
        _enter(run, RunStep.APPLY, lease)
        pass_by(Failpoint.GUARDED)
        with transaction.atomic():
            apply_plan(run, stream, lease, certificate, planned.extract)
            _supersede_held(run)
            resolve_alerts(stream, Incident.SYNC, Incident.SILENT)
            notice_small_feed(run, stream)
    pass_by(Failpoint.APPLIED)


def _plan(run: SyncRun, stream: Stream, lease: Lease, begun: Extract | None) -> Planned:
    extracted = _read(run, stream, lease, begun)
    pass_by(Failpoint.EXTRACTED)
    _enter(run, RunStep.PLAN, lease)
    certificate = make_plan(run, stream, lease, extracted)
    pass_by(Failpoint.PLANNED)
    return Planned(extracted, certificate)


def _read(run: SyncRun, stream: Stream, lease: Lease, begun: Extract | None) -> Extract:
    """Read on where another process stopped. A source that does not know that place any more is read from its first page."""
    bookmark = begun.bookmark if begun else None
    try:
        return extract(run, stream, lease, begun)
    except TransportError as error:
        has_read_on = begun is None or bookmark is None or begun.pages > bookmark.pages
        if has_read_on or error.is_repeatable or not error.reached_it:
            raise
        start_over(run, lease, f"Its source did not go on where it was left: {error}.")
    return extract(run, stream, lease)


def _is_snapshot(stream: Stream) -> bool:
    return connector_for(stream.connection).is_snapshot(stream)


def _enter(run: SyncRun, step: RunStep, lease: Lease) -> None:
    with transaction.atomic():
        lease.renew()
        run.step = step
        run.save(update_fields=["step"])


@transaction.atomic
def _stop_before_apply(run: SyncRun, lease: Lease, certificate: Certificate, trips: list[Trip]) -> None:
    """Keep the plan and say what it would do: a dry run as a preview, a tripped guard as a held plan."""
    lease.lock()
    Change.objects.filter(run=run, action="same").delete()
    certificate.write_to(run)
    run.reason = " ".join(trip.sentence for trip in trips)
    run.trips = [trip.as_json() for trip in trips]
    run.status = RunStatus.PREVIEWED if run.is_dry_run else RunStatus.HELD
    run.step, run.finished_at = RunStep.GUARD, timezone.now()
    run.plan_checksum = plan_checksum(run)
    run.save()
    audit.record(f"sync_run.{run.status}", run, reason=run.reason, detail={"stream": str(run.stream)})
    if run.status == RunStatus.HELD:
        _supersede_held(run)
        raise_for_run(run)


def _supersede_held(run: SyncRun) -> None:
    """A held plan of the same stream is about a state that is past."""
    older = SyncRun.objects.held().filter(stream=run.stream_id, pk__lt=run.pk)
    older.update(status=RunStatus.SUPERSEDED, reason=Concat("reason", Value(f" Superseded by run {run.pk}.")))


def plan_checksum(run: SyncRun) -> str:
    """A digest of what the plan would do, over every change in the order of its key."""
    digest = hashlib.sha256()
    columns = ("key", "action", "amount_before", "amount_after", "canonical_fingerprint")
    for row in run.changes.order_by("key", "id").values_list(*columns).iterator(chunk_size=5_000):
        digest.update(repr((*row[:-1], bytes(row[-1]))).encode())
    return digest.hexdigest()
