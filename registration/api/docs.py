"""The API's document, and the page that shows it: for consumers with a token, and for staff who are signed in."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar, Final

from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from drf_spectacular.generators import SchemaGenerator
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from apiauth.authentication import BearerAuthentication
from apiauth.bearer import Caller
from apiauth.rendering import JsonRenderer, json_bytes
from apiauth.scopes import SCOPES
from apiauth.views import ConsumerView
from registration.api.document import SCHEME
from registration.api.lists.answers import answer_with


class IsConsumerOrStaff(BasePermission):
    """A consumer, whatever its scopes: what there is to ask for is no secret to whoever may ask. Or a member of staff."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return isinstance(request.user, Caller) or bool(getattr(request.user, "is_staff", False))


class HtmlRenderer(BaseRenderer):
    """Stands for `Accept: text/html`; the view writes the page itself. Errors are JSON."""

    media_type = "text/html"
    format = "html"
    charset = None

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None
    ) -> bytes:
        return JsonRenderer().render(data)


class ReaderView(ConsumerView):
    """A view for consumers and staff."""

    authentication_classes = (BearerAuthentication, SessionAuthentication)
    permission_classes = (IsConsumerOrStaff,)
    required_scopes: ClassVar[Mapping[str, str]] = {}


class ApiDocument(ReaderView):
    """The OpenAPI document of this API."""

    def get(self, request: Request) -> HttpResponse:
        return answer_with(request, json_bytes(document()), content_type="application/json")


class ApiDocs(ReaderView):
    """The document as a page, on which each operation can be tried."""

    renderer_classes = (HtmlRenderer, JsonRenderer)

    def get(self, request: Request) -> HttpResponse:
        return render(request._request, "api/docs.html")  # noqa: SLF001  Django renders for its own request

    def handle_exception(self, exc: Exception) -> HttpResponseBase:  # type: ignore[override]
        """A person who has not signed in yet is asked to; a program is told what to send."""
        headers = self.request.headers
        user: Any = self.request.user  # nobody is None here (UNAUTHENTICATED_USER)
        if user is None and "Authorization" not in headers and "text/html" in headers.get("Accept", ""):
            return redirect(f"{reverse('admin:login')}?next={self.request.path}")
        return super().handle_exception(exc)


_FLOW: Final = {
    "type": "oauth2",
    "flows": {
        "clientCredentials": {
            "tokenUrl": "/oauth/token/",
            "scopes": {name: scope.words for name, scope in SCOPES.items()},
        }
    },
}


@cache
def document() -> dict[str, Any]:
    """The document of this version, made once for a process."""
    made: dict[str, Any] = SchemaGenerator().get_schema(  # type: ignore[no-untyped-call]
        request=None, public=True
    )
    made["components"]["securitySchemes"] = {SCHEME: _FLOW}
    return made
