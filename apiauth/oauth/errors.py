"""Errors of the OAuth endpoints (RFC 6749, 5.2), each with what to do about it."""

from __future__ import annotations

from oauthlib.oauth2.rfc6749.errors import InvalidRequestError, OAuth2Error

__all__ = ["ClientRefused", "InvalidRequestError", "OAuth2Error", "Throttled"]

BASIC_CHALLENGE = 'Basic realm="oauth", charset="UTF-8"'


class ClientRefused(OAuth2Error):
    """The client did not prove who it is, or may not call. The answer names the scheme to use (RFC 7235, 4.1)."""

    error = "invalid_client"
    status_code = 401

    @property
    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": BASIC_CHALLENGE}


class Throttled(OAuth2Error):
    """Too many failures: nothing is looked at until the wait is over. OAuth has no code of its own for 429."""

    error = "temporarily_unavailable"
    status_code = 429

    def __init__(self, seconds: int) -> None:
        super().__init__(description=f"Too many failed attempts. Try again in {seconds} seconds.")
        self.seconds = seconds

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(self.seconds)}
