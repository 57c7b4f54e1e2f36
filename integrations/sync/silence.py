"""Silence: a feed that brings nothing, or far less than it should, is no success even when nothing failed."""

from __future__ import annotations

import datetime
import statistics
from typing import Final

from django.db.models import Max, Q
from django.utils import timezone

from integrations.alerts import Incident, raise_alert, resolve_alerts
from integrations.models import Alert, Stream, SyncRun
from integrations.models.run import RunStatus, RunTrigger

# A run may be late by half its interval, and by this at least, before its feed counts as silent.
LEAST_PATIENCE: Final = datetime.timedelta(minutes=30)
# What is usual for a weekday is the median of this many runs; with fewer than three, nothing is usual yet.
USUAL_RUNS: Final = 4
LEAST_RUNS: Final = 3
# Fewer than this share of what is usual are far fewer.
FEW_SHARE: Final = 0.5


def notice_silent_feeds() -> int:
    """Raise an alert for each scheduled stream in which nothing has succeeded for too long. Returns how many are new."""
    now = timezone.now()
    applied = Q(runs__status=RunStatus.APPLIED) & ~Q(runs__trigger=RunTrigger.UNDO)
    streams = Stream.objects.active().select_related("connection")
    succeeded = dict(
        streams.annotate(last=Max("runs__finished_at", filter=applied)).values_list("pk", "last").order_by()
    )
    return sum(
        _notice(stream, succeeded[stream.pk] or stream.connection.created_at, now)
        for stream in streams
        if not stream.connection.schedule.is_manual
    )


def _notice(stream: Stream, since: datetime.datetime, now: datetime.datetime) -> bool:
    if now <= _deadline(stream, since) or _is_known(stream):
        return False
    connection = stream.connection
    raise_alert(
        stream,
        Incident.SILENT,
        title=f"{connection.name}: silent",
        text=(
            f"Nothing of {stream.dataset} has come in from {connection.name} since {since:%Y-%m-%d %H:%M} UTC, though "
            f"it should {connection.schedule}. Bills may lack what has happened there since. Look at its last runs, or "
            "sync it now."
        ),
        run=stream.runs.first(),
    )
    return True


def _deadline(stream: Stream, since: datetime.datetime) -> datetime.datetime:
    """Until when the feed may be quiet after its last success `since`: until its next run is late, jitter and blackouts
    counted in, by half of its interval."""
    schedule = stream.connection.schedule
    slot = schedule.slot_after(since)
    expected_at = since if slot is None else stream.start_of(slot)
    interval = datetime.timedelta(minutes=schedule.shortest_gap_minutes)
    return expected_at + max(interval / 2, LEAST_PATIENCE)


def _is_known(stream: Stream) -> bool:
    """Whether the silence has been told already: it is noticed at every sweep, and is one incident."""
    return Alert.objects.open().filter(stream=stream, incident__startswith=f"{Incident.SILENT}:").exists()


def notice_small_feed(run: SyncRun, stream: Stream) -> None:
    """Raise an alert when a complete extract brought far fewer records than is usual on its weekday; close it when the
    feed is as usual."""
    if run.read and run.rejected == run.read:
        raise_alert(
            stream,
            Incident.FEW,
            title=f"{stream.connection.name}: every record rejected",
            text=(
                f"All {run.read:,} records of {stream.dataset} that came in from {stream.connection.name} were rejected: "
                "none could be used, and bills stand as they did. The run lists them with the reasons; most often the "
                "mapping has to be mended."
            ),
            run=run,
        )
        return
    usual = _usual_count(run, stream)
    if usual is None or not run.is_complete or run.read >= usual * FEW_SHARE:
        resolve_alerts(stream, Incident.FEW)
        return
    weekday = run.requested_at.strftime("%A")
    raise_alert(
        stream,
        Incident.FEW,
        title=f"{stream.connection.name}: far fewer records than usual",
        text=(
            f"{run.read:,} records of {stream.dataset} came in from {stream.connection.name}, where {usual:,} are usual "
            f"on a {weekday}. The run was applied within the connection's guards. Ask the other system's office whether "
            "the feed is whole; if it was not, undo the run."
        ),
        run=run,
    )


def _usual_count(run: SyncRun, stream: Stream) -> int | None:
    """The median number of records of the last applied runs on this weekday, or None when there are too few."""
    # Django counts weekdays from Sunday as 1, Python from Monday as 1.
    weekday = run.requested_at.isoweekday() % 7 + 1
    counts = (
        stream.runs.filter(
            status=RunStatus.APPLIED, is_complete=True, requested_at__week_day=weekday, pk__lt=run.pk
        )
        .exclude(trigger=RunTrigger.UNDO)
        .values_list("read", flat=True)[:USUAL_RUNS]
    )
    return int(statistics.median(counts)) if len(counts) >= LEAST_RUNS else None
