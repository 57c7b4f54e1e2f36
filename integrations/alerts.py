"""Alerts: a failure reaches a person, by e-mail and on the front page, once for each incident."""

from __future__ import annotations

import datetime
from enum import StrEnum
from typing import Final

import structlog
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.mail import EmailMessage
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from integrations.models import Alert, Stream, SyncRun

log = structlog.get_logger(__name__)
# How long one process may take over an e-mail before another one tries.
CLAIM: Final = datetime.timedelta(minutes=2)


class Incident(StrEnum):
    """What a stream, or the whole installation, can suffer from: one open alert for each."""

    SYNC = "sync"  # a run failed, or its plan is held
    SILENT = "silent"  # nothing has succeeded for longer than it should take
    FEW = "few"  # far fewer records came than usually do
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


def send_alerts() -> int:
    """Send every e-mail that is still owed and return how many were sent. One that cannot be sent stays owed."""
    return sum(_send(alert) for alert in Alert.objects.unsent(timezone.now()).select_related("run", "stream"))


def _incident(stream: Stream | None, kind: Incident) -> str:
    if stream is None:
        return str(kind)
    return f"{kind}:{stream.connection.slug}:{stream.dataset}"


def _send(alert: Alert) -> bool:
    now = timezone.now()
    claimed = Alert.objects.unsent(now).filter(pk=alert.pk).update(claim_ends_at=now + CLAIM)
    if not claimed:
        return False
    recipients = _recipients()
    if not recipients:
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
            to=recipients,
        ).send()
    except OSError:
        log.exception("alert.mail_failed", alert=alert.pk)
        return False
    with transaction.atomic():
        Alert.objects.filter(pk=alert.pk).update(sent_at=timezone.now(), claim_ends_at=None)
    return True


def _recipients() -> list[str]:
    administrators = get_user_model().objects.filter(
        Q(groups__name="Administrator") | Q(is_superuser=True), is_active=True
    )
    return sorted(set(administrators.exclude(email="").values_list("email", flat=True)))


def _letter(alert: Alert) -> str:
    return f"{alert.text}\n\nSee it: {settings.BASE_URL}{alert.get_absolute_url()}\n\n{alert.ends}\n"
