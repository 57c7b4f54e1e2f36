"""Bearer tokens at the API, as RFC 6750 has them."""

from __future__ import annotations

from typing import Final

from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from apiauth.bearer import BearerRefused, Caller, find_caller
from apiauth.rate_limit import LimitExceeded, count_request, remember_standing
from apiauth.refusals import Kind, record_refusal
from apiauth.statements import Row, Statement
from audit import Actor
from audit.context import ascribe, current_context

CHALLENGE: Final = 'Bearer realm="api"'
INVALID: Final = f'{CHALLENGE}, error="invalid_token"'

# Where a request remembers its challenge: another instance of the class is asked for it after the failure.
_ANSWER: Final = "matricula.challenge"

# What whoever holds a token that does not work is told. Which of the first three it is, is nobody's business but the trail's.
WHY: Final = {
    Kind.SUSPENDED: "This consumer is suspended: ask the registrar's office.",
    Kind.EXPIRED: "This consumer's keys have expired: ask the registrar's office for an extension.",
    Kind.NETWORK: "This consumer may not call from this address.",
}
ANEW: Final = "The token is unknown, expired or revoked: ask /oauth/token/ for a new one."


class BearerAuthentication(BaseAuthentication):
    """`Authorization: Bearer TOKEN`, and nowhere else: a token in an address is seen by every log on its way."""

    def authenticate(self, request: Request) -> tuple[Caller, Row] | None:
        """The consumer that calls, and what its view reads beside it; None when the request carries no token.

        Raises AuthenticationFailed, and LimitExceeded once the hour's requests are used up.
        """
        if "access_token" in request.query_params:
            record_refusal("bearer.refused", Kind.TOKEN_IN_ADDRESS)
            raise AuthenticationFailed(
                "Send the token in the Authorization header, not in the address; revoke this one."
            )
        scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
        if scheme.lower() != "bearer":
            return None
        caller, found = _caller(request, token.strip())
        ascribe(Actor("consumer", caller.name, str(caller.consumer_id)))
        standing = count_request(caller.consumer_id, caller.hourly_limit)
        remember_standing(request.META, standing)
        if not standing.is_allowed:
            raise LimitExceeded(standing)
        return caller, found

    def authenticate_header(self, request: Request) -> str:
        """The challenge of a 401: without an error code where nothing was shown that could be wrong (RFC 6750, 3.1)."""
        return str(request.META.get(_ANSWER, CHALLENGE))


def _caller(request: Request, token: str) -> tuple[Caller, Row]:
    try:
        return find_caller(
            token, address=current_context().address, now=timezone.now(), beside=_beside(request)
        )
    except BearerRefused as refused:
        record_refusal("bearer.refused", refused.kind, refused.consumer)
        request.META[_ANSWER] = INVALID
        raise AuthenticationFailed(WHY.get(refused.kind, ANEW)) from None


def _beside(request: Request) -> Statement | None:
    """What the view would have read by the statement that finds the caller (apiauth/views.py)."""
    view = (request.parser_context or {}).get("view")
    asked = getattr(view, "beside", None)
    return asked() if asked else None
