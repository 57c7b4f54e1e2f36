"""What a person does about an alert: take it, give it to somebody, put it off, or have it back."""

from __future__ import annotations

import datetime

from django.db import transaction
from django.utils import timezone

import audit
from apiauth.models import User
from integrations.models import Alert
from integrations.models.alert import AlertSubscription, Letters
from integrations.models.connection import ConnectionQuerySet
from integrations.notices.owed import owe_given
from integrations.notices.people import Reader


class TriageRefused(Exception):
    """It was not done; the text says why."""


@transaction.atomic
def acknowledge(alert: Alert, by: User) -> Alert:
    """Say that `by` has seen the alert and looks after it. Raises TriageRefused where it is over or somebody else's."""
    current = _still_open(alert)
    if current.owner_id not in (None, by.pk):
        raise TriageRefused(
            f"{current.owner} looks after it already. Give it to yourself, if you agreed on that."
        )
    current.owner, current.acknowledged_at = by, current.acknowledged_at or timezone.now()
    current.save(update_fields=["owner", "acknowledged_at"])
    audit.record("alert.acknowledged", current)
    return current


@transaction.atomic
def give(alert: Alert, to: User, by: User) -> Alert:
    """Make `to` look after the alert, and let them know by a letter. Raises TriageRefused where it is over or they may not see it."""
    current = _still_open(alert)
    if not (to.is_active and to.has_perm("integrations.view_alert")):
        raise TriageRefused(f"{to} cannot see alerts, so nobody would look after it.")
    current.owner, current.acknowledged_at = to, timezone.now()
    current.save(update_fields=["owner", "acknowledged_at"])
    event = audit.record("alert.given", current, detail={"to": to.get_username()})
    if to != by and to.email:
        owe_given(current, Reader(to), occasion=event.pk)
    return current


@transaction.atomic
def snooze(alert: Alert, until: datetime.datetime) -> Alert:
    """Put the alert off: until then it is not on the front page and no letter is sent. Raises TriageRefused where it is over."""
    current = _still_open(alert)
    if until <= timezone.now():
        raise TriageRefused("That moment is past: choose one to come.")
    current.snooze_ends_at = until
    current.save(update_fields=["snooze_ends_at"])
    audit.record("alert.snoozed", current, detail={"until": until.isoformat()})
    return current


@transaction.atomic
def wake(alert: Alert) -> Alert:
    """Have an alert back that was put off. Raises TriageRefused where it was not."""
    current = _still_open(alert)
    if current.snooze_ends_at is None:
        raise TriageRefused("It is not put off.")
    current.snooze_ends_at = None
    current.save(update_fields=["snooze_ends_at"])
    audit.record("alert.woken", current)
    return current


@transaction.atomic
def subscribe(person: User, letters: Letters, connections: ConnectionQuerySet) -> AlertSubscription:
    """Say which letters a person gets about alerts, and of which connections (none: of all)."""
    subscription, _ = AlertSubscription.objects.update_or_create(person=person, defaults={"letters": letters})
    subscription.connections.set(connections)
    slugs = sorted(connection.slug for connection in connections)
    audit.record("alert.subscribed", person, detail={"letters": str(letters), "connections": [*slugs]})
    return subscription


def _still_open(alert: Alert) -> Alert:
    """The alert as it is now, ours until the transaction ends."""
    current = Alert.objects.select_for_update(of=("self",)).select_related("owner").get(pk=alert.pk)
    if current.resolved_at is not None:
        raise TriageRefused(
            f"It is over since {current.resolved_at:%Y-%m-%d %H:%M} UTC: there is nothing to look after."
        )
    return current
