"""The one statement that answers a question: the database finds the rows, and writes them as JSON.

That the database writes the JSON is what makes a page cheap: Python hands bytes on, where it would make, convert and write
1,600 values for a page of 100 sections (docs/performance.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import orjson
from django.db import connection

from apiauth.statements import Row, Statement
from registration.api.lists.dialects import DIALECTS, Dialect
from registration.api.lists.fields import Field, Resource
from registration.api.lists.query import Ordering, Query

# Stands between items, and in no JSON.
_SEPARATOR: Final = "\x1e"

# A condition with one value, which stands wherever the condition has `%s`.
Condition = tuple[str, object]


@dataclass(frozen=True)
class Page:
    """The JSON of each row of a page, in the order that was asked for, and the keys of those beyond which there is more."""

    items: list[str]
    following: tuple[object, ...] | None
    preceding: tuple[object, ...] | None


@dataclass(frozen=True)
class _Shape:
    """What decides the text of a statement; values are apart."""

    fields: tuple[str, ...]
    conditions: tuple[str, ...]
    ordering: Ordering
    is_forward: bool
    page_size: int

    @property
    def direction(self) -> str:
        """In which rows are found: the other way round where a page lies before a position."""
        return "DESC" if self.ordering.is_descending == self.is_forward else "ASC"


def page_statement(resource: Resource, query: Query, *also: Condition) -> Statement:
    """The statement that reads the page which a query asks for, as a row that `page_of` takes.

    `also` says what the caller may see at all.
    """
    conditions = [*also, *((each.condition, value) for each, value in query.filters)]
    conditions += [(_search(resource), _pattern(word)) for word in query.words]
    texts, params = _apart(conditions)
    is_forward = query.position is None or query.position.is_forward
    if query.position is not None:
        texts += (_behind(resource, query.ordering, is_forward=is_forward),)
        params += query.position.keys
    shape = _Shape(query.fields, texts, query.ordering, is_forward, query.page_size)
    return Statement(_page_sql(resource, shape, connection.vendor), params)


def page_of(row: Row, query: Query) -> Page:
    """The page that was read. One row more than it has room for was looked for: it is there if there is another page on
    that side; on the other side there is one if the page was reached by a cursor."""
    items, listed = row
    found = list(zip(*orjson.loads(listed), strict=True)) if items is not None else []
    rows, keys = (items or "").split(_SEPARATOR)[: query.page_size], found[: query.page_size]
    if not keys:
        return Page([], None, None)
    beyond = keys[-1] if len(found) > query.page_size else None
    if query.position is None or query.position.is_forward:
        return Page(rows, beyond, keys[0] if query.position else None)
    return Page(rows[::-1], keys[0], beyond)


def item_statement(resource: Resource, fields: tuple[str, ...], *conditions: Condition) -> Statement:
    """The statement that reads one row as its JSON; NULL where there is none that meets the conditions."""
    texts, params = _apart(conditions)
    return Statement(_item_sql(resource, fields, texts, connection.vendor), params)


def _apart(conditions: Iterable[Condition]) -> tuple[tuple[str, ...], tuple[object, ...]]:
    """The texts of conditions, and their values in the order in which they stand there."""
    conditions = tuple(conditions)
    values = tuple(value for text, value in conditions for _ in range(text.count("%s")))
    return tuple(text for text, _ in conditions), values


# Texts are made once for each shape of question: there are few of them, and each is long.
@lru_cache(maxsize=512)
def _page_sql(resource: Resource, shape: _Shape, vendor: str) -> str:
    dialect, keys = DIALECTS[vendor], _keys(resource, shape.ordering)
    columns = [f"{resource.by_name[name].sql} AS key_{place}" for place, name in enumerate(keys)]
    columns += _columns(resource, shape.fields, dialect)
    order = ", ".join(f"key_{place} {shape.direction}" for place in range(len(keys)))
    listed = ", ".join(dialect.listed.format(f"found.key_{place}") for place in range(len(keys)))
    return (
        f"SELECT {dialect.joined.format(_item(resource, shape.fields, dialect))} AS items, "
        f"{dialect.list_of_keys.format(listed)} AS page_keys "
        f"FROM (SELECT {', '.join(columns)} FROM {resource.source} {_where(shape.conditions)} "
        f"ORDER BY {order} LIMIT {shape.page_size + 1}) found"
    )


@lru_cache(maxsize=512)
def _item_sql(resource: Resource, fields: tuple[str, ...], conditions: tuple[str, ...], vendor: str) -> str:
    dialect = DIALECTS[vendor]
    columns = ", ".join(_columns(resource, fields, dialect))
    return (
        f"SELECT {_item(resource, fields, dialect)} AS item "
        f"FROM (SELECT {columns} FROM {resource.source} {_where(conditions)} LIMIT 1) found"
    )


def _keys(resource: Resource, ordering: Ordering) -> tuple[str, ...]:
    """The fields that put the rows into one order and no other: the key makes a difference where the order makes none."""
    return (ordering.name,) if ordering.name == resource.key else (ordering.name, resource.key)


def _behind(resource: Resource, ordering: Ordering, *, is_forward: bool) -> str:
    """Further on than a row, compared as a whole, which is what an index is read by."""
    keys = _keys(resource, ordering)
    operator = "<" if ordering.is_descending == is_forward else ">"
    columns = ", ".join(resource.by_name[name].sql for name in keys)
    return f"({columns}) {operator} ({', '.join('%s' for _ in keys)})"


def _where(conditions: tuple[str, ...]) -> str:
    return f"WHERE {' AND '.join(conditions)}" if conditions else ""


def _search(resource: Resource) -> str:
    """A word stands in one of the searchable fields, in small or capital letters."""
    return "(" + " OR ".join(f"LOWER({each}) LIKE %s ESCAPE '!'" for each in resource.searchable) + ")"


def _pattern(word: str) -> str:
    escaped = word.lower().replace("!", "!!").replace("%", "!%").replace("_", "!_")
    return f"%{escaped}%"


def _columns(resource: Resource, fields: tuple[str, ...], dialect: Dialect) -> list[str]:
    """What is read for some fields: those that are columns, and those that others are made of."""
    asked = [resource.by_name[name] for name in fields]
    read = {name: None for field in asked for name in (field.of or (field.name,))}
    return [f'{_read(resource.by_name[name], dialect)} AS "{name}"' for name in read]


def _read(field: Field, dialect: Dialect) -> str:
    nested = field.nested
    if nested is None:
        return field.sql
    columns = ", ".join(f'{dialect.form(each.kind, each.sql)} AS "{each.name}"' for each in nested.fields)
    rows = f"SELECT {columns} FROM {nested.source} WHERE {nested.condition} ORDER BY {nested.order}"
    pairs = ", ".join(f"'{each.name}', \"{each.name}\"" for each in nested.fields)
    return dialect.nested.format(rows=rows, pairs=pairs)


def _item(resource: Resource, fields: tuple[str, ...], dialect: Dialect) -> str:
    """One row of `found` as the text of an object."""
    made = [resource.by_name[name] for name in fields]
    return dialect.object_of.format(
        ", ".join(
            f"'{each.name}', " + dialect.form(each.kind, each.sql if each.of else f'found."{each.name}"')
            for each in made
        )
    )
