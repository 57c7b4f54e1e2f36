"""Gives each request an id and says who is acting in it."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import structlog
from django.http import HttpRequest, HttpResponse

from audit.address import client_address
from audit.context import SYSTEM, Actor, acting, ascribe


class RequestContextMiddleware:
    """Binds the request's id to its log lines, its audit events and its answer (`X-Request-Id`).

    The id is ours: one that a caller sends could be chosen to look like another's.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request_id = uuid.uuid4().hex
        address = client_address(request.META)
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            with acting(SYSTEM, request_id=request_id, address=address):
                response = self.get_response(request)
            response.headers["X-Request-Id"] = request_id
        return response

    def process_view(self, request: HttpRequest, *_: object) -> None:
        """Sign-on has run by now: the request's remaining life belongs to its user."""
        user = getattr(request, "user", None)
        if user is not None and user.is_authenticated:
            ascribe(Actor(kind="user", id=str(user.pk), name=user.get_username()))
