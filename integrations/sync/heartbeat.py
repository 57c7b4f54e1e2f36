"""The heartbeat of a run: a lease that is renewed while the run waits for somebody else.

A page may take longer than the lease lasts, and a run that waits is not a dead one. The heart beats in a thread of its own,
with a database connection of its own, and stops with the process: a killed process is silent at once. Between two beats it
looks whether the run still is ours: one that was cancelled must not wait for its page to the end.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import structlog
from django.conf import settings
from django.db import DatabaseError, connection

from integrations.models import SyncRun
from integrations.sync.lease import Lease, LeaseLost
from integrations.transports.interruption import Interruption, interrupted_by

log = structlog.get_logger(__name__)
# Three beats a lease: two of them may be late.
BEATS_A_LEASE: Final = 3
# Whoever cancels a run sees it stop within two seconds.
LOOK_SECONDS: Final = 1.0
# The thread may be waiting for a row that the run itself holds; nobody waits for it in turn.
_FAREWELL_SECONDS: Final = 0.5


@contextmanager
def beating(lease: Lease) -> Iterator[None]:
    """Renew `lease` for the length of the block, and interrupt what waits in it for another system once it is lost. That
    it was lost is for the run to find out, at its next step."""
    ended, interruption = threading.Event(), Interruption()
    heart = threading.Thread(
        target=_beat, args=(lease, ended, interruption), name=f"heartbeat of run {lease.run_id}", daemon=True
    )
    heart.start()
    try:
        with interrupted_by(interruption):
            yield
    finally:
        ended.set()
        heart.join(_FAREWELL_SECONDS)


def _beat(lease: Lease, ended: threading.Event, interruption: Interruption) -> None:
    between_beats = settings.RUN_LEASE_SECONDS / BEATS_A_LEASE
    beaten_at = time.monotonic()
    try:
        while not ended.wait(min(LOOK_SECONDS, between_beats)):
            is_due = time.monotonic() >= beaten_at + between_beats
            try:
                if is_due:
                    lease.renew()
                    beaten_at = time.monotonic()
                else:
                    lease.check()
            except LeaseLost:
                # A run that cannot be seen from here was made in a transaction that is still open, as tests do: it is
                # nobody else's either.
                if SyncRun.objects.filter(pk=lease.run_id).exists():
                    interruption.interrupt()
                return
            except DatabaseError:
                # One beat is missed; the next one tries again, and the run's own steps will say if it lasts.
                log.warning("sync.heartbeat_missed", run=lease.run_id)
                connection.close()
    finally:
        connection.close()
