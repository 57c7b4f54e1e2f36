"""Tokens for tests of what a consumer gets, without the endpoint that gives them."""

from __future__ import annotations

import datetime
import secrets

from django.utils import timezone
from oauth2_provider.models import AccessToken

from apiauth.models import Consumer
from apiauth.secrets import token_digest


def make_token(consumer: Consumer, scope: str | None = None) -> str:
    """A token of a consumer that works for an hour, with all of its scopes unless `scope` names some."""
    token = secrets.token_urlsafe(32)
    AccessToken.objects.create(
        application=consumer,
        scope=consumer.scope if scope is None else scope,
        expires=timezone.now() + datetime.timedelta(hours=1),
        token_checksum=token_digest(token),
    )
    return token
