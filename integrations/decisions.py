"""What a person decides about a run: approve, withhold, refuse, cancel, undo. Each with a reason, in one transaction.

Approving approves *this* plan, by its checksum, and is a ceiling: the run that carries it out reads the source anew and
applies what is still the same (integrations/sync/ceiling.py). Whoever decides for one college alone (`within`) decides
about plans that concern no student of another.
"""

from __future__ import annotations

from collections.abc import Collection

from django.db import IntegrityError, transaction
from django.db.models import Count, Q, QuerySet
from django.utils import timezone

import audit
from integrations.alerts import Incident, resolve_alerts
from integrations.models import (
    Change,
    Connection,
    RejectedRecord,
    RunLease,
    RunPage,
    Stream,
    SyncLink,
    SyncRun,
)
from integrations.models.plan import ChangeAction
from integrations.models.run import RunStatus, RunStep, RunTrigger
from integrations.operations import ask_for_everything, ring
from integrations.sync.bulk import in_chunks
from integrations.sync.certificate import CertificateBroken
from integrations.sync.undo import carry_out, steps_to_undo
from registration.models import College, Student
from registration.operations import Refused

# Who can decide: a person, in the admin or at a terminal. Workers and consumers cannot.
_PEOPLE = ("user", "command")
MAX_REASON_CHARACTERS = 500


class Undecided(Exception):
    """The decision was not taken; the text says why."""


@transaction.atomic
def approve_run(
    run: SyncRun,
    *,
    checksum: str,
    reason: str,
    withhold: bool = False,
    keep: Collection[int] = (),
    within: College | None = None,
) -> SyncRun:
    """Approve a held plan, whole or (`withhold`) without the part that tripped, and queue the run that carries it out.

    `keep` names conflicts of the plan, by the ids of their changes, in which the edit by hand stays. Returns the run.
    Raises Undecided when the plan is no longer held or is another than was seen (`checksum`), when it concerns students
    of other colleges than `within`, when another run is under way, when a rule of four eyes forbids it, or without a
    reason.
    """
    held = _held(run, reason, within)
    if held.plan_checksum != checksum:
        raise Undecided(
            "The plan is another than the one that you saw. Look at it again before you approve it."
        )
    if why := _four_eyes_forbid(held):
        raise Undecided(why)
    held.changes.in_conflict().filter(pk__in=keep).update(is_kept=True)
    _decide(held, RunStatus.APPROVED, reason)
    follower = SyncRun(
        stream=held.stream,
        trigger=RunTrigger.APPROVAL,
        started_by=audit.current_actor().name,
        carries_out=held,
        withholds_tripped=withhold,
    )
    _make_live(follower)
    action = "withheld" if withhold else "approved"
    audit.record(
        f"sync_run.{action}",
        held,
        reason=reason,
        detail={"carried_out_by": follower.pk, "checksum": checksum, "kept_by_hand": len(keep)},
    )
    resolve_alerts(held.stream, Incident.SYNC)
    if audit.current_actor().kind == "user":
        transaction.on_commit(lambda: ring(follower.pk))
    return follower


@transaction.atomic
def refuse_run(run: SyncRun, *, reason: str, within: College | None = None) -> None:
    """Refuse a held plan: nothing of it is applied. What it was about is looked at again by the next run."""
    held = _held(run, reason, within)
    _decide(held, RunStatus.REFUSED, reason)
    audit.record("sync_run.refused", held, reason=reason)
    resolve_alerts(held.stream, Incident.SYNC)


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
        raise Undecided("The run has ended already: there is nothing to cancel.")
    for model in (Change, RejectedRecord, RunPage):
        model._default_manager.filter(run=run).delete()
    lease.delete()
    audit.record("sync_run.cancelled", run, reason=reason)


@transaction.atomic
def undo_run(
    run: SyncRun, *, reason: str, only: Collection[int] | None = None, within: College | None = None
) -> SyncRun:
    """Take back what an applied run changed, whole or `only` the changes with these ids, and return the run that did.

    What has changed since, and what concerns students of other colleges than `within`, is left as it is
    (`steps_to_undo` says what and why). Raises Undecided when the run was not applied, when another one is under way,
    or when nothing of it can be taken back.
    """
    _check_person(reason)
    applied = SyncRun.objects.select_related("stream__connection").get(pk=run.pk)
    if applied.status != RunStatus.APPLIED:
        raise Undecided(
            f"Run {applied.pk} is {applied.get_status_display().lower()}: only an applied run can be undone."
        )
    if only is not None and not only:
        raise Undecided("Nothing was chosen: tick what is to be taken back.")
    undo = _undo_of(applied)
    steps = [step for step in steps_to_undo(applied, only, within) if not step.skipped]
    if not steps:
        raise Undecided(
            "Nothing of this run can be undone: all of it has changed since, or is not yours to decide."
            if within
            else "Nothing of this run can be undone: all of it has changed since."
        )
    try:
        carry_out(undo, steps)
    except CertificateBroken as error:
        raise Undecided(f"{error} Nothing was taken back. Has a term changed its code since?") from None
    except Refused as refusal:
        raise Undecided(str(refusal)) from None
    undo.status, undo.step, undo.finished_at = RunStatus.APPLIED, RunStep.DONE, timezone.now()
    undo.save()
    audit.record(
        "sync_run.undone", applied, reason=reason, detail={"undone_by": undo.pk, "changes": len(steps)}
    )
    return undo


