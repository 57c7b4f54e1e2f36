"""The front page: what needs somebody, and how each connection stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from apiauth.models import Consumer
from integrations.admin.run_days import run_days
from integrations.admin.run_strip import LastRuns, Strip, last_runs, strip_of, with_edges
from integrations.diagnosis import diagnose
from integrations.models import Alert, Stream, SyncRun
from integrations.reminders import soon_expired
from registration.models import FeeChange


@dataclass(frozen=True)
class StreamCard:
    """How one dataset of a connection stands."""

    stream: Stream
    last_run: SyncRun | None
    strip: Strip


def today(request: HttpRequest) -> dict[str, Any]:
    """Return the context of the front page: nothing of connections for those who may not see them."""
    waiting = (
        FeeChange.objects.waiting().count() if request.user.has_perm("registration.view_feechange") else 0
    )
    if not request.user.has_perm("integrations.view_connection"):
        return {"sees_connections": False, "waiting_fee_changes": waiting}
    return {
        "expiring": expiring_consumers(request),
        "waiting_fee_changes": waiting,
        "sees_connections": True,
        "faults": [finding for finding in diagnose() if not finding.is_ok],
        "may_sync": request.user.has_perm("integrations.change_connection"),
        **alerts_for(request),
        "cards": stream_cards(Stream.objects.all()),
        "run_days": run_days(timezone.localdate()),
    }


def alerts_for(request: HttpRequest) -> dict[str, Any]:
    """The open alerts, the most urgent first; those that are put off are a number."""
    now = timezone.now()
    return {
        "open_alerts": Alert.objects.needing_somebody(now).select_related(
            "run", "connection", "stream__connection", "owner"
        ),
        "snoozed_alerts": Alert.objects.snoozed(now).count(),
        "may_triage": request.user.has_perm("integrations.triage_alert"),
    }


def expiring_consumers(request: HttpRequest) -> list[Consumer]:
    """The partners whose keys stop working soon, for those who may do something about it."""
    may_see = request.user.has_perm("apiauth.view_consumer")
    return soon_expired(timezone.localdate()) if may_see else []


def stream_cards(of: QuerySet[Stream]) -> list[StreamCard]:
    """Each of the streams that is in use, with its last runs: in three statements however many there are."""
    in_use = of.filter(declared=True, connection__archived_at__isnull=True)
    streams = list(with_edges(in_use.select_related("connection").order_by("connection__name", "dataset")))
    last = last_runs(streams)
    newest = SyncRun.objects.in_bulk([runs.newest for runs in last.values()])
    return [_card(stream, last.get(stream.pk), newest) for stream in streams]


def _card(stream: Stream, last: LastRuns | None, newest: dict[int, SyncRun]) -> StreamCard:
    if last is None:
        return StreamCard(stream, None, strip_of([]))
    return StreamCard(stream, newest[last.newest], strip_of(last.statuses))
