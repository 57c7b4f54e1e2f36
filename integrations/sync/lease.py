"""Who holds a run: taken once, taken over when its holder has fallen silent, renewed while it works, checked before
anything is written."""

from __future__ import annotations

import datetime
import os
import socket
from dataclasses import dataclass
from typing import Final

from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

import audit
from integrations.models import RunLease, SyncRun
from integrations.models.run import RunStatus, RunStep

# One holder may be killed by a deployment, another by a lack of memory. A run that has outlived five of them kills them.
MAX_TAKEOVERS: Final = 5


class LeaseLost(Exception):
    """Another process has taken the run over, or it was cancelled: nothing more may be written for it here."""

    def __init__(self, run_id: int) -> None:
        super().__init__(f"run {run_id} is no longer ours")


def holder_name() -> str:
    """This process, as people find it: host and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"


@dataclass(frozen=True)
class Lease:
    """The right to work on a run. `fence` is what it was when this process took it: 1 for its first holder."""

    run_id: int
    fence: int

    @property
    def takeovers(self) -> int:
        """How often the run has been taken over from a holder that fell silent."""
        return self.fence - 1

    @property
    def _row(self) -> QuerySet[RunLease]:
        """The lease's row, while it is ours."""
        return RunLease.objects.filter(run_id=self.run_id, fence=self.fence, run__status=RunStatus.RUNNING)

    def check(self) -> None:
        """Raise LeaseLost when it is no longer ours, as far as a look without a lock can tell."""
        if not self._row.exists():
            raise LeaseLost(self.run_id)

    def renew(self) -> None:
        """Push the end of the lease out. Raises LeaseLost when it is no longer ours."""
        now = timezone.now()
        if not self._row.update(heartbeat_at=now, expires_at=RunLease.end(now)):
            raise LeaseLost(self.run_id)

    def lock(self) -> None:
        """Hold the lease still until the transaction at hand ends. Raises LeaseLost when it is no longer ours."""
        if not self._row.select_for_update(of=("self",)).exists():
            raise LeaseLost(self.run_id)


@transaction.atomic
def take(run_id: int) -> Lease | None:
    """Take a queued run, or take over one whose holder has been silent for longer than its lease. Returns the lease on
    it; None when it is somebody else's, or has ended."""
    now = timezone.now()
    queued = SyncRun.objects.filter(pk=run_id, status=RunStatus.QUEUED)
    if not queued.update(status=RunStatus.RUNNING, step=RunStep.EXTRACT, started_at=now):
        return _take_over(run_id, now)
    RunLease.objects.create(
        run_id=run_id, fence=1, holder=holder_name(), heartbeat_at=now, expires_at=RunLease.end(now)
    )
    return Lease(run_id, 1)


def _take_over(run_id: int, now: datetime.datetime) -> Lease | None:
    """Whoever writes for the run at this moment holds the lease's row, however old it is: it is not taken from them."""
    skips = connection.features.has_select_for_update_skip_locked
    lapsed = RunLease.objects.select_for_update(skip_locked=skips).filter(run_id=run_id, expires_at__lt=now)
    lease = lapsed.first()
    # Only now that the row is ours: until then its holder could have ended the run.
    run = SyncRun.objects.filter(pk=run_id, status=RunStatus.RUNNING).first()
    if lease is None or run is None:
        return None
    silent = lease.holder
    lease.fence, lease.holder = lease.fence + 1, holder_name()
    lease.heartbeat_at, lease.expires_at = now, RunLease.end(now)
    lease.save(update_fields=["fence", "holder", "heartbeat_at", "expires_at"])
    audit.record("sync_run.taken_over", run, detail={"from": silent, "step": run.step, "fence": lease.fence})
    return Lease(run_id, lease.fence)
