"""The whole road of a record, on one screen."""

from __future__ import annotations

import hashlib

import structlog
from django.db import connection, transaction
from django.db.models import Value
from django.db.models.functions import Concat
from django.utils import timezone

import audit
from audit.faults import where
from integrations.alerts import Incident, raise_for_run, resolve_alerts
from integrations.connectors.base import Unsupported
from integrations.connectors.registry import connector_for
from integrations.models import Change, RunLease, RunPage, Stream, SyncRun
from integrations.models.run import RunStatus, RunStep
from integrations.models.sealed import SealBroken
from integrations.sync.absence import confirm_absence
from integrations.sync.apply import ConnectionChanged, apply_plan
from integrations.sync.certificate import Certificate, CertificateBroken
from integrations.sync.extract import extract
from integrations.sync.guards import Trip, tripped_guards
from integrations.sync.heartbeat import beating
from integrations.sync.lease import Lease, LeaseLost, take
from integrations.sync.plan import make_plan, weigh_plan
from integrations.sync.silence import notice_small_feed
from integrations.transports.errors import TransportError
from integrations.transports.request_log import requests_of
from registration.operations import Refused

log = structlog.get_logger(__name__)


def execute_run(run_id: int) -> SyncRun:
    """Take a queued run and bring it to its end, whatever that is; the run says which.

    A run that somebody else has taken is left to them and returned as it stands.
    """
    lease = take(run_id)
    run = SyncRun.objects.select_related("stream__connection").get(pk=run_id)
    if lease is None:
        return run
    log.info("sync.started", run=run.pk, stream=str(run.stream), dry_run=run.is_dry_run)
    try:
        with beating(lease), requests_of(run.pk):
            _travel(run, run.stream, lease)
    except LeaseLost:
        log.warning("sync.lease_lost", run=run.pk)
    except TransportError as error:
        _fail(run, f"{_doing(run)} failed: {error}. Nothing was applied. {error.advice}")
    except (Unsupported, SealBroken) as error:
        _fail(run, f"{_doing(run)} failed: {error} Nothing was applied.")
    except Refused as refusal:
        _fail(run, str(refusal))
    except ConnectionChanged:
        _fail(
            run,
            "The connection was changed or switched off while this run was waiting or reading. Nothing was applied. "
            "Sync again.",
        )
    except CertificateBroken as error:
        _fail(
            run,
            f"{error} Nothing was applied. This is a fault of Matricula: please report it with this run's number.",
        )
    except Exception as error:  # noqa: BLE001 - whatever it is, the run must end and say so
        log.error("sync.broke", run=run.pk, where=where(error))  # noqa: TRY400 - the message may quote a student
        _fail(
            run,
            f"{_doing(run)} broke off unexpectedly. Nothing was applied. Sync again; if it stays, report this run.",
            technical=where(error),
        )
    run.refresh_from_db()
    log.info("sync.ended", run=run.pk, status=run.status, seconds=run.seconds)
    return run


def _travel(run: SyncRun, stream: Stream, lease: Lease) -> None:
    """run -> extract -> map -> validate -> stage -> plan -> guard -> apply -> certify"""
    if not stream.is_in_use:
        raise ConnectionChanged
    extracted = extract(run, stream, lease)
    _enter(run, RunStep.PLAN, lease)
    certificate = make_plan(run, stream, extracted)
    if certificate.counts.absent and not connector_for(stream.connection).is_snapshot(stream):
        confirm_absence(run, stream, lease, certificate)
    _enter(run, RunStep.GUARD, lease)
    weigh_plan(run)
    # What carries out a decision has a ceiling instead of guards: a person has seen all of it.
    trips = [] if run.carries_out_id else tripped_guards(run, stream, certificate)
    if run.is_dry_run or trips:
        _stop_before_apply(run, lease, certificate, trips)
    else:
        _enter(run, RunStep.APPLY, lease)
        with transaction.atomic():
            apply_plan(run, stream, lease, certificate, extracted)
            _supersede_held(run)
            resolve_alerts(stream, Incident.SYNC, Incident.SILENT)
            notice_small_feed(run, stream)


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


@transaction.atomic
def _fail(run: SyncRun, reason: str, *, technical: str = "") -> bool:
    """End the run without a trace of its plan, and tell a person. One that is no longer live is left as it is.
    Returns whether it was failed."""
    failed = SyncRun.objects.live().filter(pk=run.pk)
    if not failed.update(
        status=RunStatus.FAILED, finished_at=timezone.now(), reason=reason, technical=technical
    ):
        return False
    Change.objects.filter(run=run).delete()
    RunPage.objects.filter(run=run).delete()
    RunLease.objects.filter(run=run).delete()
    run.refresh_from_db()
    log.error("sync.failed", run=run.pk, stream=str(run.stream), reason=reason)
    audit.record("sync_run.failed", run, reason=reason, detail={"stream": str(run.stream)})
    raise_for_run(run)
    return True


def abandon_lapsed_runs() -> int:
    """Fail every run whose holder has been silent for longer than its lease, and return how many."""
    runs = SyncRun.objects.lapsed(timezone.now()).select_related("stream__connection")
    return sum(_abandon(run) for run in list(runs))


@transaction.atomic
def _abandon(run: SyncRun) -> bool:
    """Fail one run, unless it is being applied at this moment: whoever applies holds the lease's row. A run that was
    failed under its hands could be planned anew and applied twice."""
    skips = connection.features.has_select_for_update_skip_locked
    leases = RunLease.objects.filter(run=run)
    lapsed = leases.select_for_update(skip_locked=skips).filter(expires_at__lt=timezone.now())
    if leases.exists() and not lapsed.exists():
        return False
    reason = f"{_doing(run)} stopped: the process that did it has died or stalled. Nothing was applied. Sync again."
    return _fail(run, reason)


def _doing(run: SyncRun) -> str:
    """What the run was at, such as "Reading page 3 of aid_awards from Financial aid office"."""
    run.refresh_from_db(fields=["step", "pages"])
    page = f" page {run.pages + 1} of" if run.step == RunStep.EXTRACT else ""
    return f"{run.get_step_display()}{page} {run.stream.dataset} from {run.stream.connection.name}"
