"""What the workers do: thin calls. Whoever rings, however often, the database says what is due."""

from __future__ import annotations

import datetime

from celery import shared_task
from django.utils import timezone

from audit.context import Actor, acting
from integrations import diagnosis, due_work, expiry, liveness, notices, operations, reminders, retention
from integrations.models import SyncRun
from integrations.models.pulse import Part
from integrations.outbox.doorbell import ring
from integrations.outbox.library import reconcile_library
from integrations.outbox.settle import Settled
from integrations.outbox.worker import work_off
from integrations.sync.runner import execute_run
from integrations.sync.silence import notice_silent_feeds
from integrations.sync.verification import watch_ledger

WORKER = Actor(kind="worker", name="schedule")
# A queued run that nobody has taken for this long has lost its ring.
UNANSWERED = datetime.timedelta(seconds=20)
# For so long one task delivers, and then lets others have the worker.
DELIVERY_SECONDS = 20.0


@shared_task
def run_sync(run_id: int) -> None:
    """Take a queued run, or one whose process has died, to its end."""
    run = SyncRun.objects.filter(pk=run_id).first()
    if run is None:
        return  # rung for before a backup was restored
    with acting(Actor(kind="worker", name=run.started_by)):
        execute_run(run_id)
        notices.send_alerts()


@shared_task
def start_due_syncs() -> int:
    """Queue whatever is due."""
    with acting(WORKER):
        return due_work.start_due_runs()


@shared_task
def sweep_runs() -> None:
    """Ring for queued runs whose ring was lost and for runs whose process has died, and notice feeds that have gone silent."""
    now = timezone.now()
    for runs in (SyncRun.objects.waiting_since(now - UNANSWERED), SyncRun.objects.lapsed(now)):
        for run in runs:
            operations.ring(run.pk)
    with acting(WORKER):
        notice_silent_feeds()


@shared_task
def show_life() -> None:
    """Show that a worker works, and look at what workers can see of the machine."""
    with acting(WORKER):
        liveness.show_life(Part.WORKER)
        diagnosis.watch_disk()


@shared_task
def deliver() -> None:
    """Work off the outbox for a while; whoever stops before the end rings for the next."""
    done = work_off(DELIVERY_SECONDS)
    if done.counts[Settled.ESCALATED]:
        notices.send_alerts()
    if done.is_cut_short:
        ring()


@shared_task
def sweep_library() -> None:
    """Bring every library account to what it should be, and tell where a person has to decide."""
    with acting(WORKER):
        reconcile_library()


@shared_task
def send_alerts() -> int:
    """Send the e-mails that are owed."""
    return notices.send_alerts()


@shared_task
def notice_certificates() -> None:
    """Tell of client certificates that end soon."""
    expiry.notice_certificates()


@shared_task
def prune() -> None:
    """Let go of what has been kept long enough."""
    with acting(WORKER):
        retention.prune()


@shared_task
def remind_of_expiry() -> int:
    """Send the letters that say whose keys will stop working."""
    with acting(WORKER):
        return reminders.remind()


@shared_task
def verify_ledger() -> int:
    """Check the whole ledger; a fault is an alert. Returns how many there are."""
    with acting(WORKER):
        return watch_ledger()
