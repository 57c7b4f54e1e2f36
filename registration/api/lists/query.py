"""What a caller asks of a list: parameters, each known and each checked, before anything is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import orjson
from django.http import QueryDict
from rest_framework.exceptions import ValidationError

from registration.api.lists.cursors import Position, position_of
from registration.api.lists.fields import Filter, Kind, Resource, parsed

Value = TypeVar("Value")

DEFAULT_PAGE_SIZE: Final = 100
MAX_PAGE_SIZE: Final = 500
MAX_WORDS: Final = 8

_NO_WORDS: Final[tuple[str, ...]] = ()
FIELDS, SEARCH, ORDERING, PAGE_SIZE, CURSOR = "fields", "search", "ordering", "page_size", "cursor"


@dataclass(frozen=True)
class Ordering:
    """The field that a list is in the order of."""

    name: str
    is_descending: bool

    @property
    def words(self) -> str:
        return f"-{self.name}" if self.is_descending else self.name


@dataclass(frozen=True)
class Query:
    """What is asked of a resource. `question` stands for everything that decides which rows there are, in which order."""

    fields: tuple[str, ...]
    filters: tuple[tuple[Filter, object], ...]
    words: tuple[str, ...]
    ordering: Ordering
    page_size: int
    position: Position | None
    question: bytes


class Parameters:
    """The parameters of one request, and what is wrong with them: all of it, so that nobody has to find it piece by piece."""

    def __init__(self, given: QueryDict, known: Sequence[str]) -> None:
        self.faults: dict[str, list[str]] = {}
        self._given = given
        for name in given:
            if name not in known:
                self.faults[name] = [f"There is no such parameter here. Known: {', '.join(known)}."]
            elif len(given.getlist(name)) > 1:
                self.faults[name] = ["This parameter is there twice."]

    def names(self, among: dict[str, Filter]) -> list[str]:
        """Which of some parameters are given."""
        return [name for name in among if name in self._given]

    def read(self, name: str, parse: Callable[[str], Value], missing: Value) -> Value:
        """The value of a parameter; `missing` where it is not given, and where it is wrong, which is kept as a fault."""
        if name not in self._given or name in self.faults:
            return missing
        try:
            return parse(str(self._given[name]))
        except ValueError as error:
            self.faults[name] = [str(error)]
            return missing

    def refuse_faults(self) -> None:
        """Raises ValidationError that names each parameter which is wrong."""
        if self.faults:
            raise ValidationError(self.faults)


def known_parameters(resource: Resource) -> list[str]:
    """Every parameter that the list of a resource takes."""
    search = [SEARCH] if resource.searchable else []
    return [*resource.filters, *search, ORDERING, FIELDS, PAGE_SIZE, CURSOR]


def query_of(resource: Resource, given: QueryDict) -> Query:
    """What parameters ask of the list of a resource. Raises ValidationError that names each one which is wrong."""
    parameters = Parameters(given, known_parameters(resource))
    filters = _filters(resource.filters, parameters)
    words = parameters.read(SEARCH, _words, _NO_WORDS)
    ordering = parameters.read(ORDERING, lambda text: _ordering(resource, text), _default_ordering(resource))
    question = orjson.dumps(
        [resource.name, ordering.words, [[each.name, str(value)] for each, value in filters], words]
    )
    query = Query(
        fields=parameters.read(FIELDS, lambda text: _fields(resource, text), tuple(resource.by_name)),
        filters=filters,
        words=words,
        ordering=ordering,
        page_size=parameters.read(PAGE_SIZE, _page_size, DEFAULT_PAGE_SIZE),
        position=parameters.read(CURSOR, lambda text: position_of(text, question), None),
        question=question,
    )
    parameters.refuse_faults()
    return query


def fields_of(resource: Resource, given: QueryDict) -> tuple[str, ...]:
    """Which fields are asked for of one row. Raises ValidationError that names each parameter which is wrong."""
    fields, _ = item_query_of(resource, given, ())
    return fields


def item_query_of(
    resource: Resource, given: QueryDict, narrowed_by: Sequence[Filter]
) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Which fields are asked for of one row, and what narrows it further, by the name of the filter. As above."""
    known = {each.name: each for each in narrowed_by}
    parameters = Parameters(given, [*known, FIELDS])
    fields = parameters.read(FIELDS, lambda text: _fields(resource, text), tuple(resource.by_name))
    filters = {each.name: value for each, value in _filters(known, parameters)}
    parameters.refuse_faults()
    return fields, filters


def _filters(known: dict[str, Filter], parameters: Parameters) -> tuple[tuple[Filter, object], ...]:
    def value(each: Filter) -> object:
        return parameters.read(each.name, lambda text: _one_of(each.values, parsed(text, each.kind)), None)

    return tuple((known[name], value(known[name])) for name in parameters.names(known))


def _one_of(values: Sequence[str], value: object) -> object:
    if values and value not in values:
        raise ValueError(f"Write {' or '.join(values)}.")
    return value


def _words(text: str) -> tuple[str, ...]:
    words = tuple(str(parsed(text, Kind.TEXT)).split())
    if not words:
        raise ValueError("Write what to look for.")
    if len(words) > MAX_WORDS:
        raise ValueError(f"These are more than {MAX_WORDS} words.")
    return words


def _ordering(resource: Resource, text: str) -> Ordering:
    name = text.removeprefix("-")
    if name not in resource.orderable:
        raise ValueError(
            f"Order by one of {', '.join(resource.orderable)}; with - before it for the other direction."
        )
    return Ordering(name, is_descending=text.startswith("-"))


def _default_ordering(resource: Resource) -> Ordering:
    return Ordering(resource.order.removeprefix("-"), is_descending=resource.order.startswith("-"))


def _fields(resource: Resource, text: str) -> tuple[str, ...]:
    """In the resource's own order, whatever order they were asked for in."""
    asked = text.split(",")
    unknown = [name for name in asked if name not in resource.by_name]
    if unknown:
        raise ValueError(
            f"There is no field {', '.join(name[:40] for name in unknown)}. Known: {', '.join(resource.by_name)}."
        )
    return tuple(name for name in resource.by_name if name in asked)


def _page_size(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 9 and 1 <= int(text) <= MAX_PAGE_SIZE):  # noqa: PLR2004
        raise ValueError(f"Write a whole number from 1 to {MAX_PAGE_SIZE}.")
    return int(text)
