"""Alerts: what somebody has to know about, once for each incident. How it reaches people is `notices/`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Any, Final

from django.db import IntegrityError, transaction
from django.db.models import Count, F, Min, QuerySet
from django.utils import timezone

from integrations.models import Alert, Breaker, OutboxMessage, Stream, SyncRun
from integrations.models.alert import Severity

# What the incidents of circuit breakers begin with.
BREAKER: Final = "breaker:"
# What the incidents of deliveries that wait for a person begin with.
DELIVERY: Final = "delivery:"


class Incident(StrEnum):
    """What a stream, or the whole installation, can suffer from: one open alert for each."""

    SYNC = "sync"  # a run failed, or its plan is held
    SILENT = "silent"  # nothing has succeeded for longer than it should take
    FEW = "few"  # far fewer records came than usually do
    LIBRARY = "library"  # a sweep would end more library accounts than usual
    LEDGER = "ledger"  # bills are not what records and fee schedules say
    BEAT = "beat"  # nobody rang for due work
    WORKER = "worker"  # nobody did it
    DISK = "disk"  # there is little room left to write


# How soon somebody has to look, by what the incident's name begins with. What is not here is normal.
SEVERITIES: Final[Mapping[str, Severity]] = dict.fromkeys(
    (Incident.LEDGER, Incident.BEAT, Incident.WORKER, Incident.DISK, "delivery"), Severity.URGENT
)


def raise_for_run(run: SyncRun) -> Alert:
    """Note that `run` has failed or is held."""
    title = f"{run.stream.connection.name}: {run.get_status_display().lower()}"
    return raise_alert(run.stream, Incident.SYNC, title=title, text=run.reason, run=run)


def raise_alert(
    stream: Stream | None, kind: Incident, *, title: str, text: str, run: SyncRun | None = None
) -> Alert:
    """Open the incident of the stream (None: of the installation), or add to the one that is open."""
    return open_incident(_incident(stream, kind), counts=True, title=title, text=text, stream=stream, run=run)


def open_incident(incident: str, *, counts: bool = False, **values: Any) -> Alert:
    """Open the incident with `values` of its alert; where it is open, or was until a moment ago, go on with that one.

    `counts` says that this is a new sight of it, and not a look at what still is: its count and what it says follow.
    """
    now = timezone.now()
    values.setdefault("severity", SEVERITIES.get(incident.partition(":")[0], Severity.NORMAL))
    seen = {**values, "times": F("times") + 1, "last_seen_at": now} if counts else {}
    known = _go_on(incident, seen)
    if known is not None:
        return known
    try:
        with transaction.atomic():
            return Alert.objects.create(incident=incident, last_seen_at=now, **values)
    except IntegrityError:
        # Another process has noticed it at the same moment, and was faster.
        known = _go_on(incident, seen)
        if known is None:
            raise
        return known


def _go_on(incident: str, seen: Mapping[str, Any]) -> Alert | None:
    """The open alert of the incident, or the one that was over for less than it takes to believe it, open again."""
    alert = Alert.objects.open().filter(incident=incident).first()
    if alert is None:
        alert = Alert.objects.lately_over(incident, timezone.now()).first()
    if alert is None:
        return None
    if seen or alert.resolved_at is not None:
        Alert.objects.filter(pk=alert.pk).update(resolved_at=None, **seen)
        alert.refresh_from_db()
    return alert


def close_incidents(*incidents: str) -> int:
    """Close these incidents where they are open: their cause is gone. Returns how many were."""
    return Alert.objects.open().filter(incident__in=incidents).update(resolved_at=timezone.now())


def close_all_but(incidents: Collection[str], *, beginning: str, is_stage: bool = False) -> int:
    """Close the open incidents whose names begin so, but for these. Returns how many were open. `is_stage` says that they
    are stages of one thing: what is closed because the next one has begun is no news."""
    now = timezone.now()
    others = Alert.objects.open().filter(incident__startswith=beginning).exclude(incident__in=incidents)
    return others.update(resolved_at=now, **({"over_told_at": now} if is_stage else {}))


def resolve_alerts(stream: Stream | None, *kinds: Incident) -> int:
    """Close the stream's open incidents of these kinds. Returns how many were closed."""
    return close_incidents(*(_incident(stream, kind) for kind in kinds))


def notice_breakers() -> None:
    """Open an incident for each connection whose circuit breaker keeps calls away, and close those that are over.

    It looks at what is, not at what has happened: a change that nobody heard of is noticed all the same.
    """
    stopping = Breaker.objects.stopping().select_related("connection")
    # One outage is one alert: of deliveries that failed because of it, somebody knows already.
    stopping = stopping.exclude(connection__in=_suffering(DELIVERY))
    incidents = {f"{BREAKER}{breaker.connection.slug}": breaker for breaker in stopping}
    for incident, breaker in incidents.items():
        _raise_for_breaker(incident, breaker)
    close_all_but(incidents, beginning=BREAKER)


def notice_deliveries() -> None:
    """Open an incident for each connection with deliveries that wait for a person, and close those that are over. Where
    the connection's circuit breaker is told of already, that is the same incident."""
    escalated = OutboxMessage.objects.escalated().filter(connection__archived_at__isnull=True)
    waiting = escalated.values("connection").annotate(first=Min("pk"), count=Count("pk")).order_by("first")
    kept = []
    for found in waiting:
        first = OutboxMessage.objects.select_related("connection").get(pk=found["first"])
        kept.append(f"{DELIVERY}{first.connection.slug}")
        if not _suffering(BREAKER).filter(connection=first.connection).exists():
            _raise_for_deliveries(kept[-1], first, found["count"])
    close_all_but(kept, beginning=DELIVERY)


def _raise_for_deliveries(incident: str, first: OutboxMessage, count: int) -> None:
    waiting = f"{count:,} deliveries wait" if count > 1 else "A delivery waits"
    text = (
        f"{waiting} for a person: they failed as often as they are tried. The first of them, after {first.attempts} "
        f"attempts: {first.reason} Nothing is lost: retry one, those that you select, or all of them."
    )
    open_incident(
        incident,
        counts=not Alert.objects.open().filter(incident=incident, text=text).exists(),
        connection=first.connection,
        message=first,
        title=f"{first.connection.name}: deliveries have failed",
        text=text,
    )


def _suffering(beginning: str) -> QuerySet[Alert, Any]:
    """The connections (ids) with an open incident of this kind."""
    return (
        Alert.objects.open()
        .filter(incident__startswith=beginning, connection__isnull=False)
        .values("connection")
    )


def _raise_for_breaker(incident: str, breaker: Breaker) -> None:
    name = breaker.connection.name
    why = (
        f"{breaker.changed_by} holds it open"
        if breaker.hold
        else f"{breaker.failures} attempts in a row failed"
    )
    last = f", at last because {breaker.reason}" if breaker.reason and not breaker.hold else ""
    open_incident(
        incident,
        connection=breaker.connection,
        title=f"{name}: circuit breaker open",
        text=f"{name} is not called for now: {why}{last}. Syncs fail at once until it is; nothing is lost.",
    )


def _incident(stream: Stream | None, kind: Incident) -> str:
    if stream is None:
        return str(kind)
    return f"{kind}:{stream.connection.slug}:{stream.dataset}"
