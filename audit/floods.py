"""Events that a stranger can cause at will: the first of a minute is written, the others are counted.

A trail that anybody can fill is one that nobody reads. The count is written when the minute is over, so that nothing is
lost of what happened but its repetition.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Final

from django.apps import apps
from django.db import connection, models, transaction
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
    """Write the event, or count it where its like came from the same address less than a minute ago.

    In the transaction at hand, so that what is undone is not counted, and what is done always is. Callers that repeat
    themselves at once take turns at their own count, from here to the end of their transaction; nobody else waits.
    """
    actor, now = actor or current_actor(), timezone.now()
    action, subject_type, subject_id, address = like_of(action, subject)
    flood = EventFlood(
        action=action,
        subject_type=subject_type,
        subject_id=subject_id,
        address=address,
        actor_kind=actor.kind,
        actor_id=writable(actor.id, 64),
        actor_name=writable(actor.name, 150),
        ends_at=now + WINDOW,
    )
    with transaction.atomic(savepoint=False):  # what fails here fails with what it belongs to
        times = _count(flood, now)
        while times is None:  # its minute is over
            _write_over(flood)
            times = _count(flood, now)
        if times:
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


# One statement, for it is part of every token that is issued: begins a count, or adds to one whose minute is not over.
_COUNT: Final = """
    INSERT INTO audit_eventflood
        (action, subject_type, subject_id, address, actor_kind, actor_id, actor_name, times, ends_at)
    VALUES (%s, %s, %s, %s, %s, %s, %s, 0, %s)
    ON CONFLICT (action, subject_type, subject_id, address)
        DO UPDATE SET times = audit_eventflood.times + 1 WHERE audit_eventflood.ends_at > %s
    RETURNING times
"""


# For a statement that does what is counted, on PostgreSQL: a part of it that has one row where the like of the event came within
# the minute, which is counted then, and none where nothing is counted. Its parameters are those of `like_of`, and the moment.
COUNT_ONE_MORE: Final = (
    "UPDATE audit_eventflood SET times = times + 1 "
    "WHERE action = %s AND subject_type = %s AND subject_id = %s AND address = %s AND ends_at > %s RETURNING times"
)


def like_of(action: str, subject: models.Model) -> tuple[str, str, str, str]:
    """What events have in common that are counted together: what was done, to what, and from where."""
    address = writable(current_context().address, 45)
    return action, subject._meta.label_lower, subject_id_of(subject), address


def _count(flood: EventFlood, now: datetime.datetime) -> int | None:
    """How often its like has come within the minute before this one; None where a count stands there that is over."""
    source = (flood.action, flood.subject_type, flood.subject_id, flood.address)
    actor = (flood.actor_kind, flood.actor_id, flood.actor_name)
    moments = [connection.ops.adapt_datetimefield_value(moment) for moment in (flood.ends_at, now)]
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, [*source, *actor, *moments])
        row = cursor.fetchone()
    return None if row is None else int(row[0])


def _write_over(flood: EventFlood) -> None:
    """Write the count that stands where this one is to begin."""
    of_source = EventFlood.objects.filter(
        action=flood.action,
        subject_type=flood.subject_type,
        subject_id=flood.subject_id,
        address=flood.address,
    )
    for over in of_source.select_for_update():
        _write(over)


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
