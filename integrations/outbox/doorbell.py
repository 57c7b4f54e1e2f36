"""Telling the workers that something is due: once for however many transactions, and never at the cost of any of them."""

from __future__ import annotations

import threading

import structlog
from celery import current_app
from django.db import transaction
from kombu.exceptions import OperationalError

log = structlog.get_logger(__name__)
_is_ringing = threading.Lock()
_is_wanted = threading.Event()


def ring_after_commit() -> None:
    """Ring once the transaction at hand is committed; one that is rolled back rings nobody."""
    transaction.on_commit(ring, robust=True)


def ring() -> None:
    """Ring in a thread of its own: a broker that does not answer keeps nobody waiting. A ring that is lost is made good
    by the beat, within ten seconds."""
    _is_wanted.set()
    threading.Thread(target=_ring_while_wanted, name="doorbell").start()


def _ring_while_wanted() -> None:
    """One thread rings at a time; whoever wanted it meanwhile is rung for by the one that is at it."""
    while _is_wanted.is_set() and _is_ringing.acquire(blocking=False):
        try:
            _is_wanted.clear()
            current_app.send_task("integrations.tasks.deliver")
        except (OperationalError, OSError) as error:
            log.warning("outbox.ring_lost", error=type(error).__name__, cause=type(error.__cause__).__name__)
        finally:
            _is_ringing.release()
