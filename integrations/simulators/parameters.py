"""What a simulated system may be asked: each parameter by its name and type, and nothing else."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Reader = Callable[[str], Any]


class NotSo(ValueError):
    """A parameter that the system does not take; the text says which and what it would take."""


@dataclass(frozen=True)
class Parameters:
    """How each parameter is read. Those of `of_pages` say which page is asked for, the others which records."""

    readers: Mapping[str, Reader]
    of_pages: frozenset[str] = frozenset({"page", "limit", "offset", "cursor"})

    def checked(self, query: tuple[tuple[str, str], ...]) -> dict[str, Any]:
        """Return the values of a query. Raises NotSo for an unknown name, one that comes twice and a wrong type."""
        values: dict[str, Any] = {}
        for name, text in query:
            if name not in self.readers:
                raise NotSo(f"There is no parameter {name!r}; there are {', '.join(sorted(self.readers))}.")
            if name in values:
                raise NotSo(f"{name} is given twice.")
            try:
                values[name] = self.readers[name](text)
            except ValueError as error:
                raise NotSo(f"{name} {error}, not {text[:40]!r}.") from None
        if len(values.keys() & {"page", "offset", "cursor"}) > 1:
            raise NotSo("A page is asked for by page, offset or cursor: by one of them.")
        return values


def whole(low: int, high: int) -> Reader:
    """A whole number from `low` to `high`."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and len(text) < 10 and low <= int(text) <= high):  # noqa: PLR2004
            raise ValueError(f"is a whole number from {low} to {high}")
        return int(text)

    return read


def one_of(*values: str) -> Reader:
    """One of these words."""

    def read(text: str) -> str:
        if text not in values:
            raise ValueError(f"is one of {', '.join(values)}")
        return text

    return read


def instant(text: str) -> datetime.datetime:
    """A moment in ISO 8601 with its offset from UTC."""
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError("is a moment such as 2026-09-01T10:00:00Z")
    return moment
