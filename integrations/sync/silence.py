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
    streams = (
        Stream.objects.active().filter(connection__every_minutes__isnull=False).select_related("connection")
    )
    new = 0
    succeeded = dict(
        streams.annotate(last=Max("runs__finished_at", filter=applied)).values_list("pk", "last").order_by()
    )
    for stream in streams:
        since = succeeded[stream.pk] or stream.connection.created_at
        if now - since <= _patience(stream) or _is_known(stream):
            continue
        raise_alert(
            stream,
            Incident.SILENT,
            title=f"{stream.connection.name}: silent",
            text=(
                f"Nothing of {stream.dataset} has come in from {stream.connection.name} since "
                f"{since:%Y-%m-%d %H:%M} UTC, though it should every {stream.connection.every_minutes:,} minutes. "
                "Bills may lack what has happened there since. Look at its last runs, or sync it now."
            ),
            run=stream.runs.first(),
        )
        new += 1
    return new


def _patience(stream: Stream) -> datetime.timedelta:
    interval = datetime.timedelta(minutes=stream.connection.every_minutes or 0)
    return interval + max(interval / 2, LEAST_PATIENCE)


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
