"""Tokens as they are kept: the digest and the event of each, both or neither.

A client that asks for a token again and again is counted on the trail (audit/floods.py). On PostgreSQL the token and its count
are then one statement, which is a transaction of its own: one round trip where BEGIN, INSERT, count and COMMIT are four.
"""

from __future__ import annotations

import datetime
from typing import Final

from django.db import connection, transaction
from django.utils import timezone
from oauth2_provider.models import AccessToken

import audit
from apiauth.models import Consumer
from apiauth.secrets import token_digest
from apiauth.statements import Statement, written_row
from audit import Actor
from audit.floods import COUNT_ONE_MORE, like_of
from audit.models import JsonValue

ISSUED: Final = "token.issued"
# By hand, since each token is kept by these: what Django's models add takes longer than the database does
# (docs/performance.md).
_INTO: Final = (
    f"INSERT INTO {AccessToken._meta.db_table} "
    "(token, token_checksum, application_id, scope, expires, created, updated, resource)"
)
_KEEP: Final = f"{_INTO} VALUES ('', %s, %s, %s, %s, %s, %s, '[]') RETURNING id"
_KEEP_COUNTED: Final = (
    f"WITH counted AS ({COUNT_ONE_MORE}) "
    f"{_INTO} SELECT '', %s, %s, %s, %s, %s, %s, '[]'::jsonb FROM counted RETURNING id"
)


def keep_token(token: str, consumer: Consumer, *, scope: str, seconds: int) -> None:
    """Keep a token that works for some seconds, and put it on the trail."""
    now = timezone.now()
    until = now + datetime.timedelta(seconds=seconds)
    values = (token_digest(token), consumer.pk, scope, until, now, now)
    if connection.vendor == "postgresql" and _is_kept_as_one_more(consumer, now, values):
        return
    with transaction.atomic():
        row = written_row(Statement(_KEEP, values))
        (number,) = row or ()
        record_token_event(ISSUED, consumer, token=number, scope=scope, until=until.isoformat())


def record_token_event(action: str, consumer: Consumer, **detail: JsonValue) -> None:
    """The first of a minute from an address is an event of its own, and the others are its count: a client that gets a token
    for each of its requests does not fill the trail, and none of its tokens is missing from it."""
    actor = Actor("consumer", consumer.name, str(consumer.pk))
    audit.record_or_count(action, consumer, actor=actor, detail=detail)


def _is_kept_as_one_more(consumer: Consumer, now: datetime.datetime, values: tuple[object, ...]) -> bool:
    """Keep a token if the trail has its like of this minute already, and count it there. Where it has none, nothing is done."""
    like = like_of(ISSUED, consumer)
    return written_row(Statement(_KEEP_COUNTED, (*like, now, *values))) is not None
