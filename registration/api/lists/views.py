"""The doors of a resource: its list and one row of it, each one statement with the caller's token in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar
from urllib.parse import urlencode

import orjson
from django.conf import settings
from django.http import Http404, HttpResponse
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from apiauth.statements import Statement
from apiauth.views import ConsumerView
from registration.api.lists.answers import answer
from registration.api.lists.cursors import Position, cursor_of
from registration.api.lists.deprecation import Deprecation, headers_of
from registration.api.lists.fields import Filter, Resource, parsed
from registration.api.lists.query import CURSOR, FIELDS, Query, fields_of, query_of
from registration.api.lists.sql import Condition, Page, item_statement, page_of, page_statement

READING = frozenset({"GET", "HEAD"})


class ResourceView(ConsumerView):
    """What a list and a row have in common. A subclass says what is read, and `limits` of what. A list is narrowed by the
    filters of its resource; anything else by what `narrowed_by` names."""

    resource: ClassVar[Resource]
    narrowed_by: ClassVar[tuple[Filter, ...]] = ()
    deprecation: ClassVar[Deprecation | None] = None
    fault: ValidationError | Http404 | None = None

    def beside(self) -> Statement | None:
        """What the request asks for; nothing when it asks for what cannot be, which it is told once it is known who asks."""
        if self.request.method not in READING:
            return None
        try:
            return self.reading()
        except (ValidationError, Http404) as fault:
            self.fault = fault
            return None

    def reading(self) -> Statement:
        """The statement that reads what is asked for. Raises ValidationError, or Http404 for what cannot be there."""
        raise NotImplementedError

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        final = super().finalize_response(request, response, *args, **kwargs)
        for name, value in headers_of(self._deprecations()).items():
            final.headers[name] = value
        return final

    def _deprecations(self) -> Iterator[Deprecation]:
        """Of the view itself, and of the fields that are asked for."""
        asked = (
            self.request.GET.get(FIELDS, "").split(",")
            if FIELDS in self.request.GET
            else self.resource.by_name
        )
        fields = [field.deprecation for field in self.resource.fields if field.name in asked]
        yield from (each for each in (self.deprecation, *fields) if each)

    def refuse_fault(self) -> None:
        """Raises what is wrong with the request."""
        if self.fault:
            raise self.fault

    def limits(self) -> Iterable[Condition]:
        """What the caller may see at all; conditions may refer to the table `caller` and its consumer_id."""
        return ()


class ListView(ResourceView):
    """A page of a resource."""

    query: Query

    def reading(self) -> Statement:
        self.query = query_of(self.resource, self.request.GET)
        return page_statement(self.resource, self.query, *self.limits())

    def page(self) -> Page:
        """The page that was read."""
        return page_of(self.found, self.query)

    def get(self, request: Request, **kwargs: Any) -> HttpResponse:
        self.refuse_fault()
        page = self.page()
        links = self._link(page.following, is_forward=True), self._link(page.preceding, is_forward=False)
        return answer(
            request, b'{"next":%b,"previous":%b,"results":[%b]}' % (*links, ",".join(page.items).encode())
        )

    def _link(self, keys: tuple[object, ...] | None, *, is_forward: bool) -> bytes:
        """The address of the page on one side of a row, as JSON. It is of BASE_URL: a caller chooses its Host header."""
        if keys is None:
            return b"null"
        cursor = cursor_of(Position(keys, is_forward), self.query.question)
        kept = [(name, value) for name, value in self.request.GET.items() if name != CURSOR]
        return orjson.dumps(f"{settings.BASE_URL}{self.request.path}?{urlencode([*kept, (CURSOR, cursor)])}")


class ItemView(ResourceView):
    """One row of a resource, found by the field `found_by`, whose value is in the address."""

    found_by: ClassVar[str]

    def reading(self) -> Statement:
        return self.item(fields_of(self.resource, self.request.GET))

    def item(self, fields: tuple[str, ...]) -> Statement:
        """The statement that reads some fields of the row. Raises Http404 for what cannot be its name."""
        key = self.resource.by_name[self.found_by]
        try:
            asked = (f"{key.sql} = %s", parsed(str(self.kwargs[self.found_by]), key.kind))
        except ValueError:
            raise Http404 from None
        return item_statement(self.resource, fields, asked, *self.limits())

    def get(self, request: Request, **kwargs: Any) -> HttpResponse:
        self.refuse_fault()
        (item,) = self.found
        if item is None:
            raise Http404
        return answer(request, item.encode())
