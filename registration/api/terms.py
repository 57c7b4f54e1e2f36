"""Terms, for partners."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

from registration.api.lists.fields import Field, Filter, Kind, Resource
from registration.api.lists.views import ItemView, ListView

TERMS: Final = Resource(
    name="terms",
    one="term",
    source="registration_term term",
    key="code",
    order="-starts_on",
    fields=(
        Field(
            "code",
            "term.code",
            Kind.TEXT,
            "What the term is called everywhere",
            is_orderable=True,
            example="2026FA",
        ),
        Field("name", "term.name", Kind.TEXT, "Its name for people", is_searchable=True, example="Fall 2026"),
        Field(
            "starts_on", "term.starts_on", Kind.DATE, "Its first day", is_orderable=True, example="2026-08-24"
        ),
        Field("ends_on", "term.ends_on", Kind.DATE, "Its last day", example="2026-12-18"),
        Field(
            "census_on",
            "term.census_on",
            Kind.DATE,
            "The last day on which fees follow a change",
            example="2026-09-11",
        ),
        Field(
            "is_current",
            "term.is_current",
            Kind.BOOLEAN,
            "Whether it is the current one",
            is_filterable=True,
            example=True,
        ),
    ),
    more_filters=(
        Filter(
            "ends_from",
            "term.ends_on >= %s",
            Kind.DATE,
            "Terms that end on this day or later",
            example="2026-11-27",
        ),
        Filter(
            "starts_until",
            "term.starts_on <= %s",
            Kind.DATE,
            "Terms that start on this day or earlier",
            example="2026-11-27",
        ),
    ),
)


class TermList(ListView):
    """Terms, the newest first."""

    resource = TERMS
    required_scopes: ClassVar[Mapping[str, str]] = {"GET": "calendar:read"}


class TermDetail(ItemView):
    """One term by its code."""

    resource = TERMS
    found_by = "code"
    required_scopes: ClassVar[Mapping[str, str]] = {"GET": "calendar:read"}
