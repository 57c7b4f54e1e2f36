"""What is answered where no view was reached: pages for people, JSON for programs."""

from __future__ import annotations

from typing import Final

from django.http import HttpRequest, HttpResponse
from django.views import defaults

from apiauth.oauth.endpoints import json_answer
from apiauth.problems import problem_response

DETAILS: Final = {
    400: "The request is not one that this server understands: check its address and headers.",
    403: "You may not do this: ask the registrar's office if you should.",
    404: "There is nothing at this address: /api/v1/docs/ shows what there is, and "
    "/.well-known/oauth-authorization-server where keys are used.",
    500: "This is our fault. Try again later; if it stays, tell us the request_id.",
}
OAUTH_CODES: Final = {
    400: "invalid_request",
    403: "access_denied",
    404: "invalid_request",
    500: "server_error",
}


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _for_programs(request, 400) or defaults.bad_request(request, exception)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _for_programs(request, 403) or defaults.permission_denied(request, exception)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _for_programs(request, 404) or defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    return _for_programs(request, 500) or defaults.server_error(request)


def _for_programs(request: HttpRequest, status: int) -> HttpResponse | None:
    """The answer below the addresses that only programs call; None elsewhere."""
    if request.path.startswith("/api/"):
        return problem_response(request, status, DETAILS[status])
    if request.path.startswith(("/oauth/", "/.well-known/")):
        return json_answer({"error": OAUTH_CODES[status], "error_description": DETAILS[status]}, status)
    return None
