"""Searching the trail, fast whatever its size: indexed conditions, pages by key, and free text in steps.

Nothing here counts the table or skips rows. Free text has no index: it is looked for among so many of the newest events
that meet the other conditions, and the page says how far it has looked.

Two things would make PostgreSQL read the table from its end until it meets what is looked for (450 ms and 580 ms at 1,000,000
events), and are avoided. A trail is several conditions of which an event meets one: each is asked by itself, by its own index,
and the answers are merged. An end in the past is walked back from by time, because a search by id would begin at today.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q, TextField
from django.db.models.functions import Cast
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from audit.encoding import EPOCH
from audit.models import AuditEvent, AuditSeal
from audit.models.event import AuditEventQuerySet
from audit.trails import conditions_of_trail, instance_named

PAGE: Final = 50
# How many events one step of a free-text search goes over.
LOOKED_OVER: Final = 50_000
MAX_TERM: Final = 200
_MAX_ID_DIGITS: Final = 18
_TEXTS: Final = ("reason", "actor_name", "action", "subject_id", "address", "request_id")


@dataclass(frozen=True)
class Search:
    """What somebody looks for. Empty parts ask for nothing; `faults` says in words what could not be understood."""

    text: str = ""
    actor: str = ""
    subject: str = ""
    action: str = ""
    since: str = ""
    until: str = ""
    of: str = ""
    faults: list[str] = field(default_factory=list)

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> Search:
        """Read a search from the query string of the page: q, actor, subject, action, since, until, of."""
        names = {"text": "q", **{name: name for name in PARTS if name != "text"}}
        given = {
            name: (query.get(key) or "").replace("\x00", "").strip()[:MAX_TERM] for name, key in names.items()
        }
        search = cls(**given, faults=[])
        for name in ("since", "until"):
            value = getattr(search, name)
            if value and _instant(value, is_end=False) is None:
                search.faults.append(f"{value} is no day: write it as 2026-01-31.")
        if search.of and instance_named(search.of) is None:
            search.faults.append("What this trail would be of is not there any more.")
        return search

    def as_query(self) -> dict[str, str]:
        """The search as a query string has it, without its empty parts."""
        return {
            ("q" if name == "text" else name): getattr(self, name) for name in PARTS if getattr(self, name)
        }

    @property
    def is_by_time(self) -> bool:
        """Whether the newest is the one of the latest time, and not the one of the highest id."""
        return bool(self.until)

    def events(self) -> list[AuditEventQuerySet]:
        """The events that meet every condition but the free text, each newest first; what is found is in any of them."""
        if self.faults:
            return []
        found = AuditEvent.objects.order_by(*(("-at", "-id") if self.is_by_time else ("-id",)))
        if self.actor:
            found = found.filter(actor_name=self.actor)
        if self.action:
            found = found.filter(action=self.action)
        if self.subject:
            kind, _, key = self.subject.partition(":")
            found = found.filter(subject_type=kind, **({"subject_id": key} if key else {}))
        if (since := _instant(self.since, is_end=False)) is not None:
            found = found.filter(at__gte=since)
        if (until := _instant(self.until, is_end=True)) is not None:
            found = found.filter(at__lt=until)
        if self.of and (instance := instance_named(self.of)) is not None:
            return [found.filter(condition) for condition in conditions_of_trail(instance)]
        return [found]


PARTS: Final = ("text", "actor", "subject", "action", "since", "until", "of")


@dataclass(frozen=True)
class Page:
    """A page of what was found, newest first. `older` is the id from which the next one starts; None on the last.

    `looked_to` is set where free text was looked for and not all of the trail was looked over: the moment it came to.
    """

    events: list[AuditEvent]
    older: int | None
    looked_to: datetime.datetime | None = None


@dataclass(frozen=True)
class _Place:
    """Where a walk through the events, newest first, has come to: the event there."""

    id: int
    at: datetime.datetime
    is_by_time: bool

    def older(self, events: AuditEventQuerySet) -> AuditEventQuerySet:
        """The events that come after this one."""
        if self.is_by_time:
            return events.filter(at__lte=self.at).exclude(at=self.at, id__gte=self.id)
        return events.filter(id__lt=self.id)

    def down_to_here(self, events: AuditEventQuerySet) -> AuditEventQuerySet:
        """This event and those that come before it."""
        if self.is_by_time:
            return events.filter(at__gte=self.at).exclude(at=self.at, id__lt=self.id)
        return events.filter(id__gte=self.id)

    @property
    def order(self) -> tuple[Any, ...]:
        return (self.at, self.id) if self.is_by_time else (self.id,)


def find_page(search: Search, *, before: int | None = None, size: int = PAGE) -> Page:
    """The newest events that are found, or the newest that come after the event `before`."""
    within = search.events()
    if before is not None:
        start = _place_of(search, before)
        within = [start.older(part) for part in within] if start else []
    if not search.text:
        found = _newest(search, within, size + 1)
        return Page(found[:size], found[size - 1].pk if len(found) > size else None)
    floor = _floor(search, within)
    looked_over = [floor.down_to_here(part) for part in within] if floor else within
    found = _newest(search, [_holding(part, search.text) for part in looked_over], size + 1)
    if len(found) > size:
        return Page(found[:size], found[size - 1].pk)
    return Page(found, floor.id if floor else None, floor.at if floor else None)


def _place_of(search: Search, pk: int) -> _Place | None:
    """The place of an event; None when its time is asked for and it is not there any more."""
    if not search.is_by_time:
        return _Place(pk, EPOCH, is_by_time=False)
    at = AuditEvent.objects.filter(pk=pk).values_list("at", flat=True).first()
    return None if at is None else _Place(pk, at, is_by_time=True)


def _newest(search: Search, parts: Sequence[models.QuerySet[AuditEvent]], count: int) -> list[AuditEvent]:
    """The newest of what is in any of the parts."""
    found = {event.pk: event for part in parts for event in part[:count]}
    places = {pk: _Place(pk, event.at, search.is_by_time).order for pk, event in found.items()}
    return [found[pk] for pk in sorted(found, key=places.__getitem__, reverse=True)[:count]]


def _floor(search: Search, parts: Sequence[AuditEventQuerySet]) -> _Place | None:
    """The last of as many events as one step of a free-text search goes over; None when there are not that many."""
    if len(parts) == 1:
        places = [_Place(*row, search.is_by_time) for row in _places(parts[0], LOOKED_OVER - 1, LOOKED_OVER)]
        return places[0] if places else None
    everywhere = {row for part in parts for row in _places(part, 0, LOOKED_OVER)}
    places = sorted(
        (_Place(*row, search.is_by_time) for row in everywhere), key=lambda each: each.order, reverse=True
    )
    return places[LOOKED_OVER - 1] if len(places) >= LOOKED_OVER else None


def _places(events: AuditEventQuerySet, start: int, end: int) -> list[tuple[int, datetime.datetime]]:
    return list(events.values_list("id", "at")[start:end])


def find_all(search: Search, *, limit: int) -> Iterator[AuditEvent]:
    """Everything that is found, newest first, at most `limit` events, read page by page."""
    before, given = None, 0
    while given < limit:
        page = find_page(search, before=before, size=min(1000, limit - given))
        yield from page.events
        given += len(page.events)
        if page.older is None:
            return
        before = page.older


def positions_of(events: list[AuditEvent]) -> dict[int, int]:
    """The position in the chain of each event that is sealed, by event id."""
    rows = AuditSeal.objects.filter(event_id__in=[event.pk for event in events])
    return dict(rows.values_list("event_id", "position"))


def before_of(text: str) -> int | None:
    """The id that a page is to start beneath, as its address gives it; None when it is none."""
    return int(text) if text.isdecimal() and len(text) <= _MAX_ID_DIGITS else None


def _holding(events: AuditEventQuerySet, text: str) -> models.QuerySet[AuditEvent]:
    condition = Q(detail_text__icontains=text)
    for name in _TEXTS:
        condition |= Q(**{f"{name}__icontains": text})
    return events.alias(detail_text=Cast("detail", TextField())).filter(condition)


def _instant(text: str, *, is_end: bool) -> datetime.datetime | None:
    """A day, or a moment, of the installation's time zone; the end of a day is the beginning of the next."""
    try:
        moment, day = parse_datetime(text) if len(text) > len("2026-01-31") else None, parse_date(text)
        if moment is None and day is not None:
            moment = datetime.datetime.combine(day, datetime.time.min) + datetime.timedelta(days=is_end)
        return timezone.make_aware(moment) if moment is not None and timezone.is_naive(moment) else moment
    except (ValueError, OverflowError, ValidationError):
        return None
