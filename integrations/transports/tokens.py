"""Access tokens by client credentials (RFC 6749 section 4.4): one for all processes, kept sealed in the database.

Whoever finds the token due renews it, under a claim, while the others use what is there; where nothing usable is there
they wait for the claim to end. No transaction is open while the token endpoint is asked.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote_plus, urlencode

import orjson
from django.db import transaction
from django.utils import timezone
from requests import PreparedRequest
from requests.auth import AuthBase

from integrations.models.connection import Connection
from integrations.models.token import ConnectionToken
from integrations.transports.error_table import ErrorTable, Rule
from integrations.transports.errors import ErrorClass, NotUnderstood, TimedOut
from integrations.transports.http import HttpTransport, Purpose, Request, Timeouts
from integrations.transports.interruption import pause
from integrations.transports.messages import Attempt, OpenLine
from integrations.transports.request_log import RequestLog

# How long a token lasts whose endpoint does not say (`expires_in` is only recommended). A refusal renews it sooner.
UNSAID_SECONDS: Final = 3600
# No token is kept for longer, whatever its endpoint says.
LONGEST_SECONDS: Final = 365 * 24 * 3600
# A token is renewed this long before it ends, or a tenth of its life before, where that is less: a request that was
# sent with it must not arrive with one that has ended meanwhile.
MARGIN_SECONDS: Final = 60
MARGIN_SHARE: Final = 0.1
# A token endpoint answers at once or not at all, whatever the connection allows its feeds.
LONGEST_EXCHANGE_SECONDS: Final = 30.0
# How long a claim outlasts the exchange that it is for.
_CLAIM_GRACE_SECONDS: Final = 5.0
_LOOK_AGAIN_SECONDS: Final = 0.05

_CHECK_CLIENT: Final = "Enter the connection's client_id and client_secret again, or ask its owner."


# RFC 6749 section 5.2. A 401 of this endpoint is no token that a new one could replace.
def _refusal(words: str, advice: str, *, code: str = "", status: int | None = None) -> Rule:
    return Rule(
        ErrorClass.CONFIG, status=status, code=code, words=f"it gives us no token: {words}", advice=advice
    )


TOKEN_ERRORS: Final = ErrorTable(
    rules=(
        _refusal("it does not accept our client_id and client_secret", f"{_CHECK_CLIENT} Some systems take them in the body only (client_auth).", code="invalid_client"),
        _refusal("this client may not use client credentials", "Ask the other system's owner to allow the client_credentials grant.", code="unauthorized_client"),
        _refusal("it does not know, or does not grant, the scope", "Check the connection's scope with the other system's owner.", code="invalid_scope"),
        _refusal("it does not know client credentials", "Check the connection's token_url.", code="unsupported_grant_type"),
        _refusal("it does not accept our credentials", _CHECK_CLIENT, code="invalid_grant"),
        _refusal("it does not understand our request", "Check token_url, and whether the system wants the client's credentials in the body (client_auth).", code="invalid_request"),
        _refusal("it does not accept our client_id and client_secret", _CHECK_CLIENT, status=401),
        _refusal("it does not accept our request", "Check the connection's token_url, client_id, client_secret and scope.", status=400),
        _refusal("our credentials may not have one", _CHECK_CLIENT, status=403),
        _refusal("there is no token endpoint at this address", "Check the connection's token_url.", status=404),
    ),
    codes=("error",),
    in_success="error",
)  # fmt: skip


@dataclass(frozen=True)
class Client:
    """Who asks for a token, where, and for what."""

    client_id: str
    client_secret: str = field(repr=False)
    token_url: str
    scope: str = ""
    client_auth: str = "basic"

    def grant(self, origin: str) -> str:
        """A digest of all that a token was given for, and of the system that it is for: a token of other credentials,
        or of another system, is none of ours."""
        asked = [
            origin,
            self.token_url,
            self.client_id,
            self.client_secret,
            self.scope,
            self.client_auth,
        ]
        return hashlib.sha256(orjson.dumps(asked)).hexdigest()

    def request(self) -> Request:
        """The request for a token. In the header, id and secret are form-encoded first (RFC 6749 section 2.3.1)."""
        form = {"grant_type": "client_credentials", **({"scope": self.scope} if self.scope else {})}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if self.client_auth == "body":
            form |= {"client_id": self.client_id, "client_secret": self.client_secret}
        else:
            pair = f"{quote_plus(self.client_id)}:{quote_plus(self.client_secret)}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        return Request(self.token_url, "POST", headers=headers, body=urlencode(form).encode())


class ClientCredentials(AuthBase):
    """Signs each request with the connection's token, which is fetched where none is there."""

    def __init__(self, connection: Connection, client: Client) -> None:
        self._connection, self._client = connection, client
        self.token = ""

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        self.token = token_of(self._connection, self._client)
        request.headers["Authorization"] = f"Bearer {self.token}"
        return request

    def renew(self) -> bool:
        """Give up the token that was refused; the next request has another one. What another process has put in its
        place meanwhile stays."""
        if not self.token:
            return False
        forget_token(self._connection, self._client, self.token)
        return True


