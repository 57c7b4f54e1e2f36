"""Errors of the API, each as `application/problem+json` (RFC 9457) that says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Final

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import exception_handler

from apiauth.rate_limit import tell_standing
from apiauth.rendering import json_bytes
from audit.context import current_context

MEDIA_TYPE: Final = "application/problem+json"

# What the framework says in a word or two, in words that say what to do.
_WORDS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (Http404, "There is nothing at this address, or nothing that you may see."),
    (
        exceptions.ValidationError,
        "Something in the request is not as it should be: `errors` names each field.",
    ),
    (
        exceptions.NotAuthenticated,
        "Send a token: Authorization: Bearer TOKEN. /oauth/token/ gives one for a client id and secret.",
    ),
    (exceptions.MethodNotAllowed, "This address does not take that method: `Allow` names those it takes."),
    (exceptions.NotAcceptable, "Send Accept: application/json, or no Accept header: there is no other form."),
    (exceptions.ParseError, "The body is not the JSON that it says to be."),
    (exceptions.UnsupportedMediaType, "Send the body as JSON, with Content-Type: application/json."),
)


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


def problem_response(request: HttpRequest, status: int, detail: str) -> HttpResponse:
    """A problem where no view answered; it says how the consumer stands, if one had proved who it is by then."""
    answer = HttpResponse(json_bytes(problem(status, detail)), status=status, content_type=MEDIA_TYPE)
    tell_standing(answer, request.META)
    return answer


def _detail(error: Exception) -> str:
    for kind, words in _WORDS:
        if isinstance(error, kind):
            return words
    if isinstance(error, (PermissionDenied, exceptions.APIException)):
        return str(getattr(error, "detail", error))
    return ""


def _fields(error: Exception) -> dict[str, Any]:
    if not isinstance(error, exceptions.ValidationError):
        return {}
    detail = error.detail if isinstance(error.detail, dict) else {"request": error.detail}
    return {"errors": {str(name): list(_texts(part)) for name, part in detail.items()}}


def _texts(detail: Any) -> Iterator[str]:
    """What is wrong with one field, as a list of sentences, also where the field is a list itself."""
    if isinstance(detail, dict):
        for place, part in detail.items():
            yield from (f"At place {place}: {text}" for text in _texts(part))
    elif isinstance(detail, list | tuple):
        for part in detail:
            yield from _texts(part)
    else:
        yield str(detail)
