"""What people are owed: written once for each moment of an incident, whoever looks and however often."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Final

import structlog
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from integrations.models import Alert
from integrations.models.alert import AlertNotice, AlertQuerySet, Moment
from integrations.notices.addresses import Address, addresses, owe_event, told_of
from integrations.notices.people import Reader, readers

log = structlog.get_logger(__name__)
# When the letter of the day is written, in the time zone of the installation.
MORNING: Final = datetime.time(7)


def owe_notices() -> None:
    """Write down who is to be told of what has begun, what is back from being put off, and what is over."""
    now = timezone.now()
    untold, woken, over = Alert.objects.untold(), _woken(now), Alert.objects.over(now)
    if not (untold.exists() or woken.exists() or over.exists()):
        return
    everybody, hearing = readers(), addresses()
    for alert in _with_what_they_are_about(untold.exclude(snooze_ends_at__gt=now)):
        _owe_opened(alert, everybody, hearing, now)
    for alert in _with_what_they_are_about(woken):
        _owe_again(alert, everybody, now)
    for alert in _with_what_they_are_about(over):
        _owe_over(alert, now)


def owe_given(alert: Alert, reader: Reader, occasion: int) -> None:
    """Write down that a person is to be told that the alert is theirs now."""
    AlertNotice.objects.get_or_create(
        alert=alert,
        person=reader.person,
        moment=Moment.GIVEN,
        occasion=occasion,
        defaults={"due_at": timezone.now()},
    )


def _woken(now: datetime.datetime) -> AlertQuerySet:
    return Alert.objects.open().filter(snooze_ends_at__lte=now)


@transaction.atomic
def _owe_opened(
    alert: Alert, everybody: list[Reader], hearing: list[Address], now: datetime.datetime
) -> None:
    told = [reader for reader in everybody if reader.wants(alert)]
    called = [address for address in hearing if address.wants(alert)]
    if not (told or called):
        log.error(
            "alert.nobody_to_tell",
            alert=alert.pk,
            advice="Give an administrator's account an e-mail address, or add a webhook for alerts.",
        )
        return
    if Alert.objects.untold().filter(pk=alert.pk).update(told_at=now):
        _write(alert, told, Moment.OPENED, now)
        owe_event(alert, called, Moment.OPENED)


@transaction.atomic
def _owe_again(alert: Alert, everybody: list[Reader], now: datetime.datetime) -> None:
    """What was put off comes back to who looks after it or, where nobody does, to everybody."""
    changed = _woken(now).filter(pk=alert.pk).update(snooze_ends_at=None, snoozes=F("snoozes") + 1)
    if changed:
        owners = [reader for reader in everybody if reader.person.pk == alert.owner_id]
        told = owners or [reader for reader in everybody if reader.wants(alert)]
        _write(alert, told, Moment.AGAIN, now, occasion=alert.snoozes + 1)


@transaction.atomic
def _owe_over(alert: Alert, now: datetime.datetime) -> None:
    """Whoever was told that it began is told that it is over, in the same way."""
    if not Alert.objects.over(now).filter(pk=alert.pk).update(over_told_at=now):
        return
    owe_event(alert, told_of(alert), Moment.OVER)
    began = alert.notices.filter(moment=Moment.OPENED)
    AlertNotice.objects.bulk_create(
        AlertNotice(
            alert=alert,
            person_id=notice.person_id,
            moment=Moment.OVER,
            is_daily=notice.is_daily,
            due_at=next_morning(now) if notice.is_daily else now,
        )
        for notice in began
    )


def _write(
    alert: Alert, told: Iterable[Reader], moment: Moment, now: datetime.datetime, occasion: int = 0
) -> None:
    AlertNotice.objects.bulk_create(
        AlertNotice(
            alert=alert,
            person=reader.person,
            moment=moment,
            occasion=occasion,
            is_daily=not reader.at_once(alert),
            due_at=now if reader.at_once(alert) else next_morning(now),
        )
        for reader in told
    )


def next_morning(now: datetime.datetime) -> datetime.datetime:
    """When the next letter of the day is written."""
    zone = timezone.get_default_timezone()
    today = now.astimezone(zone).date()
    mornings = (
        datetime.datetime.combine(today + datetime.timedelta(days=days), MORNING, zone) for days in (0, 1)
    )
    return next(morning for morning in mornings if morning > now)


def _with_what_they_are_about(alerts: AlertQuerySet) -> list[Alert]:
    return list(alerts.select_related("stream__connection", "connection").order_by("pk"))
