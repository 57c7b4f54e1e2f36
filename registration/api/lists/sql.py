"""The one statement that answers a question: the database finds the rows, and writes them as JSON.

    found    the rows of the page and one more, by the order's index, with the columns that were asked for
    shown    each as its JSON, numbered, with the values that a cursor needs
    the row  all of them as one text; how many there were; the values of the first and the last

That the database writes the JSON is what makes a page cheap: Python hands bytes on, where it would make, convert and write
1,600 objects for a page of 100 sections (docs/performance.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from django.db import connection

from apiauth.statements import Statement
from registration.api.lists.dialects import DIALECTS, Dialect
from registration.api.lists.fields import Field, Kind, Resource
from registration.api.lists.query import Ordering, Query

# A condition with one value, which stands wherever the condition has `%s`.
Condition = tuple[str, object]


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
    """The statement that reads the page which a query asks for, as one row: the items (their JSON, separated by commas; NULL
    for none), how many rows were found (one more than the page holds: there is another page), and the keys of the first and
    of the last that the page holds, as JSON.

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
    dialect = DIALECTS[vendor]
    keys = _keys(resource, shape.ordering)
    columns = ", ".join(
        [
            *(f"{resource.by_name[name].sql} AS key_{place}" for place, name in enumerate(keys)),
            *_columns(resource, shape.fields),
        ]
    )
    order = ", ".join(f"key_{place} {shape.direction}" for place in range(len(keys)))
    key = dialect.array_of.format(", ".join(f"found.key_{place}" for place in range(len(keys))))
    size, outward = shape.page_size, "ASC" if shape.is_forward else "DESC"
    return f"""
        SELECT {dialect.joined.format(direction=outward)} FILTER (WHERE place <= {size}) AS items, count(*) AS found,
            max(keys) FILTER (WHERE place = 1) AS first_keys, max(keys) FILTER (WHERE place = {size}) AS last_keys
        FROM (SELECT row_number() OVER (ORDER BY {order}) AS place, {key} AS keys,
                {_item(resource, shape.fields, dialect)} AS item
            FROM (SELECT {columns} FROM {resource.source} {_where(shape.conditions)}
                ORDER BY {order} LIMIT {size + 1}) found
            ORDER BY place {outward}) shown"""


@lru_cache(maxsize=512)
def _item_sql(resource: Resource, fields: tuple[str, ...], conditions: tuple[str, ...], vendor: str) -> str:
    columns = ", ".join(_columns(resource, fields))
    return f"""
        SELECT {_item(resource, fields, DIALECTS[vendor])} AS item
        FROM (SELECT {columns} FROM {resource.source} {_where(conditions)} LIMIT 1) found"""


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


def _columns(resource: Resource, fields: tuple[str, ...]) -> list[str]:
    """What is read for some fields: those that are columns, and those that others are made of."""
    asked = [resource.by_name[name] for name in fields]
    read = {name: None for field in asked for name in (field.of or (field.name,))}
    return [f'{_read(resource.by_name[name])} AS "{name}"' for name in read]


def _read(field: Field) -> str:
    if field.nested is None:
        return field.sql
    dialect = DIALECTS[connection.vendor]
    item = _object(field.nested.fields, dialect)
    return dialect.list_of.format(
        item=item, source=field.nested.source, condition=field.nested.condition, order=field.nested.order
    )


def _item(resource: Resource, fields: tuple[str, ...], dialect: Dialect) -> str:
    """One row of `found` as the text of an object."""
    made = [resource.by_name[name] for name in fields]
    pairs = [(each.name, each.kind, each.sql if each.of else f'found."{each.name}"') for each in made]
    return dialect.as_text.format(_object_of(pairs, dialect))


def _object(fields: tuple[Field, ...], dialect: Dialect) -> str:
    return _object_of([(each.name, each.kind, each.sql) for each in fields], dialect)


def _object_of(pairs: Iterable[tuple[str, Kind, str]], dialect: Dialect) -> str:
    members = ", ".join(f"'{name}', {dialect.forms.get(kind, '{}').format(sql)}" for name, kind, sql in pairs)
    return dialect.object_of.format(members)
