"""Alerts: a failure reaches a person, by e-mail and on the front page, once for each incident."""

from __future__ import annotations

import datetime
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


def raise_alert(run: SyncRun) -> Alert:
    """Note that `run` needs a person: open the incident of its stream, or add to the one that is open."""
    now = timezone.now()
    incident = _incident(run.stream)
    repeated = Alert.objects.open().filter(incident=incident)
    if repeated.update(times=F("times") + 1, last_seen_at=now, text=run.reason):
        return repeated.get()
    return Alert.objects.create(
        run=run,
        incident=incident,
        title=f"{run.stream.connection.name}: {run.get_status_display().lower()}",
        text=run.reason,
        last_seen_at=now,
    )


def resolve_alerts(stream: Stream) -> int:
    """Close the stream's open incident: its cause is gone. Returns how many were closed."""
    return Alert.objects.open().filter(incident=_incident(stream)).update(resolved_at=timezone.now())


def send_alerts() -> int:
    """Send every e-mail that is still owed and return how many were sent. One that cannot be sent stays owed."""
    return sum(_send(alert) for alert in Alert.objects.unsent(timezone.now()).select_related("run"))


def _incident(stream: Stream) -> str:
    return f"sync:{stream.connection.slug}:{stream.dataset}"


def _send(alert: Alert) -> bool:
    now = timezone.now()
    claimed = Alert.objects.unsent(now).filter(pk=alert.pk).update(claimed_until=now + CLAIM)
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
        Alert.objects.filter(pk=alert.pk).update(sent_at=timezone.now(), claimed_until=None)
    return True


def _recipients() -> list[str]:
    administrators = get_user_model().objects.filter(
        Q(groups__name="Administrator") | Q(is_superuser=True), is_active=True
    )
    return sorted(set(administrators.exclude(email="").values_list("email", flat=True)))


def _letter(alert: Alert) -> str:
    return (
        f"{alert.text}\n\n"
        f"See the run: {settings.BASE_URL}{alert.run.get_absolute_url()}\n\n"
        "Bills stand as they did before this run. "
        "The alert closes by itself when the next run succeeds.\n"
    )
