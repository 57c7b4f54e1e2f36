"""Errors of the API, each as `application/problem+json` (RFC 9457) that says what to do."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, JsonResponse
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import exception_handler

from audit.context import current_context

MEDIA_TYPE: Final = "application/problem+json"


def as_problem(error: Exception, context: dict[str, Any]) -> Response | None:
    """What the REST framework answers to an exception; None for what nobody foresaw, which becomes a 500."""
    response = exception_handler(error, context)
    if response is None:
        return None
    if challenge := getattr(error, "challenge", ""):
        response.headers["WWW-Authenticate"] = challenge
    response.data = problem(response.status_code, _detail(error), **_fields(error))
    response.content_type = MEDIA_TYPE
    return response


def problem(status: int, detail: str, **members: Any) -> dict[str, Any]:
    """The members of a problem; `request_id` is what to name when asking about it."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        **members,
        "request_id": current_context().request_id,
    }


def problem_response(status: int, detail: str) -> HttpResponse:
    """A problem where no view of the framework was reached."""
    return JsonResponse(problem(status, detail), status=status, content_type=MEDIA_TYPE)


def _detail(error: Exception) -> str:
    if isinstance(error, Http404):
        return "There is nothing at this address, or nothing that you may see."
    if isinstance(error, exceptions.ValidationError):
        return "Something in the request is not as it should be: `errors` names each field."
    if isinstance(error, exceptions.NotAuthenticated):
        return (
            "Send a token: Authorization: Bearer TOKEN. /oauth/token/ gives one for a client id and secret."
        )
    if isinstance(error, (PermissionDenied, exceptions.APIException)):
        return str(getattr(error, "detail", error))
    return ""


def _fields(error: Exception) -> dict[str, Any]:
    return {"errors": error.detail} if isinstance(error, exceptions.ValidationError) else {}
