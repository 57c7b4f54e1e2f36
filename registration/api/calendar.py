"""The calendar of a term, for partners: as JSON, and as iCalendar for programs that keep people's calendars."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

import orjson
from django.conf import settings
from django.http import Http404, HttpResponse
from rest_framework.exceptions import NotAcceptable
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from apiauth.rendering import JsonRenderer
from apiauth.statements import Statement
from registration.api.lists.answers import answer_with
from registration.api.lists.fields import Field, Filter, Kind, Nested, Resource, list_of
from registration.api.lists.query import item_query_of
from registration.api.lists.views import ItemView
from registration.api.terms import TERMS
from registration.icalendar import MEDIA_TYPE, DayEvent, calendar_bytes
from registration.models.calendar import CalendarKind

EVENTS: Final = Nested(
    source="registration_calendarevent event",
    condition="event.term_id = term.id",
    order="event.starts_on, event.kind, event.id",
    fields=(
        Field("id", "event.id", Kind.INTEGER, "What the event keeps whatever is changed about it", example=7),
        Field(
            "kind",
            "event.kind",
            Kind.TEXT,
            "What it is",
            values=tuple(CalendarKind.values),
            example="holiday",
        ),
        Field("name", "event.name", Kind.TEXT, "Its name for people", example="Thanksgiving"),
        Field("starts_on", "event.starts_on", Kind.DATE, "Its first day", example="2026-11-26"),
        Field("ends_on", "event.ends_on", Kind.DATE, "Its last day", example="2026-11-27"),
        Field(
            "updated_at",
            "event.changed_at",
            Kind.INSTANT,
            "When it changed last",
            example="2026-06-01T08:30:00.000000Z",
        ),
    ),
)
CALENDAR: Final = Resource(
    name="calendar",
    one="calendar",
    source=TERMS.source,
    key="code",
    order="code",
    fields=(
        *TERMS.fields,
        Field(
            "updated_at",
            "term.changed_at",
            Kind.INSTANT,
            "When one of the term's own days changed last",
            example="2026-06-01T08:30:00.000000Z",
        ),
        list_of("events", "The days of its calendar, in order", EVENTS),
    ),
)
FORMAT: Final = Filter(
    "format",
    "",
    Kind.TEXT,
    "json or ics (iCalendar), for whoever cannot send an Accept header",
    values=("json", "ics"),
    example="json",
)
# Days that are columns of the term: what an event of each is called.
_OWN_DAYS: Final = {
    "starts_on": "{} begins",
    "census_on": "{}: census",
    "ends_on": "{} ends",
}


class CalendarRenderer(BaseRenderer):
    """Stands for `Accept: text/calendar`; the view writes the bytes itself."""

    media_type = MEDIA_TYPE
    format = "ics"
    charset = "utf-8"

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None
    ) -> bytes:
        """Errors are JSON whatever was asked for."""
        return JsonRenderer().render(data)


class TermCalendar(ItemView):
    """The days of a term's calendar.

    With `Accept: text/calendar` it is an iCalendar object (RFC 5545), with the term's first and last day and its census among
    the events.
    """

    resource = CALENDAR
    narrowed_by = (FORMAT,)
    found_by = "code"
    required_scopes: ClassVar[Mapping[str, str]] = {"GET": "calendar:read"}
    renderer_classes = (JsonRenderer, CalendarRenderer)
    is_icalendar = False
    format_kwarg = None  # negotiation asks for it, and here before the framework sets it

    def reading(self) -> Statement:
        fields, filters = item_query_of(self.resource, self.request.GET, self.narrowed_by)
        self.is_icalendar = (filters.get("format") or self._accepted()) == CalendarRenderer.format
        # Which fields there are in an iCalendar object is not the caller's to choose.
        return self.item(tuple(self.resource.by_name) if self.is_icalendar else fields)

    def _accepted(self) -> str:
        try:
            renderer, _ = self.perform_content_negotiation(self.request)
        except NotAcceptable:  # which the framework answers in its own time
            return ""
        return renderer.format

    def get(self, request: Request, **kwargs: Any) -> HttpResponse:
        if not self.is_icalendar:
            return super().get(request, **kwargs)
        self.refuse_fault()
        (item,) = self.found
        if item is None:
            raise Http404
        term = orjson.loads(item)
        return answer_with(
            request,
            calendar_bytes(term["name"], _events(term)),
            content_type=f"{MEDIA_TYPE}; charset=utf-8",
        )


def _events(term: dict[str, Any]) -> Iterator[DayEvent]:
    host = urlsplit(settings.BASE_URL).hostname
    for name, words in _OWN_DAYS.items():
        uid = f"term-{term['code']}-{name}@{host}"
        yield _event(uid, words.format(term["name"]), name, term[name], term[name], term["updated_at"])
    for each in term["events"]:
        uid = f"calendar-event-{each['id']}@{host}"
        yield _event(uid, each["name"], each["kind"], each["starts_on"], each["ends_on"], each["updated_at"])


def _event(uid: str, summary: str, category: str, starts_on: str, ends_on: str, changed_at: str) -> DayEvent:
    first, last = datetime.date.fromisoformat(starts_on), datetime.date.fromisoformat(ends_on)
    return DayEvent(uid, summary, category, first, last, datetime.datetime.fromisoformat(changed_at))
