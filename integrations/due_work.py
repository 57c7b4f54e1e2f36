"""What is due is found in the database. Whoever rings, how often and by which clock, a slot has one run.

The slot that a stream waits for is moved on in the transaction that queues its run, so of two that look at once one
finds it moved; the unique constraint on (stream, slot) holds even where a clock was set back. Slots that passed while
nobody looked are made up for by one run.
"""

from __future__ import annotations

import datetime

import structlog
from django.db import transaction
from django.utils import timezone

from integrations.models import Stream, SyncRun
from integrations.models.run import RunTrigger
from integrations.models.schedule import ScheduleRefused
from integrations.operations import AlreadyRunning, NotSyncable, request_run

log = structlog.get_logger(__name__)


def start_due_runs() -> int:
    """Queue a run of every stream whose time has come, and return how many. One whose last run is still at work is
    started when that has ended."""
    now = timezone.now()
    return sum(_visit(stream, now) for stream in Stream.objects.active().select_related("connection"))


def _visit(stream: Stream, now: datetime.datetime) -> bool:
    """Start the stream if it is due. One that cannot be scheduled keeps no other from its run."""
    try:
        _mend_wait(stream, now)
        is_due = stream.next_run_at is not None and stream.next_run_at <= now
        return is_due and _start(stream, now)
    except ScheduleRefused as error:
        log.error("sync.not_scheduled", stream=str(stream), reason=str(error))  # noqa: TRY400 - the reason says all
        return False


def _mend_wait(stream: Stream, now: datetime.datetime) -> None:
    """Let a stream wait for its next slot where it waits for none, or for one that lies too far ahead: the clock was
    wrong when that was chosen, or the release before this one, which knows intervals alone, chose it."""
    waiting, soonest = (stream.next_slot_at, stream.next_run_at), stream.slot_after(now)
    if soonest is None:
        mended = None
    elif stream.next_run_at is None:
        mended = _unused(stream, soonest)
    elif stream.next_slot_at is None or stream.next_slot_at > soonest:
        mended = _unused(stream, min(soonest, stream.next_slot_at or stream.next_run_at))
    else:
        return
    stream.wait_for(mended)
    if waiting != (stream.next_slot_at, stream.next_run_at):
        _move(stream, waiting)


def _start(stream: Stream, now: datetime.datetime) -> bool:
    """Queue the run of the slot that the stream waits for and let it wait for the next one: both or neither."""
    slot, waiting = stream.next_slot_at, (stream.next_slot_at, stream.next_run_at)
    after_blackout = stream.connection.schedule.end_of_blackout(now)
    if after_blackout > now:  # it was due before, and nobody looked then
        stream.next_run_at = after_blackout
        _move(stream, waiting)
        return False
    if stream.runs.live().exists():
        return False
    try:
        with transaction.atomic():
            stream.wait_for(_unused(stream, stream.slot_after(now)))
            if not _move(stream, waiting) or stream.runs.filter(slot_at=slot).exists():
                return False
            request_run(stream, RunTrigger.SCHEDULE, slot=slot)
    except (AlreadyRunning, NotSyncable):
        return False  # it stays due
    return True


def _move(stream: Stream, waiting: tuple[datetime.datetime | None, datetime.datetime | None]) -> int:
    """Store what the stream waits for now, unless somebody else has moved it on from `waiting`; returns 1 or 0."""
    slot, start = waiting
    still = Stream.objects.filter(pk=stream.pk, next_slot_at=slot, next_run_at=start)
    return still.update(next_slot_at=stream.next_slot_at, next_run_at=stream.next_run_at)


def _unused(stream: Stream, slot: datetime.datetime | None) -> datetime.datetime | None:
    """The first slot from `slot` on that has no run: a clock that was set back comes to used ones again."""
    used: set[datetime.datetime | None] = set()
    if slot is not None:
        used.update(
            SyncRun.objects.filter(stream=stream, slot_at__gte=slot).values_list("slot_at", flat=True)
        )
    while slot is not None and slot in used:
        slot = stream.slot_after(slot)
    return slot