def token_of(connection: Connection, client: Client) -> str:
    """Return a token that is good for a request now. Raises a TransportError where there is none to be had, and
    SealBroken where the one that is kept does not open."""
    grant = client.grant(connection.origin)
    bounds = _bounds(connection)
    deadline = time.monotonic() + bounds.total + _CLAIM_GRACE_SECONDS
    ConnectionToken.objects.get_or_create(connection=connection)
    while True:
        kept = ConnectionToken.objects.get(connection=connection)
        now, token = timezone.now(), kept.token_for(grant)
        if token and kept.renew_at and now < kept.renew_at:
            return token
        if claim := _claim(kept, now, bounds):
            return _renew(connection, kept, client, claim, bounds)
        if token and kept.expires_at and now < kept.expires_at:
            return token
        if time.monotonic() > deadline:
            raise TimedOut("another process is still waiting for the token endpoint")
        pause(_LOOK_AGAIN_SECONDS)


@transaction.atomic
def forget_token(connection: Connection, client: Client, token: str) -> None:
    """Take `token` out of use, if it is the one that is kept."""
    kept = ConnectionToken.objects.select_for_update().filter(connection=connection).first()
    if kept is not None and kept.token_for(client.grant(connection.origin)) == token:
        kept.sealed = {}
        kept.fetched_at = kept.renew_at = kept.expires_at = None
        kept.save(update_fields=["sealed", "fetched_at", "renew_at", "expires_at"])


def _bounds(connection: Connection) -> Timeouts:
    declared = Timeouts.of(connection.timeouts)
    return Timeouts(declared.connect, declared.read, min(declared.total, LONGEST_EXCHANGE_SECONDS))


def _claim(kept: ConnectionToken, now: datetime.datetime, bounds: Timeouts) -> datetime.datetime | None:
    """Take the right to renew until the returned moment; None where another process has it."""
    until = now + datetime.timedelta(seconds=bounds.total + _CLAIM_GRACE_SECONDS)
    taken = ConnectionToken.objects.unclaimed(now).filter(pk=kept.pk, fetched_at=kept.fetched_at)
    return until if taken.update(claim_ends_at=until) else None


def _renew(
    connection: Connection,
    kept: ConnectionToken,
    client: Client,
    claim: datetime.datetime,
    bounds: Timeouts,
) -> str:
    """Ask for a token, keep it, and give the claim back, whatever comes."""
    try:
        token, seconds = _fetch(connection, client, bounds)
    except BaseException:
        ConnectionToken.objects.filter(pk=kept.pk, claim_ends_at=claim).update(claim_ends_at=None)
        raise
    now = timezone.now()
    with transaction.atomic():
        row = ConnectionToken.objects.select_for_update().filter(pk=kept.pk, claim_ends_at=claim).first()
        if row is not None:  # else the connection was edited meanwhile, or the claim ran out
            row.sealed = {"token": token, "grant": client.grant(connection.origin)}
            row.fetched_at, row.claim_ends_at = now, None
            row.renew_at = now + datetime.timedelta(
                seconds=seconds - min(MARGIN_SECONDS, seconds * MARGIN_SHARE)
            )
            row.expires_at = now + datetime.timedelta(seconds=seconds)
            row.save()
    return token


class _LoggedLine(OpenLine):
    """Of the line to the connection's system only the request log. The exchange stands inside an attempt that has passed
    breaker and limits, and would wait for its own turn."""

    def __init__(self, connection: Connection) -> None:
        self._log = RequestLog(connection)

    def note(self, attempt: Attempt) -> None:
        self._log.note(attempt)

    def close(self) -> None:
        self._log.write()


def _fetch(connection: Connection, client: Client, bounds: Timeouts) -> tuple[str, float]:
    """Return a new token and for how many seconds it is good. One try: whoever wanted the token tries again."""
    line = _LoggedLine(connection)
    with HttpTransport(bounds, purpose=Purpose.DO, errors=TOKEN_ERRORS, line=line) as transport:
        body = transport.exchange(client.request()).body
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        answer = None
    if not isinstance(answer, Mapping):
        raise _no_token("its answer is not a JSON object")
    token = answer.get("access_token")
    # RFC 6749 appendix A.12, without spaces: it has to fit into a header.
    if not isinstance(token, str) or not token or not all("!" <= character <= "~" for character in token):
        raise _no_token("its answer has no access_token")
    if str(answer.get("token_type", "bearer")).lower() != "bearer":
        raise _no_token("the token is of another type than bearer")
    return token, _seconds(answer.get("expires_in"))


def _seconds(expires_in: Any) -> float:
    """How long a token is good. Some endpoints write the number as a text; what is no number is not said."""
    if isinstance(expires_in, str) and expires_in.isascii() and expires_in.isdecimal():
        expires_in = int(expires_in[:12])
    if isinstance(expires_in, bool) or not isinstance(expires_in, int | float) or not expires_in > 0:
        return UNSAID_SECONDS
    return float(min(expires_in, LONGEST_SECONDS))


def _no_token(why: str) -> NotUnderstood:
    return NotUnderstood(
        f"the token endpoint gives us no token: {why}",
        advice="Check the connection's token_url with the other system's owner.",
    )
