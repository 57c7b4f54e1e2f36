"""What a person decides about a run: approve, withhold, refuse, cancel. Each with a reason, in one transaction.

Approving approves *this* plan, by its checksum, and is a ceiling: the run that carries it out reads the source anew and
applies what is still the same (integrations/sync/ceiling.py).
"""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

import audit
from integrations.alerts import resolve_alerts
from integrations.models import Change, Connection, RunLease, RunPage, SyncRun
from integrations.models.run import RunStatus, RunTrigger
from integrations.operations import ring

# Who can decide: a person, in the admin or at a terminal. Workers and consumers cannot.
_PEOPLE = ("user", "command")


class Undecided(Exception):
    """The decision was not taken; the text says why."""


@transaction.atomic
def approve_run(run: SyncRun, *, checksum: str, reason: str, withhold: bool = False) -> SyncRun:
    """Approve a held plan, whole or (`withhold`) without the part that tripped, and queue the run that carries it out.

    Returns that run. Raises Undecided when the plan is no longer held or is another than was seen (`checksum`), when
    another run is under way, when a rule of four eyes forbids it, or without a reason.
    """
    held = _held(run, reason)
    if held.plan_checksum != checksum:
        raise Undecided(
            "The plan is another than the one that you saw. Look at it again before you approve it."
        )
    if why := _four_eyes_forbid(held):
        raise Undecided(why)
    if live := SyncRun.objects.live().filter(stream=held.stream_id).first():
        raise Undecided(
            f"Run {live.pk} is under way and may change what this plan is about. Decide when it has ended."
        )
    _decide(held, RunStatus.APPROVED, reason)
    follower = SyncRun.objects.create(
        stream=held.stream,
        trigger=RunTrigger.APPROVAL,
        started_by=audit.current_actor().name,
        carries_out=held,
        withholds_tripped=withhold,
    )
    action = "withheld" if withhold else "approved"
    audit.record(
        f"sync_run.{action}",
        held,
        reason=reason,
        detail={"carried_out_by": follower.pk, "checksum": checksum},
    )
    resolve_alerts(held.stream)
    if audit.current_actor().kind == "user":
        transaction.on_commit(lambda: ring(follower.pk))
    return follower


@transaction.atomic
def refuse_run(run: SyncRun, *, reason: str) -> None:
    """Refuse a held plan: nothing of it is applied. What it was about is looked at again by the next run."""
    held = _held(run, reason)
    _decide(held, RunStatus.REFUSED, reason)
    audit.record("sync_run.refused", held, reason=reason)
    resolve_alerts(held.stream)


@transaction.atomic
def cancel_run(run: SyncRun, *, reason: str) -> None:
    """Stop a run that is queued or running: nothing of it is applied. Raises Undecided when it has ended."""
    _check_person(reason)
    # Whoever applies the plan holds the lease's row: this waits until that is over, and then finds the run ended.
    lease = RunLease.objects.select_for_update().filter(run=run)
    lease.first()
    who = audit.current_actor().name
    cancelled = SyncRun.objects.live().filter(pk=run.pk)
    if not cancelled.update(
        status=RunStatus.CANCELLED, finished_at=timezone.now(), reason=f"Cancelled by {who}: {reason}"
    ):
        raise Undecided("The run has ended already.")
    Change.objects.filter(run=run).delete()
    RunPage.objects.filter(run=run).delete()
    lease.delete()
    audit.record("sync_run.cancelled", run, reason=reason)


def _held(run: SyncRun, reason: str) -> SyncRun:
    """The run, locked and still held."""
    _check_person(reason)
    held = SyncRun.objects.select_for_update(of=("self",)).select_related("stream__connection").get(pk=run.pk)
    if held.status != RunStatus.HELD:
        raise Undecided(
            f"Run {held.pk} is {held.get_status_display().lower()}: there is nothing to decide any more."
        )
    return held


def _check_person(reason: str) -> None:
    if audit.current_actor().kind not in _PEOPLE:
        raise Undecided("Only a person can decide about a run.")
    if not reason.strip():
        raise Undecided("Say why: the reason is kept with the run.")


def _decide(held: SyncRun, status: RunStatus, reason: str) -> None:
    held.status, held.decided_at = status, timezone.now()
    held.decided_by, held.decision_reason = audit.current_actor().name, reason.strip()
    held.save(update_fields=["status", "decided_at", "decided_by", "decision_reason"])


def _four_eyes_forbid(held: SyncRun) -> str:
    """Why the person at hand may not approve alone, where the connection asks for four eyes."""
    source: Connection = held.stream.connection
    who = audit.current_actor().name
    if not source.four_eyes:
        return ""
    if who == source.changed_by:
        return "You edited this connection last: another person has to approve its plan."
    if who == held.started_by:
        return "You started this run: another person has to approve its plan."
    return ""
