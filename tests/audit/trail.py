"""Trails to seal, to verify and to tamper with."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection

from audit.models import AuditEvent, AuditSeal
from audit.sealing import seal_events
from audit.verification import verify_trail
from tests.database_roles import past_the_triggers
from tests.refusals import execute

NOON = datetime.datetime(2026, 9, 1, 12, tzinfo=datetime.UTC)
TABLES = ("audit_auditevent", "audit_auditseal", "audit_auditcheckpoint")


def write(
    count: int, *, start: datetime.datetime = NOON, first_id: int | None = None, **values: Any
) -> list[int]:
    """Write events of one person, a second apart, past everything but the database, and return their ids.

    The ORM gives every event the time at hand; these bear times of the test's own, and `first_id` where ids matter.
    """
    before = AuditEvent.objects.order_by("-id").values_list("id", flat=True).first() or 0
    rows = []
    for place in range(count):
        row = {**VALUES, "subject_id": str(place), **values}
        row["detail"] = json.dumps(row["detail"])
        row["at"] = connection.ops.adapt_datetimefield_value(start + datetime.timedelta(seconds=place))
        if first_id is not None:
            row["id"] = first_id + place
        rows.append(row)
    columns = list(rows[0])
    with connection.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO audit_auditevent ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(columns))})",
            [tuple(row.values()) for row in rows],
        )
    if first_id is not None:
        return list(range(first_id, first_id + count))
    return list(AuditEvent.objects.filter(id__gt=before).order_by("id").values_list("id", flat=True))


def sealed(count: int) -> list[int]:
    """Events that are sealed."""
    events = write(count)
    assert seal_events() == count
    return events


def rules() -> list[str]:
    """What verification finds wrong."""
    return [fault.rule for fault in verify_trail().faults]


@contextmanager
def tampering() -> Iterator[Any]:
    """Change the trail as the owner of the database can: past the triggers."""
    with past_the_triggers(*TABLES):
        yield execute


def seals() -> list[AuditSeal]:
    return list(AuditSeal.objects.order_by("position"))


VALUES: dict[str, Any] = {
    "actor_kind": "user",
    "actor_id": "7",
    "actor_name": "rita",
    "action": "user.changed",
    "subject_type": "apiauth.user",
    "subject_id": "1",
    "reason": "asked by phone",
    "detail": {"fields": ["email"], "count": 3, "student": "S0000001"},
    "request_id": "f" * 32,
    "address": "192.0.2.1",
}
