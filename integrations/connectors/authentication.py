"""How a request proves who sends it: one strategy for each `auth.type` of the connection document."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from requests import PreparedRequest
from requests.auth import AuthBase, HTTPBasicAuth

from integrations.connectors.credentials import signing_key
from integrations.models import Connection
from integrations.transports.errors import NotSent
from integrations.transports.tls import TlsMaterial
from integrations.transports.tokens import Client, ClientCredentials


class NoCredentials(NotSent):
    advice = (
        "Enter the connection's credentials: a change of its address takes away those of the earlier one."
    )


class _Header(AuthBase):
    def __init__(self, name: str, value: str) -> None:
        self.name, self.value = name, value

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.headers[self.name] = self.value
        return request


class _QueryParameter(AuthBase):
    def __init__(self, name: str, value: str) -> None:
        self.name, self.value = name, value

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.url = with_query(request.url or "", {self.name: self.value})
        return request


class _Signature(AuthBase):
    """Signs what is sent as Standard Webhooks says: id, time and body, so that none of them can be exchanged, nor the whole
    be sent again later. The event's id is in the request already."""

    def __init__(self, secret: str) -> None:
        self.key = signing_key(secret)

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        sent_at = str(int(time.time()))
        body = request.body or b""
        signed = f"{request.headers['webhook-id']}.{sent_at}.".encode() + (
            body.encode() if isinstance(body, str) else body
        )
        digest = hmac.new(self.key, signed, hashlib.sha256).digest()
        request.headers["webhook-timestamp"] = sent_at
        request.headers["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"
        return request


def with_query(url: str, params: Mapping[str, str]) -> str:
    """Return `url` with these parameters in its query; one that was there under the same name is replaced."""
    parts = urlsplit(url)
    kept = [
        (name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name not in params
    ]
    return urlunsplit(parts._replace(query=urlencode([*kept, *params.items()])))


def without_query(url: str, names: frozenset[str]) -> str:
    """Return `url` without the parameters of these names."""
    parts = urlsplit(url)
    kept = [
        (name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name not in names
    ]
    return urlunsplit(parts._replace(query=urlencode(kept)))


Secrets = Mapping[str, Any]


def _none(connection: Connection, secret: Secrets) -> None:
    return None


def _api_key(connection: Connection, secret: Secrets) -> AuthBase:
    strategy = _QueryParameter if secret.get("in") == "query" else _Header
    return strategy(secret.get("name", "X-API-Key"), secret["key"])


def _bearer(connection: Connection, secret: Secrets) -> AuthBase:
    return _Header("Authorization", f"Bearer {secret['token']}")


def _basic(connection: Connection, secret: Secrets) -> AuthBase:
    # requests encodes texts as Latin-1; a password may hold any letter (RFC 7617 section 2.1).
    return HTTPBasicAuth(secret["username"].encode(), secret["password"].encode())


def _oauth2(connection: Connection, secret: Secrets) -> AuthBase:
    client = Client(
        secret["client_id"],
        secret["client_secret"],
        secret["token_url"],
        secret.get("scope", ""),
        secret.get("client_auth", "basic"),
    )
    return ClientCredentials(connection, client)


def _signature(connection: Connection, secret: Secrets) -> AuthBase:
    return _Signature(secret["secret"])


_STRATEGIES: Final[dict[str, Callable[[Connection, Secrets], AuthBase | None]]] = {
    "none": _none,
    "api_key": _api_key,
    "bearer": _bearer,
    "basic": _basic,
    "oauth2": _oauth2,
    "mtls": _none,  # the certificate is the transport's (tls_material_of)
    "signature": _signature,
}


def authentication_of(connection: Connection) -> AuthBase | None:
    """Return how this connection's requests are signed. Raises NoCredentials where nobody has entered any."""
    strategy = _STRATEGIES[connection.auth_type]
    try:
        return strategy(connection, connection.secrets.get("auth", {}))
    except KeyError:
        raise NoCredentials("the connection has no credentials") from None


def tls_material_of(connection: Connection) -> TlsMaterial | None:
    """Return the certificate by which this connection proves who it is, where that is how. Raises NoCredentials."""
    if connection.auth_type != "mtls":
        return None
    secret = connection.secrets.get("auth", {})
    try:
        return TlsMaterial(secret["certificate"], secret["key"], secret.get("ca", ""))
    except KeyError:
        raise NoCredentials("the connection has no certificate and key") from None


def secret_parameter_names(connection: Connection) -> frozenset[str]:
    """The names of query parameters that carry a credential."""
    auth = connection.secrets.get("auth", {})
    is_in_query = connection.auth_type == "api_key" and auth.get("in") == "query"
    return frozenset([auth.get("name", "X-API-Key")]) if is_in_query else frozenset()
