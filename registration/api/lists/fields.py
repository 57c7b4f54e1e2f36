"""What a resource is: a table of fields over tables of ours.

Every piece of SQL here is written by us; what callers send arrives as parameters alone.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from functools import cached_property
from typing import Final

from django.utils.dateparse import parse_date, parse_datetime

from registration.api.lists.deprecation import Deprecation

MAX_TEXT: Final = 200
MAX_INTEGER: Final = 2**63 - 1


class Kind(Enum):
    """What a value is, in JSON and as a parameter."""

    TEXT = auto()
    INTEGER = auto()
    BOOLEAN = auto()
    DATE = auto()
    INSTANT = auto()  # UTC, to the microsecond
    TIME_OF_DAY = auto()  # where the institution is, to the minute
    DECIMAL = auto()  # two places, as a string
    MONEY = auto()  # as many places as the currency has, as a string
    JSON = auto()  # made by a statement


@dataclass(frozen=True)
class Field:
    """One field of an answer. `sql` is an expression over the resource's tables; where `of` names other fields, one over
    those, each as `found.NAME`; `nested` makes the field a list of objects instead. What is orderable is never NULL, and an
    index keeps its order."""

    name: str
    sql: str
    kind: Kind
    words: str
    is_filterable: bool = False
    is_orderable: bool = False
    is_searchable: bool = False
    of: tuple[str, ...] = ()
    nested: Nested | None = None
    # For the API's document: whether it may be null, which values there are (empty: any), and one that it may have.
    is_nullable: bool = False
    values: tuple[str, ...] = ()
    example: object = None
    deprecation: Deprecation | None = None


@dataclass(frozen=True)
class Nested:
    """The objects of a field: the rows of `source` for which `condition` holds."""

    source: str
    condition: str
    order: str
    fields: tuple[Field, ...]


def list_of(name: str, words: str, nested: Nested) -> Field:
    """A field that is a list of objects."""
    return Field(name, "", Kind.JSON, words, nested=nested)


@dataclass(frozen=True)
class Filter:
    """A parameter that narrows a list: a condition with one `%s`, for a value of `kind`."""

    name: str
    condition: str
    kind: Kind
    words: str
    values: tuple[str, ...] = ()
    example: object = None


@dataclass(frozen=True, eq=False)
class Resource:
    """What can be listed. `one` is what a row of it is called; `key` names a field that tells every row from every other;
    `order` the field that lists are in the order of, with `-` before it for the newest or largest first."""

    name: str
    one: str
    source: str
    key: str
    order: str
    fields: tuple[Field, ...]
    more_filters: tuple[Filter, ...] = ()

    @cached_property
    def by_name(self) -> dict[str, Field]:
        return {field.name: field for field in self.fields}

    @cached_property
    def filters(self) -> dict[str, Filter]:
        """Every parameter that narrows the list, by its name."""
        equal = [
            Filter(field.name, f"{field.sql} = %s", field.kind, field.words, example=field.example)
            for field in self.fields
            if field.is_filterable
        ]
        return {each.name: each for each in (*equal, *self.more_filters)}

    @cached_property
    def orderable(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.fields if field.is_orderable)

    @cached_property
    def searchable(self) -> tuple[str, ...]:
        """The expressions in which words are looked for."""
        return tuple(field.sql for field in self.fields if field.is_searchable)


# --- parameters -------------------------------------------------------------------------------------------


def parsed(text: str, kind: Kind) -> object:
    """The value that a caller wrote. Raises ValueError in words for what is none of the kind."""
    return _PARSERS[kind](text)


def _text(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise ValueError(f"This is longer than {MAX_TEXT} characters.")
    if "\0" in text:
        raise ValueError("A NUL character is in no value here.")
    return text


def _integer(text: str) -> int:
    if (
        not text.isascii()
        or not text.isdecimal()
        or int(text[:20]) > MAX_INTEGER
        or len(text) > len(str(MAX_INTEGER))
    ):
        raise ValueError("Write a whole number, such as 42.")
    return int(text)


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("Write true or false.")
    return text == "true"


def _date(text: str) -> datetime.date:
    try:
        found = parse_date(text)
    except ValueError:
        found = None
    if found is None or found.isoformat() != text:
        raise ValueError("Write a day of the calendar as YYYY-MM-DD, such as 2026-08-24.")
    return found


def _instant(text: str) -> datetime.datetime:
    try:
        found = parse_datetime(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise ValueError("Write a moment with its offset, such as 2026-11-27T10:00:00Z; send a + as %2B.")
    return found


_PARSERS: Final[dict[Kind, Callable[[str], object]]] = {
    Kind.TEXT: _text,
    Kind.INTEGER: _integer,
    Kind.BOOLEAN: _boolean,
    Kind.DATE: _date,
    Kind.INSTANT: _instant,
}
