"""Joins: what a record refers to in other tables of its system, put into the record before it is mapped.

A few rows are asked for one by one, many by reading their table once: an incremental feed of ten records costs ten small
requests for each join, a whole feed one pass over each table. What is kept of a table are the columns that are used, so
that a hundred thousand rows take some tens of megabytes, for as long as the extract.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

# So many rows of a table are asked for by themselves: about as many requests as reading 10,000 rows takes.
ONE_BY_ONE: Final = 10

Row = dict[str, Any]
Value = int | str


@dataclass(frozen=True)
class Join:
    """The row of `table` whose column `key` is what the record has at `on`, put into the record as `into`.

    Of several such rows the last counts, in the order in which they are read. `where` narrows the table, and only
    `columns` are kept.
    """

    into: str
    table: str
    on: str
    key: str
    columns: tuple[str, ...]
    where: Mapping[str, Any] = field(default_factory=dict)


# The pages of a join's table that fulfil these conditions.
ReadPages = Callable[[Join, Mapping[str, Any]], Iterator[list[Any]]]


class Joined:
    """Completes the records of one extract, and remembers the rows that it has read for it."""

    def __init__(self, joins: Sequence[Join], read_pages: ReadPages) -> None:
        self._joins, self._read_pages = joins, read_pages
        # Of each join the rows by their key; None for a key that there is no row for.
        self._rows: dict[str, dict[Value, Row | None]] = {join.into: {} for join in joins}
        self._asked = dict.fromkeys(self._rows, 0)
        self._read_whole: set[str] = set()

    def complete(self, records: list[Any]) -> list[Any]:
        """Return the records with their rows in them, null where there is none. What is no object stays as it is."""
        for join in self._joins:
            self._learn(join, {value for record in records if (value := _value(record, join.on)) is not None})
        return [self._completed(record) for record in records]

    def _learn(self, join: Join, values: set[Value]) -> None:
        rows = self._rows[join.into]
        missing = values - rows.keys()
        if self._are_many(join, missing) and join.into not in self._read_whole:
            self._read_whole.add(join.into)
            for page in self._read_pages(join, join.where):
                _keep(join, page, rows)
            missing -= rows.keys()
        # What is made after its table was read is asked for by itself, while that is little.
        if not self._are_many(join, missing):
            self._asked[join.into] += len(missing)
            for value in sorted(missing, key=str):
                _keep(join, next(self._read_pages(join, {**join.where, join.key: value}), []), rows)
        rows.update((value, None) for value in missing if value not in rows)

    def _are_many(self, join: Join, missing: set[Value]) -> bool:
        return self._asked[join.into] + len(missing) > ONE_BY_ONE

    def _completed(self, record: Any) -> Any:
        if not isinstance(record, dict) or not self._joins:
            return record
        found: dict[str, Row | None] = {}
        for join in self._joins:
            value = _value(record, join.on)
            found[join.into] = None if value is None else self._rows[join.into].get(value)
        return {**record, **found}


def _value(record: Any, on: str) -> Value | None:
    value = record.get(on) if isinstance(record, dict) else None
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None


def _keep(join: Join, page: list[Any], rows: dict[Value, Row | None]) -> None:
    for row in page:
        value = _value(row, join.key)
        if value is not None:
            rows[value] = {column: row.get(column) for column in join.columns}
