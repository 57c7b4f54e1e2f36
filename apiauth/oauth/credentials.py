"""Client credentials as a request carries them: HTTP Basic or in the body, never both (RFC 6749, 2.3.1)."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from urllib.parse import unquote_plus

from oauthlib.common import Request

from apiauth.oauth.errors import InvalidRequestError

# No client id of ours is longer; whatever is, is nobody's.
MAX_LENGTH = 255


@dataclass(frozen=True)
class Credentials:
    """Who the caller says to be, and its proof."""

    client_id: str
    client_secret: str = field(repr=False)

    @property
    def is_readable(self) -> bool:
        """Whether this can be anybody's: PostgreSQL takes no NUL, and no id or secret of ours has one."""
        return 0 < len(self.client_id) <= MAX_LENGTH and "\0" not in self.client_id


def credentials_of(request: Request) -> Credentials | None:
    """The credentials of a request; None when it carries none.

    Raises InvalidRequestError when it authenticates in two ways, or names two clients. A Basic header that cannot be read
    gives credentials of nobody.
    """
    basic = _basic(request.headers.get("Authorization", ""))
    in_body = request.client_id or "", request.client_secret or ""
    if basic is None:
        return Credentials(*in_body) if any(in_body) else None
    if in_body[1]:
        raise InvalidRequestError(
            "Send the client's credentials once: in the Authorization header or in the body."
        )
    if in_body[0] and in_body[0] != basic.client_id:
        raise InvalidRequestError("The body names another client than the Authorization header.")
    return basic


def _basic(header: str) -> Credentials | None:
    """What a Basic header holds; None where the header is missing or of another scheme."""
    scheme, _, encoded = header.strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        client_id, colon, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return Credentials("", "")
    if not colon:
        return Credentials("", "")
    # Both parts are form-encoded before they are joined (RFC 6749, 2.3.1 and appendix B).
    return Credentials(unquote_plus(client_id), unquote_plus(secret))
