"""Alerts: a failure reaches a person, by e-mail and on the front page, once for each incident."""

from __future__ import annotations

import datetime
from enum import StrEnum
from typing import Any, Final

import structlog
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.mail import EmailMessage
from django.db import transaction
from django.db.models import Count, F, Min, Q, QuerySet
from django.utils import timezone

from integrations.models import Alert, Breaker, Connection, OutboxMessage, Stream, SyncRun

log = structlog.get_logger(__name__)
# How long one process may take over an e-mail before another one tries.
CLAIM: Final = datetime.timedelta(minutes=2)


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


def raise_for_run(run: SyncRun) -> Alert:
    """Note that `run` has failed or is held."""
    title = f"{run.stream.connection.name}: {run.get_status_display().lower()}"
    return raise_alert(run.stream, Incident.SYNC, title=title, text=run.reason, run=run)


def raise_alert(
    stream: Stream | None, kind: Incident, *, title: str, text: str, run: SyncRun | None = None
) -> Alert:
    """Open the incident of the stream (None: of the installation), or add to the one that is open."""
    now, incident = timezone.now(), _incident(stream, kind)
    repeated = Alert.objects.open().filter(incident=incident)
    if repeated.update(times=F("times") + 1, last_seen_at=now, text=text):
        return repeated.get()
    return Alert.objects.create(
        stream=stream, run=run, incident=incident, title=title, text=text, last_seen_at=now
    )


def resolve_alerts(stream: Stream | None, *kinds: Incident) -> int:
    """Close the stream's open incidents of these kinds: their cause is gone. Returns how many were closed."""
    incidents = [_incident(stream, kind) for kind in kinds]
    return Alert.objects.open().filter(incident__in=incidents).update(resolved_at=timezone.now())


def notice_breakers() -> None:
    """Open an incident for each connection whose circuit breaker keeps calls away, and close those that are over.

    It looks at what is, not at what has happened: a change that nobody heard of is noticed all the same.
    """
    stopping = Breaker.objects.stopping().select_related("connection")
    # One outage is one alert: of deliveries that failed because of it, somebody knows already.
    stopping = stopping.exclude(connection__in=_suffering(DELIVERY))
    incidents = {_breaker_incident(breaker.connection): breaker for breaker in stopping}
    for incident, breaker in incidents.items():
        _raise_for_breaker(incident, breaker)
    over = Alert.objects.open().filter(incident__startswith=BREAKER).exclude(incident__in=incidents)
    over.update(resolved_at=timezone.now())


def notice_deliveries() -> None:
    """Open an incident for each connection with deliveries that wait for a person, and close those that are over. Where
    the connection's circuit breaker is told of already, that is the same incident."""
    escalated = OutboxMessage.objects.escalated().filter(connection__archived_at__isnull=True)
    for found in (
        escalated.values("connection").annotate(first=Min("pk"), count=Count("pk")).order_by("first")
    ):
        first = OutboxMessage.objects.select_related("connection").get(pk=found["first"])
        if not _suffering(BREAKER).filter(connection=first.connection).exists():
            _raise_for_deliveries(first, found["count"])
    open_alerts = Alert.objects.open().filter(incident__startswith=DELIVERY)
    over = open_alerts.exclude(connection__in=escalated.values("connection"))
    over.update(resolved_at=timezone.now())


def _raise_for_deliveries(first: OutboxMessage, count: int) -> None:
    name = first.connection.name
    waiting = f"{count:,} deliveries wait" if count > 1 else "A delivery waits"
    text = (
        f"{waiting} for a person: they failed as often as they are tried. The first of them, after {first.attempts} "
        f"attempts: {first.reason} Nothing is lost: retry one, those that you select, or all of them."
    )
    incident, now = f"{DELIVERY}{first.connection.slug}", timezone.now()
    # Two processes may notice it at the same moment: the constraint lets one of them write.
    alert, is_new = Alert.objects.get_or_create(
        incident=incident,
        resolved_at=None,
        defaults={
            "connection": first.connection,
            "message": first,
            "title": f"{name}: deliveries have failed",
            "text": text,
            "last_seen_at": now,
        },
    )
    if not is_new and alert.text != text:
        Alert.objects.filter(pk=alert.pk).update(
            text=text, message=first, times=F("times") + 1, last_seen_at=now
        )


def _suffering(beginning: str) -> QuerySet[Alert, Any]:
    """The connections (ids) with an open incident of this kind."""
    return (
        Alert.objects.open()
        .filter(incident__startswith=beginning, connection__isnull=False)
        .values("connection")
    )


def _breaker_incident(connection: Connection) -> str:
    return f"{BREAKER}{connection.slug}"


def _raise_for_breaker(incident: str, breaker: Breaker) -> None:
    name = breaker.connection.name
    why = (
        f"{breaker.changed_by} holds it open"
        if breaker.hold
        else f"{breaker.failures} attempts in a row failed"
    )
    last = f", at last because {breaker.reason}" if breaker.reason and not breaker.hold else ""
    # Two processes may notice it at the same moment: the constraint lets one of them write.
    Alert.objects.get_or_create(
        incident=incident,
        resolved_at=None,
        defaults={
            "connection": breaker.connection,
            "title": f"{name}: circuit breaker open",
            "text": f"{name} is not called for now: {why}{last}. Syncs fail at once until it is; nothing is lost.",
            "last_seen_at": timezone.now(),
        },
    )


def send_alerts() -> int:
    """Send every e-mail that is still owed and return how many were sent. One that cannot be sent stays owed."""
    notice_breakers()
    notice_deliveries()
    owed = Alert.objects.unsent(timezone.now()).select_related("run", "connection", "stream", "message")
    return sum(_send(alert) for alert in owed)


def _incident(stream: Stream | None, kind: Incident) -> str:
    if stream is None:
        return str(kind)
    return f"{kind}:{stream.connection.slug}:{stream.dataset}"


def _send(alert: Alert) -> bool:
    now = timezone.now()
    claimed = Alert.objects.unsent(now).filter(pk=alert.pk).update(claim_ends_at=now + CLAIM)
    if not claimed:
        return False
    to = recipients()
    if not to:
        log.error(
            "alert.nobody_to_tell",
            alert=alert.pk,
            advice="Give an administrator's account an e-mail address.",
        )
        return False
    try:
        EmailMessage(
            # A mail's subject is one line, whatever a name holds.
            subject=" ".join(f"[Matricula] {alert.title}".split()),
            body=_letter(alert),
            to=to,
        ).send()
    except OSError:
        log.exception("alert.mail_failed", alert=alert.pk)
        return False
    with transaction.atomic():
        Alert.objects.filter(pk=alert.pk).update(sent_at=timezone.now(), claim_ends_at=None)
    return True


def recipients() -> list[str]:
    """The addresses of the administrators: who is told of what needs somebody."""
    administrators = get_user_model().objects.filter(
        Q(groups__name="Administrator") | Q(is_superuser=True), is_active=True
    )
    return sorted(set(administrators.exclude(email="").values_list("email", flat=True)))


def _letter(alert: Alert) -> str:
    return f"{alert.text}\n\nSee it: {settings.BASE_URL}{alert.get_absolute_url()}\n\n{alert.ends}\n"
