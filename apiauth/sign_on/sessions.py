"""Where sessions are kept: as Django keeps them, each with whose it is. SESSION_ENGINE names this module.

A session ends when nobody has used it for SESSION_IDLE_MINUTES, and SESSION_HOURS after the sign-on in any case
(apiauth/middleware.py).
"""

from __future__ import annotations

import datetime
from typing import Any, Final

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from apiauth.models import StaffSession, User
from audit.address import client_address

SIGNED_ON_AT: Final = "signed_on_at"
SEEN_AT: Final = "seen_at"
# A look that is no more than this after the last one is not written down: most looks cost no write.
SEEN_EVERY: Final = datetime.timedelta(minutes=1)
_ADDRESS: Final = "address"
_BROWSER: Final = "browser"
_MOST_OF_A_BROWSER: Final = 200


class SessionStore(DatabaseStore):
    """Django's, in a table that says whose a session is."""

    @classmethod
    def get_model_class(cls) -> type[StaffSession]:
        return StaffSession

    def create_model_instance(self, data: dict[str, Any]) -> StaffSession:
        row: StaffSession = super().create_model_instance(data)  # type: ignore[assignment]
        row.user_id = int(data[SESSION_KEY]) if SESSION_KEY in data else None
        row.signed_on_at, row.seen_at = _moment(data, SIGNED_ON_AT), _moment(data, SEEN_AT)
        row.address, row.browser = data.get(_ADDRESS, ""), data.get(_BROWSER, "")
        return row


def describe_session(request: HttpRequest) -> None:
    """Put into a session, at the sign-on, when and from where it was made."""
    now = timezone.now().isoformat()
    request.session.update(
        {
            SIGNED_ON_AT: now,
            SEEN_AT: now,
            _ADDRESS: client_address(request.META),
            _BROWSER: request.META.get("HTTP_USER_AGENT", "")[:_MOST_OF_A_BROWSER],
        }
    )


def is_over(session: SessionBase, now: datetime.datetime) -> bool:
    """Whether a session of somebody has come to one of its two ends. One that says no moments is over."""
    signed_on, seen = _moment(session, SIGNED_ON_AT), _moment(session, SEEN_AT)
    if signed_on is None or seen is None:
        return True
    idle = datetime.timedelta(minutes=settings.SESSION_IDLE_MINUTES)
    return now >= seen + idle or now >= signed_on + datetime.timedelta(hours=settings.SESSION_HOURS)


def see(session: SessionBase, now: datetime.datetime) -> None:
    """Note that the session is in use."""
    seen = _moment(session, SEEN_AT)
    if seen is None or now >= seen + SEEN_EVERY:
        session[SEEN_AT] = now.isoformat()


def sessions_of(user: User, now: datetime.datetime) -> QuerySet[StaffSession]:
    """The sessions of a person that are not over, the one used last first."""
    return StaffSession.objects.filter(
        user=user,
        expire_date__gt=now,
        seen_at__gt=now - datetime.timedelta(minutes=settings.SESSION_IDLE_MINUTES),
        signed_on_at__gt=now - datetime.timedelta(hours=settings.SESSION_HOURS),
    ).order_by("-seen_at")


def remove_expired_sessions() -> int:
    """Forget sessions that are over, and return how many there were."""
    removed, _ = StaffSession.objects.filter(expire_date__lt=timezone.now()).delete()
    return removed


def _moment(data: Any, name: str) -> datetime.datetime | None:
    text = data.get(name)
    return datetime.datetime.fromisoformat(text) if text else None
