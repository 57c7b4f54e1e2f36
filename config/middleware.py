"""Middleware that only pages need.

A program that calls the API or the OAuth endpoints has no session, no messages and no scripts that a policy would forbid; what
stands between it and its answer would be half of the answer's cost (docs/performance.md). What protects every answer
(SecurityMiddleware, the refusal to be framed, CSRF, which the API's views are exempt from by their own word) stays for all.
"""

from __future__ import annotations

from typing import Any, Final

from csp.middleware import CSPMiddleware as DjangoCsp
from django.contrib.auth.middleware import AuthenticationMiddleware as DjangoAuthentication
from django.contrib.messages.middleware import MessageMiddleware as DjangoMessages
from django.contrib.sessions.middleware import SessionMiddleware as DjangoSession
from django.http import HttpRequest
from whitenoise.middleware import WhiteNoiseMiddleware as WhiteNoise

FOR_PROGRAMS: Final = ("/api/", "/oauth/")
# Read by signed-in people too, in a browser.
PAGES_AMONG_THEM: Final = ("/api/v1/docs/", "/api/v1/openapi.json")


def is_for_programs(path: str) -> bool:
    """Whether only programs call an address."""
    return path.startswith(FOR_PROGRAMS) and not path.startswith(PAGES_AMONG_THEM)


class _ForPages:
    """Steps aside for programs."""

    get_response: Any

    def __call__(self, request: HttpRequest) -> Any:
        if is_for_programs(request.path_info):
            return self.get_response(request)
        return super().__call__(request)  # type: ignore[misc]  # of the middleware that this is mixed into


class SessionMiddleware(_ForPages, DjangoSession):
    """Django's, for pages."""


class AuthenticationMiddleware(_ForPages, DjangoAuthentication):
    """Django's, for pages."""


class MessageMiddleware(_ForPages, DjangoMessages):
    """Django's, for pages."""


class CspMiddleware(_ForPages, DjangoCsp):
    """django-csp's, for pages."""


class StaticFilesMiddleware(_ForPages, WhiteNoise):  # type: ignore[misc]  # without types
    """WhiteNoise's, for pages."""
