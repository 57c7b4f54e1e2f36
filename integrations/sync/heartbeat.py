"""The heartbeat of a run: a lease that is renewed while the run waits for somebody else.

A page may take longer than the lease lasts, and a run that waits is not a dead one. The heart beats in a thread of its own,
with a database connection of its own, and stops with the process: a killed process is silent at once.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import structlog
from django.conf import settings
from django.db import DatabaseError, connection

from integrations.sync.lease import Lease, LeaseLost

log = structlog.get_logger(__name__)
# Three beats a lease: two of them may be late.
BEATS_A_LEASE: Final = 3
# The thread may be waiting for a row that the run itself holds; nobody waits for it in turn.
_FAREWELL_SECONDS: Final = 0.5


@contextmanager
def beating(lease: Lease) -> Iterator[None]:
    """Renew `lease` for the length of the block. Whether it was lost is for the run to find out, at its next step."""
    ended = threading.Event()
    heart = threading.Thread(
        target=_beat, args=(lease, ended), name=f"heartbeat of run {lease.run_id}", daemon=True
    )
    heart.start()
    try:
        yield
    finally:
        ended.set()
        heart.join(_FAREWELL_SECONDS)


def _beat(lease: Lease, ended: threading.Event) -> None:
    try:
        while not ended.wait(settings.RUN_LEASE_SECONDS / BEATS_A_LEASE):
            try:
                lease.renew()
            except LeaseLost:
                return
            except DatabaseError:
                # One beat is missed; the next one tries again, and the run's own steps will say if it lasts.
                log.warning("sync.heartbeat_missed", run=lease.run_id)
    finally:
        connection.close()
