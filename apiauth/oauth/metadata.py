"""`/.well-known/oauth-authorization-server`: what this server can do, for programs (RFC 8414)."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from apiauth.scopes import SCOPES

CLIENT_AUTHENTICATION = ["client_secret_basic", "client_secret_post"]


@require_safe
def metadata(request: HttpRequest) -> JsonResponse:
    """Where each endpoint is. The addresses are of BASE_URL and never of the request, whose Host the caller chooses."""
    return JsonResponse(
        {
            "issuer": settings.BASE_URL,
            "token_endpoint": _address("token"),
            "token_endpoint_auth_methods_supported": CLIENT_AUTHENTICATION,
            "revocation_endpoint": _address("revoke_token"),
            "revocation_endpoint_auth_methods_supported": CLIENT_AUTHENTICATION,
            "introspection_endpoint": _address("introspect"),
            "introspection_endpoint_auth_methods_supported": CLIENT_AUTHENTICATION,
            "grant_types_supported": ["client_credentials"],
            "response_types_supported": [],  # none: there is no authorization endpoint
            "scopes_supported": list(SCOPES),
        },
        headers={"Cache-Control": "max-age=3600"},
    )


def _address(name: str) -> str:
    return f"{settings.BASE_URL}{reverse(f'oauth:{name}')}"
