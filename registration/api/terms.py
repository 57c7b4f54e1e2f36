"""Terms, for partners."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from django.http import Http404
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from registration.models import Term

FIELDS: Final = ("code", "name", "starts_on", "ends_on", "census_on", "is_current")


class TermList(APIView):
    """Every term, the newest first."""

    required_scopes: ClassVar[Mapping[str, str]] = {"GET": "calendar:read"}

    def get(self, request: Request) -> Response:
        return Response({"results": [_shown(term) for term in Term.objects.all()]})


class TermDetail(APIView):
    """One term by its code."""

    required_scopes: ClassVar[Mapping[str, str]] = {"GET": "calendar:read"}

    def get(self, request: Request, code: str) -> Response:
        term = Term.objects.filter(code=code).first()
        if term is None:
            raise Http404
        return Response(_shown(term))


def _shown(term: Term) -> dict[str, Any]:
    return {name: getattr(term, name) for name in FIELDS}
