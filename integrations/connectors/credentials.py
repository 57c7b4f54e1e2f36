"""What each `auth.type` of the connection document asks for.

A secret that a document leaves out, or gives as null, is kept; authentication.py makes requests of what is kept.
"""

from __future__ import annotations

import base64
from typing import Annotated, ClassVar, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from integrations.connectors.addresses import check_address
from integrations.connectors.certificates import check_certificate


def in_a_header(value: str) -> str:
    """Return a text that an HTTP header carries (RFC 9110 section 5.5, in the one encoding that http.client writes)."""
    if not all(" " <= character <= "~" or "\xa0" <= character <= "\xff" for character in value):
        raise ValueError("has a line break or another character that no HTTP header carries")
    return value


def _token_address(value: str) -> str:
    # A slash at its end may matter to the other system.
    check_address(value)
    return value


# Standard Webhooks, section "Signature scheme": the key behind the prefix is Base64, of so many random bytes.
SIGNING_PREFIX: Final = "whsec_"
SIGNING_BYTES: Final = (24, 64)


def signing_key(secret: str) -> bytes:
    """Return the key that a secret of the Standard Webhooks scheme stands for. Raises ValueError for what is none."""
    try:
        key = base64.b64decode(secret.removeprefix(SIGNING_PREFIX), validate=True)
    except ValueError:  # binascii.Error, or a letter beyond ASCII
        key = b""
    if not secret.startswith(SIGNING_PREFIX) or not SIGNING_BYTES[0] <= len(key) <= SIGNING_BYTES[1]:
        raise ValueError(
            f"is {SIGNING_PREFIX} and the Base64 of {SIGNING_BYTES[0]} to {SIGNING_BYTES[1]} random bytes"
        )
    return key


def _signing_secret(value: str) -> str:
    signing_key(value)
    return value


HeaderName = Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]
HeaderText = Annotated[str, AfterValidator(in_a_header)]
Secret = Annotated[str, Field(min_length=1), AfterValidator(in_a_header)]
# RFC 6749 appendices A.1 and A.4.
ClientId = Annotated[str, Field(min_length=1, pattern=r"^[\x20-\x7e]+$")]
Scope = Annotated[str, Field(pattern=r"^[\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*$")]


class Credentials(BaseModel):
    """`secret_fields` are never given back: an export has null in their place."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    secret_fields: ClassVar[frozenset[str]] = frozenset()

    def lacks_a_secret(self) -> bool:
        """Whether one of its secrets is left out, and so has to be kept from before."""
        return any(getattr(self, name) is None for name in self.secret_fields)


class NoAuth(Credentials):
    type: Literal["none"] = "none"


class ApiKeyAuth(Credentials):
    secret_fields: ClassVar[frozenset[str]] = frozenset({"key"})
    type: Literal["api_key"]
    key: Secret | None = None
    name: HeaderName = "X-API-Key"
    place: Literal["header", "query"] = Field(default="header", alias="in")


class BearerAuth(Credentials):
    secret_fields: ClassVar[frozenset[str]] = frozenset({"token"})
    type: Literal["bearer"]
    token: Secret | None = None


class BasicAuth(Credentials):
    # Several vendors take a key as the user name, with an empty password: neither is shown.
    secret_fields: ClassVar[frozenset[str]] = frozenset({"username", "password"})
    type: Literal["basic"]
    username: str | None = None
    password: str | None = None


class OAuth2Auth(Credentials):
    """Client credentials (RFC 6749 section 4.4). The client's id is no secret (section 2.2).

    `client_auth` is how the client proves itself at the token endpoint: in the Authorization header, which every
    endpoint has to take (section 2.3.1), or in the body, which is all that some take.
    """

    secret_fields: ClassVar[frozenset[str]] = frozenset({"client_secret"})
    type: Literal["oauth2"]
    client_id: ClientId
    client_secret: Annotated[str, Field(min_length=1)] | None = None
    token_url: Annotated[str, Field(max_length=500), AfterValidator(_token_address)]
    scope: Scope | None = None
    client_auth: Literal["basic", "body"] = "basic"


class MutualTlsAuth(Credentials):
    """A client certificate and its key as PEM texts; `ca`, where the other system's certificate is of a private
    authority. An empty `ca` takes the kept one away."""

    secret_fields: ClassVar[frozenset[str]] = frozenset({"certificate", "key", "ca"})
    type: Literal["mtls"]
    certificate: Annotated[str, Field(min_length=1)] | None = None
    key: Annotated[str, Field(min_length=1)] | None = None
    ca: str | None = None

    def lacks_a_secret(self) -> bool:
        return self.certificate is None or self.key is None

    @model_validator(mode="after")
    def _belong_together(self) -> MutualTlsAuth:
        check_certificate(self.certificate, self.key, self.ca)
        return self


class SignatureAuth(Credentials):
    """Each event is signed with a secret that both sides have (Standard Webhooks)."""

    secret_fields: ClassVar[frozenset[str]] = frozenset({"secret"})
    type: Literal["signature"]
    secret: Annotated[str, AfterValidator(_signing_secret)] | None = None


Auth = Annotated[
    NoAuth | ApiKeyAuth | BearerAuth | BasicAuth | OAuth2Auth | MutualTlsAuth | SignatureAuth,
    Field(discriminator="type"),
]

# Each kind by its `type`.
CREDENTIALS: dict[str, type[Credentials]] = {
    "none": NoAuth,
    "api_key": ApiKeyAuth,
    "bearer": BearerAuth,
    "basic": BasicAuth,
    "oauth2": OAuth2Auth,
    "mtls": MutualTlsAuth,
    "signature": SignatureAuth,
}
