"""Each endpoint names the scope that it needs, from the one table; one that names none opens to nobody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Never, Protocol

from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from apiauth.authentication import CHALLENGE
from apiauth.bearer import Caller
from apiauth.models import Consumer
from apiauth.refusals import Kind, record_refusal
from apiauth.scopes import SCOPES


class ScopedView(Protocol):
    """A view that says which scope each of its methods needs."""

    required_scopes: ClassVar[Mapping[str, str]]


class InsufficientScope(PermissionDenied):
    """403 with the scope that is missing, for programs too (RFC 6750, 3.1)."""

    def __init__(self, scope: str) -> None:
        super().__init__(
            f"This needs the scope {scope} ({SCOPES[scope].words.lower()}), which this token does not have."
        )
        self.challenge = f'{CHALLENGE}, error="insufficient_scope", scope="{scope}"'


class HasRequiredScope(BasePermission):
    """Whether the caller's token has the scope that the view's method needs."""

    def has_permission(self, request: Request, view: Any) -> bool:
        caller = request.user
        if not isinstance(caller, Caller):
            return False  # which the framework answers with 401
        method = request.method or ""
        if not hasattr(view, method.lower()):
            return True  # which the framework answers with 405
        scope = required_scope(view, method)
        if scope and scope not in caller.scopes:
            refuse_scope(caller, scope)
        return bool(scope)


def refuse_scope(caller: Caller, scope: str) -> Never:
    """Raises InsufficientScope, with the refusal on the trail."""
    record_refusal(
        "bearer.refused", Kind.SCOPE, Consumer(pk=caller.consumer_id, name=caller.name), scope=scope
    )
    raise InsufficientScope(scope)


def required_scope(view: ScopedView, method: str) -> str:
    """The scope that a method of a view needs; HEAD and OPTIONS need what GET does. Empty where the view names none."""
    scopes = getattr(view, "required_scopes", {})
    return str(scopes.get("GET" if method in ("HEAD", "OPTIONS") else method, ""))
