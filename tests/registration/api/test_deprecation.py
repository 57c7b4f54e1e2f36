"""What will go says so in time, and only where it is."""

from __future__ import annotations

import datetime
from dataclasses import replace
from typing import Any

import pytest

from registration.api.lists.deprecation import Deprecation
from registration.api.terms import TERMS, TermList
from registration.models import Term

pytestmark = pytest.mark.django_db
GOING = Deprecation(
    datetime.datetime(2027, 1, 1, tzinfo=datetime.UTC), datetime.datetime(2027, 7, 1, tzinfo=datetime.UTC)
)
HEADERS = {"Deprecation": "@1798761600", "Sunset": "Thu, 01 Jul 2027 00:00:00 GMT"}


def told(answer: Any) -> dict[str, str]:
    return {name: answer[name] for name in HEADERS if name in answer}


def test_a_deprecated_field_is_told_of_where_it_is_sent(
    read: Any, catalogue: tuple[Term, Term], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told(read("/api/v1/terms/")) == {}
    fields = tuple(
        replace(field, deprecation=GOING) if field.name == "census_on" else field for field in TERMS.fields
    )
    monkeypatch.setattr(TermList, "resource", replace(TERMS, fields=fields))
    answer = read("/api/v1/terms/")
    assert told(answer) == HEADERS
    assert 'rel="deprecation"' in answer["Link"]
    assert told(read("/api/v1/terms/?fields=census_on")) == HEADERS
    assert told(read("/api/v1/terms/?fields=code")) == {}


def test_a_deprecated_address_is_told_of(
    read: Any, catalogue: tuple[Term, Term], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TermList, "deprecation", GOING)
    assert told(read("/api/v1/terms/?fields=code")) == HEADERS
    assert told(read("/api/v1/terms/2026FA/")) == {}
