"""Browsers that somebody has signed on with, known again by a signed cookie.

What slows down guessing must not lock a person out: whoever fails often enough under a name, from as many addresses as they
like, closes that name to browsers that nobody knows, and to no other (OWASP, "Slow Down Online Guessing Attacks with Device
Cookies"). The cookie opens nothing by itself; the password is asked for all the same.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse

COOKIE: Final = "known_browser"
COOKIE_DAYS: Final = 180
# How many people one browser is remembered for: those who signed on with it last.
MOST_PEOPLE: Final = 5
_SALT: Final = "apiauth.sign_on.browsers"
_DAY_SECONDS: Final = 86_400


@dataclass(frozen=True)
class KnownBrowser:
    """A browser by a random name, and the keys of the accounts that were signed on with it, the last one first."""

    name: str
    accounts: tuple[int, ...]


def browser_of(request: HttpRequest) -> KnownBrowser | None:
    """The browser that a request comes from; None where nobody has signed on with it, or its cookie is not ours."""
    try:
        kept = signing.loads(request.COOKIES.get(COOKIE, ""), salt=_SALT, max_age=COOKIE_DAYS * _DAY_SECONDS)
    except signing.BadSignature:
        return None
    return KnownBrowser(str(kept["name"]), tuple(kept["accounts"]))


def remember_browser(request: HttpRequest, answer: HttpResponse, account: int) -> None:
    """Let the browser that gets this answer be known as one that the account was signed on with."""
    known = browser_of(request) or KnownBrowser(secrets.token_urlsafe(16), ())
    accounts = [account, *(each for each in known.accounts if each != account)][:MOST_PEOPLE]
    answer.set_cookie(
        COOKIE,
        signing.dumps({"name": known.name, "accounts": accounts}, salt=_SALT),
        max_age=COOKIE_DAYS * _DAY_SECONDS,
        httponly=True,
        samesite="Lax",
        secure=settings.SESSION_COOKIE_SECURE,
    )
