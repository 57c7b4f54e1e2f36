"""Who stands behind a bearer token: one statement for the token and its consumer, so that what an administrator decides is
felt by the very next request."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Final

from django.utils import timezone
from oauth2_provider.models import AccessToken

from apiauth.models import Consumer
from apiauth.models.consumer import why_refused
from apiauth.refusals import Kind
from apiauth.scopes import scopes_in
from apiauth.secrets import token_digest

_COLUMNS: Final = (
    "id",
    "expires",
    "scope",
    "application_id",
    "application__client_id",
    "application__name",
    "application__scope",
    "application__hourly_limit",
    "application__status",
    "application__expires_on",
    "application__networks",
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


def find_caller(token: str, *, address: str, now: datetime.datetime) -> Caller:
    """The consumer behind a token that is used from `address` at `now`. Raises BearerRefused."""
    row = AccessToken.objects.filter(token_checksum=token_digest(token)).values_list(*_COLUMNS)[:1]
    for pk, expires, scope, consumer_id, client_id, name, granted, limit, status, expires_on, networks in row:
        consumer = Consumer(pk=consumer_id, name=name)
        if now >= expires:
            raise BearerRefused(Kind.EXPIRED_TOKEN, consumer)
        if why := why_refused(status, expires_on, networks, address=address, today=timezone.localdate(now)):
            raise BearerRefused(Kind(why), consumer)
        scopes = frozenset(scopes_in(scope)) & frozenset(scopes_in(granted))
        return Caller(consumer_id, client_id, name, limit, pk, scopes)
    raise BearerRefused(Kind.UNKNOWN_TOKEN)
