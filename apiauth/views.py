"""What every view of the API is: its callers prove who they are before anything else, are counted, and are told how they
stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, cast

from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apiauth.rate_limit import tell_standing
from apiauth.statements import Row, Statement

MAX_BODY_BYTES: Final = 65_536


class BodyTooLarge(APIException):
    """413: what no request of this API needs is not read."""

    status_code = 413

    def __init__(self, most: int) -> None:
        super().__init__(f"The body is longer than {most:,} bytes: send less, or in several requests.")


class ConsumerView(APIView):
    """A view for consumers. `required_scopes` says which scope each method needs (apiauth/permissions.py)."""

    required_scopes: ClassVar[Mapping[str, str]] = {}
    max_body_bytes: ClassVar[int] = MAX_BODY_BYTES

    def beside(self) -> Statement | None:
        """What to read by the statement that finds the caller (apiauth/bearer.py); it is `found` afterwards."""
        return None

    @property
    def found(self) -> Row:
        """The row that was read by the statement which found the caller."""
        return cast("Row", self.request.auth)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Who calls is asked before what is asked for: every authenticated request counts, also one that goes wrong."""
        self.perform_authentication(request)
        self.check_permissions(request)
        if int(request.META.get("CONTENT_LENGTH") or 0) > self.max_body_bytes:
            raise BodyTooLarge(self.max_body_bytes)
        self.format_kwarg = self.get_format_suffix(**kwargs)
        accepted = self.perform_content_negotiation(request)
        request.accepted_renderer, request.accepted_media_type = accepted

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        final = super().finalize_response(request, response, *args, **kwargs)
        tell_standing(final, request.META)
        return final
