"""The token endpoint of a simulated system: OAuth 2.0 client credentials, checked to the letter (RFC 6749)."""

from __future__ import annotations

import base64
import binascii
import threading
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, Final
from urllib.parse import parse_qsl, unquote_plus

CLIENT_ID: Final = "demo-client"
# With the characters that a client has to encode before it puts them into the header (section 2.3.1).
CLIENT_SECRET: Final = "demo+secret: 50%&öffentlich"  # noqa: S105 - of a simulated system, printed in the docs
SCOPES: Final = frozenset({"records.read", "profile"})
MAX_TOKENS: Final = 1000
_FORM: Final = frozenset({"grant_type", "scope", "client_id", "client_secret"})

Answer = tuple[int, dict[str, Any], dict[str, str]]


class _NoToken(Exception):
    """The request is refused (RFC 6749 section 5.2)."""

    def __init__(
        self, error: str, words: str, status: int = 400, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(error)
        self.answer: Answer = (status, {"error": error, "error_description": words}, dict(headers or {}))


class TokenEndpoint:
    """Gives tokens that are good for `seconds`, and knows which ones are."""

    path: Final = "/oauth/token"

    def __init__(self, seed: int, seconds: int, clock: Callable[[], float] = monotonic) -> None:
        self._seed, self._seconds, self._clock = seed, seconds, clock
        self._lock = threading.Lock()
        self._ends: dict[str, float] = {}
        self.given = 0

    def answer(self, method: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Return status, JSON value and headers of the answer."""
        try:
            form = _form(method, headers, body)
            _check_client(form, headers.get("authorization"))
            _check_grant(form)
        except _NoToken as error:
            return error.answer
        return 200, self._give(form.get("scope", "")), {"Cache-Control": "no-store"}

    def is_good(self, token: str) -> bool:
        with self._lock:
            return self._clock() < self._ends.get(token, 0.0)

    def revoke(self, token: str) -> None:
        """End a token before its time."""
        with self._lock:
            self._ends.pop(token, None)

    def _give(self, scope: str) -> dict[str, Any]:
        with self._lock:
            self.given += 1
            token = f"sim-token-{self._seed}-{self.given}"
            self._ends[token] = self._clock() + self._seconds
            while len(self._ends) > MAX_TOKENS:
                del self._ends[next(iter(self._ends))]
        answer = {"access_token": token, "token_type": "Bearer", "expires_in": self._seconds}
        return answer | ({"scope": scope} if scope else {})


def _form(method: str, headers: Mapping[str, str], body: bytes) -> dict[str, str]:
    if method != "POST":
        raise _NoToken("invalid_request", "A token is asked for by POST.", 405, {"Allow": "POST"})
    if headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise _NoToken("invalid_request", "The body is a form.")
    pairs = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)
    form = dict(pairs)
    if len(form) != len(pairs) or not form.keys() <= _FORM:
        raise _NoToken("invalid_request", "A parameter is unknown, or given twice.")
    return form


def _check_client(form: Mapping[str, str], authorization: str | None) -> None:
    """The client proves itself in the header or in the body (section 2.3.1), and not in both (section 2.3)."""
    if authorization is None:
        pair, challenge = (form.get("client_id"), form.get("client_secret")), {}
    elif "client_secret" in form:
        raise _NoToken("invalid_request", "A client proves itself in one way.")
    else:
        pair, challenge = _of_header(authorization), {"WWW-Authenticate": "Basic"}
    if pair != (CLIENT_ID, CLIENT_SECRET):
        raise _NoToken("invalid_client", "There is no such client.", 401, challenge)


def _check_grant(form: Mapping[str, str]) -> None:
    if form.get("grant_type") != "client_credentials":
        raise _NoToken("unsupported_grant_type", "Only client_credentials.")
    if not set(form.get("scope", "").split()) <= SCOPES:
        raise _NoToken("invalid_scope", f"There are {', '.join(sorted(SCOPES))}.")


def _of_header(authorization: str) -> tuple[str | None, str | None]:
    kind, _, encoded = authorization.partition(" ")
    try:
        client, _, secret = base64.b64decode(encoded, validate=True).decode("ascii").partition(":")
    except (binascii.Error, UnicodeError):
        return None, None
    return (unquote_plus(client), unquote_plus(secret)) if kind.lower() == "basic" else (None, None)