def _undo_of(applied: SyncRun) -> SyncRun:
    """The run that takes `applied` back: it is live while it works, so that no other run can plan meanwhile."""
    undo = SyncRun(
        stream=applied.stream,
        status=RunStatus.RUNNING,
        step=RunStep.APPLY,
        trigger=RunTrigger.UNDO,
        started_by=audit.current_actor().name,
        started_at=timezone.now(),
        undoes=applied,
    )
    _make_live(undo)
    return undo


def _make_live(run: SyncRun) -> None:
    """Save a live run. Raises Undecided when the stream has one: it may change what this one is about."""
    try:
        with transaction.atomic():
            run.save()
    except IntegrityError:
        raise Undecided(f"Another run of {run.stream} is under way. Decide when it has ended.") from None


@transaction.atomic
def release_pins(run: SyncRun, *, reason: str) -> int:
    """Let the next run follow the source again for what `run` has pinned, by undoing it or by keeping an edit by hand.
    Returns for how many records."""
    _check_person(reason)
    links = pinned_by(run)
    released = links.update(pinned=None, raw_fingerprint=b"")
    if not released:
        raise Undecided("Nothing of this run is held back from its source any more.")
    # A source that tells only what has changed would not tell these again.
    ask_for_everything([run.stream])
    audit.record("sync_run.pins_released", run, reason=reason, detail={"records": released})
    return released


def pinned_by(run: SyncRun) -> QuerySet[SyncLink]:
    """The records that are held back from their source since `run`."""
    kept = Q(action=ChangeAction.KEEP)
    if decided := run.carries_out:
        kept = Q(run=decided, conflict__isnull=False)
    keys = Change.objects.filter(kept & Q(run=decided or run)).values("key")
    return run.stream.links.filter(pinned__isnull=False).filter(Q(change__run=run) | Q(key__in=keys))


@transaction.atomic
def replay_rejections(rejections: QuerySet[RejectedRecord], *, reason: str) -> SyncRun:
    """Take open rejected records of one stream again, from what was kept of them, and return the queued run that does.

    It goes the whole road, guards included, and voids nothing by absence. Raises Undecided when none of them can be
    taken again, when they are of several streams, or when another run is under way.
    """
    _check_person(reason)
    open_ones = rejections.open().replayable()  # type: ignore[attr-defined]
    streams = list(Stream.objects.filter(runs__rejections__in=open_ones).distinct()[:2])
    if not streams:
        raise Undecided(
            "None of these records can be taken again: they are settled already, were too long to be kept whole, or came "
            "several times and not alike, which only the source can mend."
        )
    if len(streams) > 1:
        raise Undecided("These records came from several feeds: take those of one feed again at a time.")
    (stream,) = streams
    if not stream.is_in_use:
        raise Undecided(f"{stream.connection.name} is switched off: switch it on first.")
    ids = list(open_ones.values_list("pk", flat=True))
    run = SyncRun(stream=stream, trigger=RunTrigger.REPLAY, started_by=audit.current_actor().name)
    _make_live(run)
    for chunk in in_chunks(ids):
        RejectedRecord.objects.filter(pk__in=chunk).update(replayed_by=run)
    audit.record("sync_run.replay_requested", run, reason=reason, detail={"records": len(ids)})
    if audit.current_actor().kind == "user":
        transaction.on_commit(lambda: ring(run.pk))
    return run


def _held(run: SyncRun, reason: str, within: College | None) -> SyncRun:
    """The run, locked and still held, and nobody else's to decide."""
    _check_person(reason)
    held = SyncRun.objects.select_for_update(of=("self",)).select_related("stream__connection").get(pk=run.pk)
    if held.status != RunStatus.HELD:
        raise Undecided(
            f"Run {held.pk} is {held.get_status_display().lower()}: there is nothing to decide any more."
        )
    if within is not None:
        _check_reach(held, within)
    return held


def _check_reach(held: SyncRun, within: College) -> None:
    ours = Student.objects.of_college(within).values("pk")
    others = held.changes.effective().exclude(student_id__in=ours)
    count = others.aggregate(count=Count("student_id", distinct=True))["count"]
    if count or others.filter(student_id__isnull=True).exists():
        raise Undecided(
            f"This plan concerns {count:,} students who are not of {within.name}: an administrator has to decide."
        )


def _check_person(reason: str) -> None:
    if audit.current_actor().kind not in _PEOPLE:
        raise Undecided("Only a person can decide about a run.")
    if not reason.strip():
        raise Undecided("Say why: the reason is kept with the run.")
    if len(reason) > MAX_REASON_CHARACTERS or not reason.isprintable():
        raise Undecided(f"A reason is a text on one line, of {MAX_REASON_CHARACTERS} characters at most.")


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
