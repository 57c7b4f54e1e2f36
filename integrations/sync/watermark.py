"""The watermark of an incremental feed: since when the next extract asks.

It stands at the newest moment that the source has named, less the time that the reading took (what changed meanwhile may
lie on a page that had been read) and an overlap for clocks that differ. It moves only when a run is applied, and never
past a record that was not. What the overlap brings once more is recognised by its fingerprint and costs nothing.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from django.utils import timezone

from integrations.connectors.incremental import Incremental
from integrations.connectors.registry import connector_for
from integrations.models import Stream
from integrations.sync.mapping import reader

# A run that starts a little earlier in the day than the last complete one is complete too, not the one a day later.
DUE_EARLY: Final = datetime.timedelta(hours=1)
_DAY_SECONDS: Final = 86_400
# Seconds since 1970 have ten digits until the year 2286, milliseconds thirteen since 2001.
_FIRST_MILLISECOND: Final = 10**11
_DATE_CHARACTERS: Final = 10
_MAX_CHARACTERS: Final = 64

Writing = Literal["instant", "local", "date", "seconds", "milliseconds"]


@dataclass(frozen=True)
class Moment:
    """A moment as a source writes it: seconds since 1970, and the writing that it is given back in."""

    at: float
    writing: Writing
    like: str = ""

    def earlier(self, seconds: float) -> Moment:
        return Moment(self.at - seconds, self.writing, self.like)

    def __str__(self) -> str:
        """In the source's writing, rounded down to whole seconds or days: rather once more than not at all."""
        whole = int(self.at // 1)
        if self.writing in ("seconds", "milliseconds"):
            return str(whole if self.writing == "seconds" else whole * 1000)
        moment = datetime.datetime.fromtimestamp(whole, tz=datetime.UTC)
        if self.writing == "date":
            return moment.date().isoformat()
        text = moment.strftime("%Y-%m-%dT%H:%M:%S" if "T" in self.like else "%Y-%m-%d %H:%M:%S")
        return text if self.writing == "local" else f"{text}Z"


def read_moment(value: Any) -> Moment | None:
    """The moment that a source writes as an ISO 8601 text or as seconds or milliseconds since 1970; None for what is
    none. A moment with an offset is given back in UTC."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float) or (isinstance(value, str) and value.isdecimal()):
        return _counted(float(value))
    return _written(value) if isinstance(value, str) and len(value) <= _MAX_CHARACTERS else None


def _counted(number: float) -> Moment | None:
    if not 0 < number < _FIRST_MILLISECOND * 1000:
        return None
    is_fine = number >= _FIRST_MILLISECOND
    return Moment(number / 1000 if is_fine else number, "milliseconds" if is_fine else "seconds")


def _written(text: str) -> Moment | None:
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    writing: Writing = "date" if len(text) == _DATE_CHARACTERS else "instant" if moment.tzinfo else "local"
    try:
        return Moment(
            (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp(), writing, text
        )
    except (OverflowError, ValueError):  # the year 1, or 9999, in another zone
        return None


@dataclass
class Watermark:
    """Follows how far an incremental feed has come while it is read."""

    feed: Incremental
    newest: Moment | None = None
    # The earliest moment of what was rejected; None in it where such a record does not say when it was changed.
    rejected: list[Moment | None] = field(default_factory=list)
    began_at: float = field(default_factory=time.monotonic)
    read_seconds: float = 0.0

    def __post_init__(self) -> None:
        self._read = reader(self.feed.field)

    @classmethod
    def of(cls, stream: Stream) -> Watermark | None:
        """A watermark to follow, where the stream's source can be asked for what has changed."""
        feed = connector_for(stream.connection).incremental(stream)
        return cls(feed) if feed else None

    def see(self, records: Sequence[Any], rejected: Sequence[int]) -> None:
        """Take note of a page: its records, and the places (from 0) of those that were rejected."""
        moments = [read_moment(self._read(record)) for record in records]
        known = [moment for moment in [self.newest, *moments] if moment is not None]
        self.newest = max(known, key=lambda moment: moment.at, default=None)
        self.rejected += [moments[place] for place in rejected]
        self.read_seconds = time.monotonic() - self.began_at

    def after(self, before: str, rejected: int) -> str:
        """Since when to ask next, once everything read is applied; `before` is what was asked last, and `rejected` how
        many records the run rejects in all. It stays where it was when a rejected record does not say when it changed."""
        if self.newest is None or len(self.rejected) < rejected or None in self.rejected:
            return before
        reached = [self.newest, *(moment for moment in self.rejected if moment)]
        furthest = min(reached, key=lambda moment: moment.at) if self.rejected else self.newest
        overlap = self.feed.overlap_minutes * 60 + self.read_seconds
        following = furthest.earlier(overlap + (_DAY_SECONDS if furthest.writing == "date" else 0))
        earlier = read_moment(before)
        return before if earlier is not None and earlier.at > following.at else str(following)


def since_for(stream: Stream, mapping_version: str) -> str:
    """Since when a run asks its source now; "" for everything: where there is no watermark, where other records are
    asked for or another mapping looks at them, and where the last complete extract is too long ago."""
    feed = connector_for(stream.connection).incremental(stream)
    if feed is None or stream.known_with != mapping_version or stream.known_scope != stream.scope:
        return ""
    latest = timezone.now() - datetime.timedelta(days=feed.full_every) + DUE_EARLY
    return stream.watermark if stream.complete_at is not None and stream.complete_at > latest else ""
