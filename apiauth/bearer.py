"""Who stands behind a bearer token: one statement for the token and its consumer, so that what an administrator decides is
felt by the very next request. What the request is about can be read by the same statement, beside them."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from django.utils import timezone
from oauth2_provider.models import AccessToken

from apiauth.models import Consumer
from apiauth.models.consumer import why_refused
from apiauth.refusals import Kind
from apiauth.scopes import scopes_in
from apiauth.secrets import token_digest
from apiauth.statements import Row, Statement, first_row

_TOKENS: Final = AccessToken._meta.db_table
_CONSUMERS: Final = Consumer._meta.db_table
# Their order is that of `_judged`. A consumer without a last day is never past it.
_COLUMNS: Final = (
    "token.id AS token_id, token.scope AS token_scope, token.expires <= %s AS is_expired, "
    "consumer.id AS consumer_id, consumer.client_id, consumer.name, consumer.scope AS granted, consumer.hourly_limit, "
    "consumer.status, COALESCE(consumer.expires_on < %s, FALSE) AS is_past_its_last_day, consumer.networks"
)
_COLUMN_COUNT: Final = 11
_CALLER: Final = (
    f"SELECT {_COLUMNS} FROM {_TOKENS} token JOIN {_CONSUMERS} consumer ON consumer.id = token.application_id "
    "WHERE token.token_checksum = %s"
)


@dataclass(frozen=True)
class Caller:
    """A consumer that has shown a token. `scopes` are those of the token that it is still granted."""

    consumer_id: int
    client_id: str
    name: str
    hourly_limit: int
    token_id: int
    scopes: frozenset[str]
    is_authenticated: bool = True  # what the REST framework asks of a user


class BearerRefused(Exception):
    """The token does not work. `kind` says why, and `consumer` whose it is, where that is known."""

    def __init__(self, kind: Kind, consumer: Consumer | None = None) -> None:
        super().__init__(kind.value)
        self.kind = kind
        self.consumer = consumer


def find_caller(
    token: str, *, address: str, now: datetime.datetime, beside: Statement | None = None
) -> tuple[Caller, Row]:
    """The consumer behind a token that is used from `address` at `now`, and what `beside` read.

    `beside` is a SELECT of one row, which may refer to the table `caller` with its one column of interest, consumer_id. It
    is part of the statement, so that it sees the database of the same moment; for a token that nobody has it reads nothing.
    What it read is an empty row without it. Raises BearerRefused.
    """
    own = (now, timezone.localdate(now), token_digest(token))
    if beside is None:
        row = first_row(Statement(_CALLER, own))
    else:
        row = first_row(Statement(_with_caller(beside.sql), (*own, *beside.params)))
    if row is None:
        raise BearerRefused(Kind.UNKNOWN_TOKEN)
    return _judged(row[:_COLUMN_COUNT], address), row[_COLUMN_COUNT:]


@lru_cache(maxsize=512)
def _with_caller(sql: str) -> str:
    return (
        f"WITH caller AS ({_CALLER}) SELECT caller.*, beside.* FROM caller LEFT JOIN ({sql}) beside ON TRUE"
    )


def _judged(row: Row, address: str) -> Caller:
    """The caller that a row tells of, if its token works."""
    token_id, scope, is_expired, consumer_id, client_id, name, granted, limit, status, is_past, networks = row
    if is_expired:
        raise BearerRefused(Kind.EXPIRED_TOKEN, Consumer(pk=consumer_id, name=name))
    if why := why_refused(status, networks, is_past_its_last_day=bool(is_past), address=address):
        raise BearerRefused(Kind(why), Consumer(pk=consumer_id, name=name))
    return Caller(consumer_id, client_id, name, limit, token_id, _scopes(scope, granted))


@lru_cache(maxsize=1024)
def _scopes(of_token: str, granted: str) -> frozenset[str]:
    return frozenset(scopes_in(of_token)) & frozenset(scopes_in(granted))
