"""The floor of issuing a token: no framework, one look-up, one comparison, one row that is committed.

A WSGI application. It leaves out what the product does beside: the event on the trail, the throttle, suspended consumers and
those past their last day, networks, rotation, the scopes that were granted.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable
from functools import cache
from typing import Any, Final

import orjson
import psycopg

_SECRET: Final = "SELECT id, client_secret FROM apiauth_consumer WHERE client_id = %s"  # noqa: S105  a statement
_KEEP: Final = """INSERT INTO oauth2_provider_accesstoken
    (token, token_checksum, application_id, scope, expires, created, updated, resource)
    VALUES ('', %s, %s, %s, now() + interval '1 hour', now(), now(), '[]')"""
_SCOPE: Final = "sections:read"


@cache
def _connection() -> psycopg.Connection[Any]:
    return psycopg.connect(os.environ["DATABASE_URL"], autocommit=True, prepare_threshold=1)


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    basic = environ.get("HTTP_AUTHORIZATION", "")[6:]
    client_id, _, secret = base64.b64decode(basic).decode().partition(":")
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    row = _connection().execute(_SECRET, [client_id]).fetchone()
    _, salt, digest = row[1].split("$") if row else ("", "", "")
    if not row or not hmac.compare_digest(hashlib.sha256(f"{salt}{secret}".encode()).hexdigest(), digest):
        start_response("401 Unauthorized", [])
        return [b""]
    token = secrets.token_urlsafe(32)
    _connection().execute(_KEEP, [hashlib.sha256(token.encode()).hexdigest(), row[0], _SCOPE])
    start_response("200 OK", [("Content-Type", "application/json")])
    answer = {"access_token": token, "expires_in": 3600, "token_type": "Bearer", "scope": _SCOPE}
    return [orjson.dumps(answer)]
