"""Letters that say that a consumer's keys will stop working: 30 days before, 7 and 1, to its contact and the administrators."""

from __future__ import annotations

import datetime
from typing import Final

import structlog
from django.conf import settings
from django.core.mail import EmailMessage
from django.utils import timezone

import audit
from apiauth.models import Consumer, ExpiryReminder
from integrations.notices import CLAIM, administrators

log = structlog.get_logger(__name__)

# From the farthest to the nearest.
DAYS_BEFORE: Final = (30, 7, 1)


def remind() -> int:
    """Send every letter that is owed and return how many were sent. One that cannot be sent stays owed."""
    _owe_letters(timezone.localdate())
    unsent = ExpiryReminder.objects.unsent(timezone.now()).select_related("consumer")
    return sum(_send(reminder) for reminder in unsent if _is_due(reminder))


def soon_expired(today: datetime.date) -> list[Consumer]:
    """The consumers whose keys stop working within the longest of the terms, the nearest first."""
    last_day = today + datetime.timedelta(days=DAYS_BEFORE[0])
    return list(Consumer.objects.in_use().filter(expires_on__range=(today, last_day)).order_by("expires_on"))


def _owe_letters(today: datetime.date) -> None:
    """Note the letter of today for each consumer: the nearest of the terms that is reached. After days without a worker
    one letter is owed, not three."""
    for consumer in soon_expired(today):
        if consumer.expires_on is not None:
            left = (consumer.expires_on - today).days
            nearest = min(days for days in DAYS_BEFORE if left <= days)
            ExpiryReminder.objects.get_or_create(
                consumer=consumer, expires_on=consumer.expires_on, days=nearest
            )


def _is_due(reminder: ExpiryReminder) -> bool:
    """Whether the letter still says what is so: the day may have been moved, the consumer revoked."""
    consumer = reminder.consumer
    return consumer.status != "revoked" and consumer.expires_on == reminder.expires_on


def _send(reminder: ExpiryReminder) -> bool:
    now = timezone.now()
    if not ExpiryReminder.objects.unsent(now).filter(pk=reminder.pk).update(claim_ends_at=now + CLAIM):
        return False
    office, consumer = administrators(), reminder.consumer
    if not office and not consumer.contact:
        log.error("reminder.nobody_to_tell", consumer=consumer.pk)
        return False
    to, copies = ([consumer.contact], office) if consumer.contact else (office, [])
    try:
        EmailMessage(
            subject=" ".join(
                f"[Matricula] The keys of {consumer.name} work until {reminder.expires_on}".split()
            ),
            body=_letter(consumer, reminder),
            to=to,
            bcc=copies,
        ).send()
    except OSError:
        log.exception("reminder.mail_failed", consumer=consumer.pk)
        return False
    ExpiryReminder.objects.filter(pk=reminder.pk).update(sent_at=timezone.now(), claim_ends_at=None)
    audit.record("consumer.expiry_reminded", consumer, detail={"days": reminder.days})
    return True


def _letter(consumer: Consumer, reminder: ExpiryReminder) -> str:
    return (
        f"{consumer.name} calls the registration API with keys that work until the end of {reminder.expires_on}.\n"
        "After that day its requests are refused, until an administrator moves the day:\n\n"
        f"{settings.BASE_URL}{consumer.get_absolute_url()}\n"
    )
