"""Searching the trail, fast whatever its size: indexed conditions, pages by key, and free text in steps.

Nothing here counts the table or skips rows. Free text has no index: it is looked for among so many of the newest events
that meet the other conditions, and the page says how far it has looked.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q, TextField
from django.db.models.functions import Cast
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from audit.models import AuditEvent, AuditSeal
from audit.models.event import AuditEventQuerySet
from audit.trails import instance_named, trail_of

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

    def events(self) -> AuditEventQuerySet:
        """The events that meet every condition but the free text, newest first."""
        if self.faults:
            return AuditEvent.objects.none()
        found = AuditEvent.objects.order_by("-id")
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
            found = found.filter(trail_of(instance))
        return found


PARTS: Final = ("text", "actor", "subject", "action", "since", "until", "of")


@dataclass(frozen=True)
class Page:
    """A page of what was found, newest first. `older` is the id from which the next one starts; None on the last.

    `looked_to` is set where free text was looked for and not all of the trail was looked over: the moment it came to.
    """

    events: list[AuditEvent]
    older: int | None
    looked_to: datetime.datetime | None = None


def find_page(search: Search, *, before: int | None = None, size: int = PAGE) -> Page:
    """The newest events that are found, or the newest beneath the id `before`."""
    within = search.events()
    if before is not None:
        within = within.filter(id__lt=before)
    if not search.text:
        found = list(within[: size + 1])
        return Page(found[:size], found[size - 1].pk if len(found) > size else None)
    floor = within.values_list("id", "at")[LOOKED_OVER - 1 : LOOKED_OVER].first()
    looked_over = within.filter(id__gte=floor[0]) if floor else within
    found = list(_holding(looked_over, search.text)[: size + 1])
    if len(found) > size:
        return Page(found[:size], found[size - 1].pk)
    return Page(found, floor[0] if floor else None, floor[1] if floor else None)


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
