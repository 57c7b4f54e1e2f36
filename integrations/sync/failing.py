"""How a run fails: what went wrong in words, without a trace of its plan, and a person is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import structlog
from django.db import transaction
from django.utils import timezone

import audit
from apiauth.sealed import SealBroken
from audit.faults import where
from integrations.alerts import raise_for_run
from integrations.connectors.base import Unsupported
from integrations.models import Change, RunLease, RunPage, SyncRun
from integrations.models.run import RunStatus, RunStep
from integrations.sync.apply import ConnectionChanged
from integrations.sync.certificate import CertificateBroken
from integrations.sync.lease import MAX_TAKEOVERS, Lease, LeaseLost
from integrations.transports.errors import TransportError
from registration.operations import Refused

log = structlog.get_logger(__name__)


class TakenOverTooOften(Exception):
    """Whoever works on the run dies of it."""


def end_badly(run: SyncRun, lease: Lease, error: Exception) -> None:
    """Fail the run, and say in words what the error means."""
    reason, technical = _reason_of(run, error), ""
    if reason is None:
        technical = where(error)
        log.error("sync.broke", run=run.pk, where=technical)  # the message may quote a student
        reason = f"{_doing(run)} broke off unexpectedly. Nothing was applied. Sync again; if it stays, report this run."
    _fail(run, lease, reason, technical=technical)


def _reason_of(run: SyncRun, error: Exception) -> str | None:
    """What an error means for the run, where it is one of those that happen."""
    return next((words(run, error) for kinds, words in _REASONS if isinstance(error, kinds)), None)


_REASONS: Final[
    tuple[tuple[type[Exception] | tuple[type[Exception], ...], Callable[[SyncRun, Any], str]], ...]
] = (
    (
        TransportError,
        lambda run, error: f"{_doing(run)} failed: {error}. Nothing was applied. {error.advice}",
    ),
    ((Unsupported, SealBroken), lambda run, error: f"{_doing(run)} failed: {error} Nothing was applied."),
    (Refused, lambda _, error: str(error)),
    (
        ConnectionChanged,
        lambda *_: (
            "The connection was changed or switched off while this run was waiting or reading. Nothing was applied. "
            "Sync again."
        ),
    ),
    (
        CertificateBroken,
        lambda _, error: (
            f"{error} Nothing was applied. This is a fault of Matricula: please report it with this run's number."
        ),
    ),
    (
        TakenOverTooOften,
        lambda run, _: (
            f"{_doing(run)} stopped again and again: {MAX_TAKEOVERS + 1} processes in turn have died or stalled over it. "
            "Nothing was applied. Look in the workers' logs for what ends them, such as a lack of memory, before you "
            "sync again."
        ),
    ),
)


@transaction.atomic
def _fail(run: SyncRun, lease: Lease, reason: str, *, technical: str = "") -> None:
    """End the run without a trace of its plan, and tell a person. One that is no longer ours is left as it is."""
    try:
        lease.lock()
    except LeaseLost:
        return
    run.status, run.finished_at, run.reason, run.technical = (
        RunStatus.FAILED,
        timezone.now(),
        reason,
        technical,
    )
    run.save(update_fields=["status", "finished_at", "reason", "technical"])
    Change.objects.filter(run=run).delete()
    RunPage.objects.filter(run=run).delete()
    RunLease.objects.filter(run=run).delete()
    log.error("sync.failed", run=run.pk, stream=str(run.stream), reason=reason)
    audit.record("sync_run.failed", run, reason=reason, detail={"stream": str(run.stream)})
    raise_for_run(run)


def _doing(run: SyncRun) -> str:
    """What the run was at, such as "Reading page 3 of aid_awards from Financial aid office"."""
    run.refresh_from_db(fields=["step", "pages"])
    page = f" page {run.pages + 1} of" if run.step == RunStep.EXTRACT else ""
    return f"{run.get_step_display()}{page} {run.stream.dataset} from {run.stream.connection.name}"
