"""The letters themselves: what happened, where to see it, how it ends, and how to get fewer of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from django.conf import settings
from django.urls import reverse

from integrations.models import Alert
from integrations.models.alert import AlertNotice, Moment, Severity

_SUBJECTS: Final = {
    Moment.OPENED: "{title}",
    Moment.AGAIN: "Still open: {title}",
    Moment.GIVEN: "Yours: {title}",
    Moment.OVER: "Over: {title}",
}


@dataclass(frozen=True)
class Letter:
    """What is sent."""

    subject: str
    body: str


def letter_of(notice: AlertNotice) -> Letter:
    """The letter about one moment of one incident."""
    alert, moment = notice.alert, Moment(notice.moment)
    urgent = "Urgent: " if alert.severity == Severity.URGENT and moment != Moment.OVER else ""
    paragraphs = _over(alert) if moment == Moment.OVER else _still_open(alert, moment)
    return Letter(
        _one_line(f"[Matricula] {urgent}{_SUBJECTS[moment].format(title=alert.title)}"),
        "\n\n".join([*paragraphs, _fewer()]) + "\n",
    )


def letter_of_the_day(notices: list[AlertNotice]) -> Letter:
    """One letter about everything that could wait for the morning."""
    alerts = {notice.alert_id: notice.alert for notice in notices}
    count = len(alerts)
    return Letter(
        f"[Matricula] {count} alert{'' if count == 1 else 's'} of the last day",
        "\n\n".join([*(_line(alert) for alert in alerts.values()), _fewer()]) + "\n",
    )


def _still_open(alert: Alert, moment: Moment) -> list[str]:
    since = f"It has been there since {alert.raised_at:%Y-%m-%d %H:%M} UTC, seen {_times(alert)}."
    return [
        alert.text,
        *([since] if moment != Moment.OPENED else []),
        f"See it: {settings.BASE_URL}{alert.get_absolute_url()}",
        *([f"It is over since {alert.resolved_at:%H:%M} UTC."] if alert.resolved_at else [alert.ends]),
        f"Take it, give it to somebody, or put it off: {settings.BASE_URL}{alert.page}",
    ]


def _over(alert: Alert) -> list[str]:
    return [
        f"This is over since {alert.resolved_at:%Y-%m-%d %H:%M} UTC. It had been there since "
        f"{alert.raised_at:%Y-%m-%d %H:%M} UTC, seen {_times(alert)}. Nothing is left to do.",
        f"It was: {alert.text}",
        f"See it: {settings.BASE_URL}{alert.page}",
    ]


def _line(alert: Alert) -> str:
    state = f"over since {alert.resolved_at:%Y-%m-%d %H:%M} UTC" if alert.resolved_at else "open"
    return f"{alert.title} ({state}, seen {_times(alert)})\n{settings.BASE_URL}{alert.page}"


def _times(alert: Alert) -> str:
    return "once" if alert.times == 1 else f"{alert.times} times"


def _fewer() -> str:
    where = f"{settings.BASE_URL}{reverse('admin:integrations_alert_letters')}"
    return f"Which letters you get is yours to say: {where}"


def _one_line(text: str) -> str:
    """A mail's subject is one line, whatever a name holds."""
    return " ".join(text.split())
