"""What registration's signals lead to outside: the only receivers, each of which writes outbox messages in the transaction
of the change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from django.db import connection
from django.db.models import Exists, OuterRef
from django.utils import timezone

from integrations.effects.library import DEPROVISION, PROVISION, library_connection
from integrations.models import Connection, OutboxMessage
from integrations.models.outbox import MessageStatus
from integrations.outbox.doorbell import ring_after_commit
from registration.models import LibraryAccount
from registration.signals import library_changed

_MESSAGE, _ACCOUNT = OutboxMessage._meta.db_table, LibraryAccount._meta.db_table
# A message for each request that has none: its key is made from student and request, so that it is written once.
_QUEUE: Final = f"""
INSERT INTO {_MESSAGE} (connection_id, kind, key, subject, payload, cause, status, created_at, due_at, attempts, failures,
    is_uncertain, error_class, reason, fence, holder)
SELECT %(connection)s, CASE WHEN account.is_wanted THEN %(provision)s ELSE %(deprovision)s END, account.message_key,
    'library:' || account.student_id, {{payload}}, account.why, 'waiting', %(now)s, %(now)s, 0, 0, %(no)s, '', '', 0, ''
FROM (
    SELECT student_id, is_wanted, request_number, why, 'library:' || student_id || ':' || request_number AS message_key
    FROM {_ACCOUNT} WHERE status = 'pending'{{scope}}
) AS account
WHERE NOT EXISTS (SELECT 1 FROM {_MESSAGE} AS message WHERE message.key = account.message_key)
ORDER BY account.student_id
ON CONFLICT (key) DO NOTHING
"""
_PAYLOAD: Final = (
    """'{"student": ' || account.student_id || ', "request": ' || account.request_number || '}'"""
)


def connect_receivers() -> None:
    """Listen to registration's signals; called once, at start."""
    library_changed.connect(queue_library_messages, dispatch_uid="integrations.library")


def queue_library_messages(students: Sequence[int] | None, **_: Any) -> int:
    """Queue what the library has to be asked for: whatever is pending and has no message yet, of these students (ids) or,
    for None, of all. Without a connection to the library nothing is queued, and nothing lost: the sweep that follows the
    first one queues it. Returns how many messages were written."""
    system = library_connection()
    if system is None:
        return 0
    queued = _queue(system, students)
    moved = _reroute(system) if students is None else 0
    if queued:
        _supersede(students)
    if queued or moved:
        ring_after_commit()
    return queued


def _queue(system: Connection, students: Sequence[int] | None) -> int:
    params: dict[str, str | int | bool | None] = {
        "connection": system.pk,
        "provision": PROVISION.kind,
        "deprovision": DEPROVISION.kind,
        "now": connection.ops.adapt_datetimefield_value(timezone.now()),
        "no": False,
    }
    scope = "" if students is None else f" AND student_id IN ({', '.join(str(int(pk)) for pk in students)})"
    payload = f"CAST({_PAYLOAD} AS jsonb)" if connection.vendor == "postgresql" else _PAYLOAD
    if scope.endswith("()"):
        return 0
    with connection.cursor() as cursor:
        cursor.execute(_QUEUE.format(payload=payload, scope=scope), params)
        queued: int = cursor.rowcount
        return queued


def _reroute(system: Connection) -> int:
    """Send what still waits for a connection that was archived through the one that took its place."""
    kinds = [PROVISION.kind, DEPROVISION.kind]
    stranded = OutboxMessage.objects.unfinished().filter(
        kind__in=kinds, connection__archived_at__isnull=False
    )
    return stranded.filter(lease_ends_at__isnull=True).update(connection=system)


def _supersede(students: Sequence[int] | None) -> None:
    """Only the last request for an account counts. One that is being attempted ends first; the newer one waits for it."""
    unfinished = OutboxMessage.objects.unfinished().filter(
        kind__in=[PROVISION.kind, DEPROVISION.kind], lease_ends_at__isnull=True
    )
    if students is not None:
        unfinished = unfinished.filter(subject__in=[f"library:{pk}" for pk in students])
    newer = OutboxMessage.objects.filter(subject=OuterRef("subject"), pk__gt=OuterRef("pk"))
    old = list(unfinished.filter(Exists(newer)).values_list("pk", "subject", "is_uncertain"))
    OutboxMessage.objects.filter(pk__in=[pk for pk, _, _ in old]).update(
        status=MessageStatus.SUPERSEDED, ended_at=timezone.now()
    )
    # Whether the earlier request came about nobody knows: the newer one finds out.
    uncertain = [subject for _, subject, is_uncertain in old if is_uncertain]
    OutboxMessage.objects.waiting().filter(subject__in=uncertain).update(is_uncertain=True)
