"""Who signed on, who tried to and who left, on the trail; and what a new session says of itself.

Django tells of these by signals of its own, whichever form or backend it was. What was typed as a name that is no account
is never kept: people type passwords there.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.http import HttpRequest

import audit
from apiauth.models import User
from apiauth.sign_on.sessions import describe_session
from audit.context import Actor, current_context


def record_sign_on() -> None:
    """Listen to Django's signals of signing on; called once, at start."""
    user_logged_in.connect(_signed_in, dispatch_uid="audit.signed_in")
    user_logged_out.connect(_signed_out, dispatch_uid="audit.signed_out")
    user_login_failed.connect(_sign_in_failed, dispatch_uid="audit.sign_in_failed")


def _actor(user: User) -> Actor:
    return Actor(kind="user", id=str(user.pk), name=user.get_username())


def _signed_in(sender: Any, user: User, request: HttpRequest, **_: Any) -> None:
    describe_session(request)
    # A session that is made without a request, as a test client makes one, is nobody at a door.
    if current_context().request_id:
        audit.record("user.signed_in", user, actor=_actor(user))


def _signed_out(sender: Any, user: User | None, **_: Any) -> None:
    if user is not None and current_context().request_id:
        audit.record("user.signed_out", user, actor=_actor(user))


def _sign_in_failed(
    sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any
) -> None:
    account = User.objects.filter(username=str(credentials.get("username", "")).replace("\x00", "")).first()
    audit.record_or_count(
        "user.sign_in_failed", account or User(), detail={"account": "known" if account else "unknown"}
    )
