"""What partners can be told of by webhook: the one table of event types, each with the scope of the data that it speaks of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class EventType:
    """An event in words, and the scope that whoever hears of it needs: nobody is told by webhook what they may not read."""

    words: str
    scope: str


EVENT_TYPES: Final[dict[str, EventType]] = {
    "term.changed": EventType("A term or its calendar has changed", "calendar:read"),
    "course.changed": EventType("A course of the catalogue has changed", "catalogue:read"),
    "section.changed": EventType("A section or its seats have changed", "sections:read"),
    "enrollment.changed": EventType(
        "The enrollment status of a student that you may see has changed", "enrollment:read"
    ),
    "balance.changed": EventType("The balance of a student that you may see has changed", "billing:read"),
}


def missing_scope(event_types: list[str], scopes: frozenset[str]) -> str:
    """The first scope that the events need and that is not among `scopes`; empty where none is missing."""
    needed = (EVENT_TYPES[name].scope for name in event_types)
    return next((scope for scope in needed if scope not in scopes), "")
