"""The sealer: chains committed events, in order of discovery, into seals. Writers never wait for it.

What is not sealed yet is found by an anti-join, never by `id > last`: an id is given out when a row is written and seen
when its transaction commits, so that a lower one may appear after a higher one was sealed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from django.db import connection, transaction
from django.utils import timezone

from audit.encoding import event_columns, event_digest, microseconds, seal_digest
from audit.models import AuditEvent, AuditSeal, Head

_EVENT, _SEAL = AuditEvent._meta.db_table, AuditSeal._meta.db_table
# How many events are read and digested at once, outside any transaction.
DISCOVERED: Final = 5000
# How many seals one transaction writes. SQLite has one writer at a time, so that there the sealer takes its turn for a
# few milliseconds; on PostgreSQL nobody waits for it.
WRITTEN: Final = {"postgresql": 5000, "sqlite": 250}
# A look within seconds goes over so many of the newest ids; the whole trail is looked over hourly. An event whose
# transaction stayed open while so many others were written is found then.
RECENT: Final = 100_000
# The anti-join. OFFSET keeps it one look into an index for each event of the part that is asked for: without it
# PostgreSQL joins the whole of both tables anew for every part of a large backlog.
NO_SEAL: Final = f"NOT EXISTS (SELECT 1 FROM {_SEAL} AS seal WHERE seal.event_id = event.id LIMIT 1 OFFSET 0)"
# A number of ours in PostgreSQL's space of advisory locks.
SEALER_LOCK: Final = 0x6D61_7472_6963


def seal_events(*, whole: bool = False) -> int:
    """Seal what is committed and not sealed, and return how many events that was.

    Looks over the newest events, or with `whole` over all of them. Where another process is sealing at this moment,
    it is left to that one.
    """
    sealed = 0
    after = 0 if whole else _start_of_recent()
    while True:
        # Before the look: where the chain has grown since, part of what the look found may be sealed, and it is left.
        head = AuditSeal.objects.head()
        rows = _unsealed(after)
        digests = [(row[0], event_digest(row)) for row in rows]
        for part in _parts(digests):
            extended = _extend(head, part)
            if extended is None:
                return sealed
            head, sealed = extended, sealed + len(part)
        if len(rows) < DISCOVERED:
            return sealed
        # What this look found lies below; a late commit beneath it is found by the next look, from the start again.
        after = rows[-1][0]


def unsealed_ids(limit: int) -> list[int]:
    """The first ids, ascending, of events that have no seal yet, at most `limit`."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT event.id FROM {_EVENT} AS event WHERE {NO_SEAL} ORDER BY event.id LIMIT %s", [limit]
        )
        return [pk for (pk,) in cursor.fetchall()]


def _start_of_recent() -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT max(event_id) FROM {_SEAL}")
        return int(cursor.fetchone()[0] or 0) - RECENT


def _unsealed(after: int) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {event_columns('event')} FROM {_EVENT} AS event WHERE event.id > %s AND {NO_SEAL} "
            "ORDER BY event.id LIMIT %s",
            [after, DISCOVERED],
        )
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows


def _parts(digests: list[tuple[int, bytes]]) -> Iterator[list[tuple[int, bytes]]]:
    size = WRITTEN[connection.vendor]
    for start in range(0, len(digests), size):
        yield digests[start : start + size]


def _extend(head: Head, digests: list[tuple[int, bytes]]) -> Head | None:
    """Chain events to `head`, in one transaction, and return the new head; None when the chain is another's now."""
    with transaction.atomic():
        if not _is_only_sealer() or AuditSeal.objects.head() != head:
            return None
        seals = _chained(head, digests)
        AuditSeal.objects.bulk_create(seals)
        return Head(seals[-1].position, bytes(seals[-1].digest), seals[-1].sealed_at)


def _is_only_sealer() -> bool:
    """Whether no other process seals: an advisory lock until the end of the transaction; SQLite's IMMEDIATE
    transaction is one already."""
    if connection.vendor != "postgresql":
        return True
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [SEALER_LOCK])
        return bool(cursor.fetchone()[0])


def _chained(head: Head, digests: list[tuple[int, bytes]]) -> list[AuditSeal]:
    now = timezone.now()
    sealed_us, previous = microseconds(now), head.digest
    seals = []
    for position, (event_id, digest) in enumerate(digests, start=head.position + 1):
        own = seal_digest(position, event_id, sealed_us, digest, previous)
        seals.append(
            AuditSeal(
                position=position,
                event_id=event_id,
                event_digest=digest,
                previous_digest=previous,
                digest=own,
                sealed_at=now,
            )
        )
        previous = own
    return seals
