"""`/oauth/token/`, `/oauth/revoke_token/`, `/oauth/introspect/`: a form in, JSON out, whatever happens.

What each means is RFC 6749 (4.4), RFC 7009 and RFC 7662; oauthlib's server knows. Here is what it leaves to the web: that the
form is a form, and that every answer is JSON that nobody stores.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

import orjson
import structlog
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from oauth2_provider.settings import oauth2_settings
from oauthlib.oauth2 import BackendApplicationServer

from apiauth.oauth.errors import InvalidRequestError, OAuth2Error
from apiauth.refusals import Kind, record_refusal

log = structlog.get_logger(__name__)

FORM: Final = "application/x-www-form-urlencoded"
MAX_BODY_BYTES: Final = 16_384
BAD_REQUEST: Final = 400
# What oauthlib says by its code alone, in words that say what to do.
WORDS: Final = {
    "unsupported_grant_type": "The one grant here is client_credentials.",
    "invalid_scope": "A scope was asked for that this consumer is not granted. Ask for none to get all that it has.",
}

# What oauthlib answers: headers, body, status.
Answer = tuple[dict[str, str], str, int]
Endpoint = Callable[..., Answer]


@csrf_exempt
def token(request: HttpRequest) -> HttpResponse:
    """Give a consumer that proves who it is a token for an hour."""
    return _respond(request, "token.refused", server().create_token_response)


@csrf_exempt
def revoke_token(request: HttpRequest) -> HttpResponse:
    """End a token before its hour is over; 200 also for one that is not there (RFC 7009, 2.2)."""
    return _respond(request, "token.revocation_refused", server().create_revocation_response)


@csrf_exempt
def introspect(request: HttpRequest) -> HttpResponse:
    """Tell a consumer how a token of its own stands."""
    return _respond(request, "token.introspection_refused", server().create_introspect_response)


@cache
def server() -> BackendApplicationServer:
    """The server that all requests of this process share: it keeps nothing of any of them."""
    return BackendApplicationServer(
        oauth2_settings.OAUTH2_VALIDATOR_CLASS(),
        token_generator=oauth2_settings.ACCESS_TOKEN_GENERATOR,
        token_expires_in=oauth2_settings.ACCESS_TOKEN_EXPIRE_SECONDS,
    )


def json_answer(content: Any, status: int, headers: dict[str, str] | None = None) -> HttpResponse:
    """JSON that no cache keeps (RFC 6749, 5.1)."""
    body = content if isinstance(content, (str, bytes)) else orjson.dumps(content)
    response = HttpResponse(body, status=status, content_type="application/json")
    for name, value in {**(headers or {}), "Cache-Control": "no-store", "Pragma": "no-cache"}.items():
        response.headers[name] = value
    response.headers["Content-Type"] = "application/json"
    return response


def _respond(request: HttpRequest, refused: str, endpoint: Endpoint) -> HttpResponse:
    if request.method != "POST":
        fault = {"error": "invalid_request", "error_description": "Use POST."}
        return json_answer(fault, 405, {"Allow": "POST"})
    try:
        headers, body, status = _asked(request, endpoint)
    except OAuth2Error as error:
        headers, body, status = error.headers, error.json, error.status_code
    # Whatever it is, a partner's program must be able to read that it failed; what it was is in the log.
    except Exception:
        log.exception("oauth.failed", path=request.path)
        return json_answer(
            {"error": "server_error", "error_description": "This is our fault. Try again later."}, 500
        )
    if status != BAD_REQUEST:
        return json_answer(body, status, headers)
    fault = orjson.loads(body)
    # A scope that was not granted is on the trail already, with the consumer that asked for it.
    if fault["error"] != "invalid_scope":
        record_refusal(refused, Kind.MALFORMED, error=fault["error"])
    return json_answer({"error_description": WORDS.get(fault["error"], ""), **fault}, status, headers)


def _asked(request: HttpRequest, endpoint: Endpoint) -> Answer:
    """Hand the form to oauthlib's server, once it is one."""
    body = _form(request)
    headers = {"Authorization": request.headers.get("Authorization", "")}
    return endpoint(request.path, "POST", body, headers)


def _form(request: HttpRequest) -> str:
    """The body of the request. Raises InvalidRequestError for what is no form or says something twice."""
    if request.META.get("QUERY_STRING"):
        raise InvalidRequestError("Send parameters in the body: what is in an address ends up in logs.")
    if request.content_type != FORM:
        raise InvalidRequestError(f"Send the parameters as {FORM}.")
    if _announced_bytes(request) > MAX_BODY_BYTES:
        raise InvalidRequestError(f"The body is longer than {MAX_BODY_BYTES:,} bytes.")
    try:
        body = request.read(MAX_BODY_BYTES + 1).decode("ascii")
    except (UnicodeDecodeError, OSError):
        raise InvalidRequestError("The body is no form: encode it as the URL Standard says.") from None
    given = parse_qsl(body)  # without parameters that have no value: those count as left out (RFC 6749, 3.2)
    repeated = [name for name, times in Counter(name for name, _ in given).items() if times > 1]
    if repeated:
        raise InvalidRequestError("A parameter is there twice.")
    # There is one type of token, so that a hint at another would only keep it from being found (RFC 7009, 2.1).
    return urlencode([(name, value) for name, value in given if name != "token_type_hint"])


def _announced_bytes(request: HttpRequest) -> int:
    """How long the body says to be; 0 where it says nothing that is a number, as Django reads it too."""
    try:
        return int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        return 0
