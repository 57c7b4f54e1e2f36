"""Offsets that lose nothing: pages of a table in ascending order of its number, each beginning with the last row before.

An offset counts rows, and rows come and go while a feed is read: one that is deleted from what has been read moves the
first unread row to where nobody looks again. So each page is asked for from the last row that came, its anchor. If the
page begins with it, or with a row of a lower number, nothing lies between; if it begins behind it, something may, and the
reading goes half a page back: the anchor then lies within the page, with what follows it. Rows are known by their
numbers, so none is given twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from integrations.transports.errors import NotUnderstood


@dataclass(frozen=True)
class Place:
    """Where a page starts, and the number of the last row that came; none before the first page."""

    offset: int = 0
    anchor: int | None = None

    @classmethod
    def of(cls, token: str) -> Place:
        offset, _, anchor = token.partition("@")
        return cls(int(offset), int(anchor)) if token else cls()

    def __str__(self) -> str:
        return f"{self.offset}@{self.anchor}"


def read_on(token: str, rows: list[Any], number: str, size: int) -> tuple[list[Any], str]:
    """Return the rows of a page that had not come before, and the token of what follows it, "" after the last.

    `number` is the column by which the rows are in order, `size` what was asked for: at least four. A row whose number
    cannot be read stays with those around it. Raises NotUnderstood for rows out of order, and for a full page that
    leads no further.
    """
    place = Place.of(token)
    numbers = [_number(row, number) for row in rows]
    known = [each for each in numbers if each is not None]
    if known != sorted(known):
        raise NotUnderstood(f"the rows are not in the order of {number}")
    if place.offset and not _begins_in_time(numbers, place.anchor):
        return [], str(Place(max(0, place.offset - size // 2), place.anchor))
    fresh = _behind(rows, numbers, place.anchor)
    if not known or (place.anchor is not None and known[-1] <= place.anchor):
        _check_end(rows, size)
        return fresh, ""
    last = max(index for index, each in enumerate(numbers) if each is not None)
    return fresh, str(Place(place.offset + last, known[-1]))


def _number(row: Any, name: str) -> int | None:
    value = row.get(name) if isinstance(row, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _begins_in_time(numbers: list[int | None], anchor: int | None) -> bool:
    """Whether nothing lies between the anchor and the first row of a page."""
    first = numbers[0] if numbers else None
    return first is not None and anchor is not None and first <= anchor


def _behind(rows: list[Any], numbers: list[int | None], anchor: int | None) -> list[Any]:
    """The rows behind the anchor."""
    if anchor is None:
        return rows
    came = [index for index, each in enumerate(numbers) if each is not None and each <= anchor]
    return rows[came[-1] + 1 :] if came else rows


def _check_end(rows: list[Any], size: int) -> None:
    """A page without a new number is the last one, unless it is full: then nobody sees what comes behind it."""
    if len(rows) >= size:
        raise NotUnderstood(
            "a full page has no row behind the last one: so many came in between, or the pages do not move on",
            advice="Sync again; if it stays, the other system does not follow the offset that it is asked for.",
        )
