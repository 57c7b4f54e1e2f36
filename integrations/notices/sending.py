"""Sending what is owed: one process sends a letter, and one that cannot be sent stays owed."""

from __future__ import annotations

import datetime
from typing import Final

import structlog
from django.core.mail import EmailMessage
from django.utils import timezone

from integrations.alerts import notice_breakers, notice_deliveries
from integrations.models.alert import AlertNotice, AlertNoticeQuerySet
from integrations.notices.letters import Letter, letter_of, letter_of_the_day
from integrations.notices.owed import owe_notices
from integrations.promises import notice_overdue

log = structlog.get_logger(__name__)
# How long one process may take over a letter before another one tries.
CLAIM: Final = datetime.timedelta(minutes=2)


def send_alerts() -> int:
    """Look what is the matter, and send every letter that is owed. Returns how many were sent."""
    notice_breakers()
    notice_deliveries()
    notice_overdue()
    owe_notices()
    owed = AlertNotice.objects.owed(timezone.now())
    single = [_send_single(pk) for pk in list(owed.filter(is_daily=False).values_list("pk", flat=True))]
    readers = list(owed.filter(is_daily=True).order_by().values_list("person", flat=True).distinct())
    return sum([*single, *(_send_daily(person) for person in readers)])


def _send_single(pk: int) -> bool:
    notices = _claim(AlertNotice.objects.filter(pk=pk))
    return bool(notices) and _send(letter_of(notices[0]), notices)


def _send_daily(person: int) -> bool:
    notices = _claim(AlertNotice.objects.filter(person=person, is_daily=True))
    return bool(notices) and _send(letter_of_the_day(notices), notices)


def _claim(wanted: AlertNoticeQuerySet) -> list[AlertNotice]:
    """Those of the wanted notices that are owed, now this process's to send. Two that claim the same wait for each other in
    the database, and the second finds nothing left; the end of the claim, to the microsecond, says which are ours."""
    now = timezone.now()
    ends_at = now + CLAIM
    if not wanted.owed(now).update(claim_ends_at=ends_at):
        return []
    ours = wanted.filter(claim_ends_at=ends_at, sent_at__isnull=True)
    return list(
        ours.select_related("person", "alert__run", "alert__connection", "alert__stream", "alert__message")
    )


def _send(letter: Letter, notices: list[AlertNotice]) -> bool:
    try:
        EmailMessage(subject=letter.subject, body=letter.body, to=[notices[0].person.email]).send()
    except OSError:
        log.exception("alert.mail_failed", notices=[notice.pk for notice in notices])
        return False
    AlertNotice.objects.filter(pk__in=[notice.pk for notice in notices]).update(
        sent_at=timezone.now(), claim_ends_at=None
    )
    return True
