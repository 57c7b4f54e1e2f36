"""Keeping term codes: each a change and its audit event, in one transaction. Records are then looked at again."""

from __future__ import annotations

from django.db import transaction
from django.db.models import Q

import audit
from integrations.models import Connection, RejectedRecord, TermCode


class Ambiguous(Exception):
    """Two term codes would be for the same record; the text says which."""


def check_term_code(wanted: TermCode) -> None:
    """Raise Ambiguous when another term code of the connection is for some of the same records. One for all days may
    stand beside those for some: the narrower one counts."""
    same = TermCode.objects.filter(connection=wanted.connection_id, code=wanted.code).exclude(pk=wanted.pk)
    if not (wanted.from_on or wanted.through_on):
        same = same.filter(from_on__isnull=True, through_on__isnull=True)
    else:
        same = same.exclude(from_on__isnull=True, through_on__isnull=True)
    if wanted.through_on:
        same = same.filter(Q(from_on__isnull=True) | Q(from_on__lte=wanted.through_on))
    if wanted.from_on:
        same = same.filter(Q(through_on__isnull=True) | Q(through_on__gte=wanted.from_on))
    other = same.select_related("term").first()
    if other is not None:
        raise Ambiguous(
            f"Some records would be of two terms: {other} stands for {other.term} already. Change the days of one."
        )


@transaction.atomic
def save_term_code(wanted: TermCode) -> TermCode:
    """Keep what a code stands for, new or changed. Every record of the connection is looked at again by its next run.

    Raises Ambiguous as `check_term_code` does.
    """
    connection = _touched(wanted.connection_id)
    check_term_code(wanted)
    action = "changed" if TermCode.objects.filter(pk=wanted.pk).exists() else "created"
    wanted.changed_by = audit.current_actor().name
    wanted.save()
    audit.record(f"term_code.{action}", wanted, detail=_detail(connection, wanted))
    return wanted


@transaction.atomic
def delete_term_code(unwanted: TermCode) -> None:
    """Forget what a code stands for. Records that it was for are rejected from then on; what they concern stands."""
    connection = _touched(unwanted.connection_id)
    audit.record("term_code.deleted", unwanted, detail=_detail(connection, unwanted))
    unwanted.delete()


def waiting_for(code: TermCode) -> int:
    """How many open rejected records the code would help."""
    waiting = RejectedRecord.objects.open().filter(
        run__stream__connection=code.connection_id, rule="unknown_term"
    )
    return waiting.filter(value=code.code).count() if code.code else waiting.count()


def _touched(connection_id: int) -> Connection:
    """The connection, locked and noted as changed: a run that is under way has read with other codes and does not count."""
    connection = Connection.objects.select_for_update().get(pk=connection_id)
    connection.changed_by = audit.current_actor().name
    connection.save(update_fields=["changed_by", "changed_at"])
    return connection


def _detail(connection: Connection, code: TermCode) -> dict[str, str]:
    return {"connection": connection.slug, "code": str(code), "term": code.term.code}
