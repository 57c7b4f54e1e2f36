"""What a consumer may be allowed to do: the one table of scopes, and what each says to people."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from oauth2_provider.scopes import BaseScopes


@dataclass(frozen=True)
class Scope:
    """A scope as people read it. `about_students`: it shows what is true about students, so that a grant of students is
    needed beside it. `example`: an address that it opens, whatever there is, for the snippets that a new consumer is shown; empty
    where there is none yet, or where it takes a student's number."""

    words: str
    about_students: bool = False
    example: str = ""


SCOPES: Final[dict[str, Scope]] = {
    "catalogue:read": Scope("Read the course catalogue", example="/api/v1/courses/"),
    "sections:read": Scope("Read sections and how many seats are taken", example="/api/v1/sections/"),
    "enrollment:read": Scope(
        "Read the enrollment status of the students it may see",
        about_students=True,
        example="/api/v1/enrollment-statuses/",
    ),
    "calendar:read": Scope("Read terms and their calendar", example="/api/v1/terms/"),
    "billing:read": Scope("Read the balance of the students it may see", about_students=True),
    "webhooks:manage": Scope(
        "Subscribe to webhooks and end subscriptions", example="/api/v1/webhook-subscriptions/"
    ),
    "integrations:read": Scope("Read connections and their runs"),
    "integrations:manage": Scope("Change connections, and start and decide about runs"),
}


def scopes_in(text: str) -> list[str]:
    """The scopes that a text names, separated by white space (RFC 6749, 3.3), each once, in the table's order."""
    named = set(text.split())
    return [scope for scope in SCOPES if scope in named]


def unknown_scopes(text: str) -> list[str]:
    """What a text names that is no scope."""
    return [name for name in text.split() if name not in SCOPES]


def scope_text(scopes: Iterable[str]) -> str:
    """Scopes as they are kept and sent: in the table's order, separated by a space."""
    return " ".join(scopes_in(" ".join(scopes)))


class GrantedScopes(BaseScopes):  # type: ignore[misc]
    """What django-oauth-toolkit asks for scopes: a consumer has those granted to it. Out of the box everyone has all."""

    def get_all_scopes(self) -> dict[str, str]:
        return {name: scope.words for name, scope in SCOPES.items()}

    def get_available_scopes(
        self, application: Any = None, request: Any = None, *args: Any, **kwargs: Any
    ) -> list[str]:
        return application.scopes if application is not None else []

    def get_default_scopes(
        self, application: Any = None, request: Any = None, *args: Any, **kwargs: Any
    ) -> list[str]:
        return self.get_available_scopes(application, request)
