"""What oauthlib's server asks of us: who the client is, what it may have, and to keep, find and revoke tokens.

Built on django-oauth-toolkit's validator, whose answers for other grants are never asked for: the server knows no other.
"""

from __future__ import annotations

from typing import Any, Final

from django.db import transaction
from django.utils import timezone
from oauth2_provider.models import AccessToken
from oauth2_provider.oauth2_validators import OAuth2Validator
from oauthlib.common import Request

from apiauth.models import Consumer
from apiauth.oauth.credentials import Credentials, credentials_of
from apiauth.oauth.errors import ClientRefused, Throttled
from apiauth.oauth.tokens import keep_token, record_token_event
from apiauth.refusals import Kind, record_refusal
from apiauth.scopes import scope_text
from apiauth.secrets import secret_matches, token_digest
from apiauth.statements import Statement, first_row, found
from apiauth.throttle import Attempt, count_failure, seconds_to_wait
from audit.context import current_context

# What a client that proved who it is, and is refused all the same, is told.
WHY = {
    Kind.SUSPENDED: "This consumer is suspended: ask the registrar's office.",
    Kind.REVOKED: "This consumer was revoked.",
    Kind.EXPIRED: "This consumer's keys have expired: ask the registrar's office for an extension.",
    Kind.NETWORK: "This consumer may not call from this address.",
}


# By hand, since each token is asked for by it: what Django's models add to them takes longer than the database does
# (docs/performance.md).
_COLUMNS: Final = (
    *("id", "client_id", "name", "client_secret", "previous_secret", "previous_secret_ends_at"),
    *("scope", "status", "expires_on", "networks", "authorization_grant_type", "client_type"),
)
_FIND: Final = f"SELECT {', '.join(_COLUMNS)} FROM {Consumer._meta.db_table} WHERE client_id = %s"


class ClientCredentialsValidator(OAuth2Validator):  # type: ignore[misc]
    """The client credentials grant, introspection and revocation, each for a consumer that proves who it is."""

    # --- the client ---------------------------------------------------------------------------------------

    def client_authentication_required(self, request: Request, *args: Any, **kwargs: Any) -> bool:
        return True

    def authenticate_client(self, request: Request, *args: Any, **kwargs: Any) -> bool:
        """Set `request.client` to the consumer that the request comes from.

        Raises InvalidRequestError for credentials that contradict each other, Throttled after too many failures, and
        ClientRefused for everyone else who may not go on.
        """
        offered = credentials_of(request)
        if offered is None:
            record_refusal("client.refused", Kind.NO_CREDENTIALS)
            raise ClientRefused("Send the client id and secret in an Authorization: Basic header.")
        attempt = Attempt(request.uri, offered.client_id, current_context().address)
        if seconds := seconds_to_wait(attempt):
            record_refusal("client.refused", Kind.THROTTLED)
            raise Throttled(seconds)
        consumer = self._proven(offered, attempt)
        if why := consumer.why_refused(attempt.address, timezone.localdate()):
            record_refusal("client.refused", Kind(why), consumer)
            raise ClientRefused(WHY[Kind(why)])
        request.client = consumer
        request.client_id = consumer.client_id
        return True

    def _proven(self, offered: Credentials, attempt: Attempt) -> Consumer:
        """The consumer whose secret was offered. Raises ClientRefused, or Throttled when this failure is one too many."""
        consumer = _called(offered.client_id) if offered.is_readable else None
        if consumer is None:
            secret_matches(offered.client_secret, "")  # as long as for somebody who is known
        elif consumer.knows_secret(offered.client_secret, timezone.now()):
            return consumer
        seconds = count_failure(attempt)
        kind = Kind.THROTTLED if seconds else Kind.WRONG_SECRET if consumer else Kind.UNKNOWN_CLIENT
        record_refusal("client.refused", kind, consumer)
        if seconds:
            raise Throttled(seconds)
        raise ClientRefused("The client is unknown, or its secret is wrong.")

    # --- its token ----------------------------------------------------------------------------------------

    def validate_scopes(
        self, client_id: str, scopes: list[str], client: Any, request: Request, **kwargs: Any
    ) -> bool:
        """Whether all of the scopes were granted; a consumer to whom nothing was granted gets no token."""
        granted = bool(scopes) and set(scopes) <= set(client.scopes)
        if not granted:
            record_refusal("token.refused", Kind.SCOPE, client)
        return granted

    def save_bearer_token(self, token: dict[str, Any], request: Request, *args: Any, **kwargs: Any) -> None:
        """Keep the token's digest and its event, both or neither."""
        scope = scope_text(token["scope"].split())
        keep_token(token["access_token"], _consumer(request), scope=scope, seconds=token["expires_in"])

    def introspect_token(
        self, token: str, token_type_hint: str, request: Request, *args: Any, **kwargs: Any
    ) -> Any:
        """What is known of a token of the caller's own that works; None otherwise (RFC 7662, 2.2)."""
        consumer = _consumer(request)
        kept = _own(token, consumer)
        if kept is None or kept.expires <= timezone.now():
            return None
        return {
            "scope": scope_text(set(kept.scope.split()) & set(consumer.scopes)),
            "client_id": consumer.client_id,
            "token_type": "Bearer",
            "exp": int(kept.expires.timestamp()),
            "iat": int(kept.created.timestamp()),
            "sub": consumer.client_id,
        }

    def revoke_token(
        self, token: str, token_type_hint: str, request: Request, *args: Any, **kwargs: Any
    ) -> None:
        """End a token of the caller's own. Another's is left, and nothing tells it from one that never was."""
        consumer = _consumer(request)
        kept = _own(token, consumer)
        if kept is not None:
            with transaction.atomic():
                # Of several requests at once, one has ended it.
                if AccessToken.objects.filter(pk=kept.pk).delete()[0]:
                    record_token_event("token.revoked", consumer, token=kept.pk)
        if kept is None and AccessToken.objects.filter(token_checksum=token_digest(token)).exists():
            record_refusal("token.revocation_refused", Kind.ANOTHER_S_TOKEN, consumer)


def _consumer(request: Request) -> Consumer:
    """Who asks; the server calls for nothing that is about a token before it is known."""
    if not isinstance(request.client, Consumer):
        raise TypeError("This request has no consumer.")
    return request.client


def _called(client_id: str) -> Consumer | None:
    """The consumer of a client id."""
    row = first_row(Statement(_FIND, (client_id,)))
    return None if row is None else found(Consumer, _COLUMNS, row)


def _own(token: str, consumer: Consumer) -> AccessToken | None:
    return AccessToken.objects.filter(token_checksum=token_digest(token), application=consumer).first()
