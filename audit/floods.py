"""Events that a stranger can cause at will: the first of a minute is written, the others are counted.

A trail that anybody can fill is one that nobody reads. The count is written when the minute is over, so that nothing is
lost of what happened but its repetition.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Final

from django.apps import apps
from django.db import models, transaction
from django.db.models import F
from django.utils import timezone

import audit
from audit.context import Actor, acting, current_actor, current_context
from audit.models import AuditEvent, EventFlood, JsonValue
from audit.models.event import subject_id_of, writable

WINDOW: Final = datetime.timedelta(minutes=1)


def record_or_count(
    action: str,
    subject: models.Model,
    *,
    actor: Actor | None = None,
    reason: str = "",
    detail: Mapping[str, JsonValue] | None = None,
) -> AuditEvent | None:
    """Write the event, or count it where its like came from the same address less than a minute ago."""
    actor, now = actor or current_actor(), timezone.now()
    source = {
        "action": action,
        "subject_type": subject._meta.label_lower,
        "subject_id": subject_id_of(subject),
        "address": writable(current_context().address, 45),
    }
    with transaction.atomic():
        if _count(source, now):
            return None
        for over in EventFlood.objects.select_for_update().filter(**source):
            _write(over)
        who = {"actor_kind": actor.kind, "actor_id": actor.id, "actor_name": writable(actor.name, 150)}
        _, is_first = EventFlood.objects.get_or_create(**source, defaults={**who, "ends_at": now + WINDOW})
        if not is_first:  # another process was first by a moment
            _count(source, now)
            return None
        return audit.record(action, subject, actor=actor, reason=reason, detail=detail)


def write_floods() -> int:
    """Write the count of every flood whose minute is over, and return how many that were."""
    written = 0
    over = EventFlood.objects.filter(ends_at__lte=timezone.now())
    for pk in over.values_list("pk", flat=True):
        with transaction.atomic():
            flood = EventFlood.objects.select_for_update().filter(pk=pk).first()
            if flood is not None:
                written += _write(flood)
    return written


def _count(source: Mapping[str, str], now: datetime.datetime) -> bool:
    under_way = EventFlood.objects.filter(**source, ends_at__gt=now)
    return bool(under_way.update(times=F("times") + 1))


def _write(flood: EventFlood) -> bool:
    """Put a flood that is over on the trail, if there was more to it than the event that is there already."""
    if flood.times:
        actor = Actor(kind=flood.actor_kind, id=flood.actor_id, name=flood.actor_name)  # type: ignore[arg-type]
        with acting(actor, address=flood.address):
            audit.record(flood.action, _subject_of(flood), detail={"times": flood.times})
    is_written = bool(flood.times)
    flood.delete()
    return is_written


def _subject_of(flood: EventFlood) -> models.Model:
    """An instance by which the event is about what the flood was about; its row may be gone."""
    subject: models.Model = apps.get_model(flood.subject_type)(pk=flood.subject_id or None)
    return subject
