"""Who holds a run: taken once, renewed while it works, checked before anything is applied."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone

from integrations.models import RunLease, SyncRun
from integrations.models.run import RunStatus, RunStep


class LeaseLost(Exception):
    """Another process has taken the run over, or it was cancelled: nothing more may be written for it here."""


def holder_name() -> str:
    """This process, as people find it: host and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"


@dataclass(frozen=True)
class Lease:
    """The right to work on a run. `fence` is what it was when this process took it."""

    run_id: int
    fence: int

    def renew(self) -> None:
        """Push the end of the lease out. Raises LeaseLost when it is no longer ours."""
        now = timezone.now()
        held = RunLease.objects.filter(run_id=self.run_id, fence=self.fence, run__status=RunStatus.RUNNING)
        if not held.update(heartbeat_at=now, expires_at=RunLease.end(now)):
            raise LeaseLost(f"run {self.run_id} is no longer ours")

    def lock(self) -> None:
        """Hold the lease still until the transaction at hand ends. Raises LeaseLost when it is no longer ours."""
        held = RunLease.objects.select_for_update(of=("self",)).filter(
            run_id=self.run_id, fence=self.fence, run__status=RunStatus.RUNNING
        )
        if not held.exists():
            raise LeaseLost(f"run {self.run_id} is no longer ours")


@transaction.atomic
def take(run_id: int) -> Lease | None:
    """Take a queued run and return the lease on it; None when somebody else was first."""
    now = timezone.now()
    taken = SyncRun.objects.filter(pk=run_id, status=RunStatus.QUEUED).update(
        status=RunStatus.RUNNING, step=RunStep.EXTRACT, started_at=now
    )
    if not taken:
        return None
    RunLease.objects.create(
        run_id=run_id, fence=1, holder=holder_name(), heartbeat_at=now, expires_at=RunLease.end(now)
    )
    return Lease(run_id, 1)
