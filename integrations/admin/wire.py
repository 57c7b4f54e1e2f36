"""What a connection's page shows of the wire: its circuit breaker, how the system answers, and what was asked of it."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone

from audit.admin import LooksAreAudited, ReadOnlyAdmin
from integrations.models import Breaker, Connection, LoggedRequest, SyncRun
from integrations.models.breaker import BreakerState, Hold
from integrations.transports.breaker import hold_closed, hold_open, reset

FIGURES_OVER: Final = datetime.timedelta(hours=24)
REQUESTS_SHOWN: Final = 20


@dataclass(frozen=True)
class Override:
    """What a person may say to a circuit breaker: the button's word, what it will do, and what was done."""

    label: str
    act: Callable[..., Breaker]
    means: str
    done: str


OVERRIDES: Final = {
    "open": Override(
        "Hold open",
        hold_open,
        "no sync and no operation reaches the system until somebody resets it",
        "{} is not called any more until somebody resets its circuit breaker.",
    ),
    "close": Override(
        "Hold closed",
        hold_closed,
        "every call goes out, however many fail, until somebody resets it",
        "{} is called whatever fails, until somebody resets its circuit breaker.",
    ),
    "reset": Override(
        "Reset",
        reset,
        "what failed is forgotten, and it opens and closes by itself again",
        "The circuit breaker of {} is closed and goes by itself again.",
    ),
}
_BADGES: Final = {BreakerState.CLOSED: "good", BreakerState.OPEN: "bad", BreakerState.HALF_OPEN: "warn"}


def wire_context(request: HttpRequest, connection: Connection) -> dict[str, Any]:
    """What the page's section on the wire needs, for those who may see it."""
    if not request.user.has_perm("integrations.view_breaker"):
        return {}
    breaker = Breaker.objects.filter(connection=connection).first() or Breaker(connection=connection)
    recent = LoggedRequest.objects.filter(connection=connection).since(timezone.now() - FIGURES_OVER)
    state = BreakerState(breaker.state)
    return {
        "breaker": breaker,
        "breaker_badge": "warn" if breaker.hold else _BADGES[state],
        "breaker_words": Hold(breaker.hold).label if breaker.hold else state.label,
        "figures": recent.figures(),
        "overrides": OVERRIDES if request.user.has_perm("integrations.override_breaker") else {},
        **_newest(request, connection__id=connection.pk),
    }


def requests_of_run(request: HttpRequest, run: SyncRun) -> dict[str, Any]:
    """What was asked of the other system for a run, the newest first."""
    return _newest(request, run__id=run.pk)


def _newest(request: HttpRequest, **about: int) -> dict[str, Any]:
    """The newest of these requests, for those who may read the request log, and how the list shows all of them."""
    if not request.user.has_perm("integrations.view_loggedrequest"):
        return {}
    return {
        "may_see_requests": True,
        "requests_shown": LoggedRequest.objects.filter(**about).order_by("-id")[:REQUESTS_SHOWN],
        "requests_filter": urlencode({f"{name}__exact": value for name, value in about.items()}),
    }


def override_breaker(request: HttpRequest, pk: int, verb: str) -> HttpResponse:
    """Hold a circuit breaker open or closed, or reset it: a permission, one operation, a message."""
    if verb not in OVERRIDES:
        raise Http404
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    if not request.user.has_perm("integrations.override_breaker"):
        raise PermissionDenied
    connection = get_object_or_404(Connection.objects.present(), pk=pk)
    page = HttpResponseRedirect(reverse("admin:integrations_connection_change", args=[pk]) + "#wire")
    reason = request.POST.get("reason", "").strip()
    if not reason:
        messages.error(request, "Say why: the reason is kept in the audit trail. Nothing was changed.")
        return page
    override = OVERRIDES[verb]
    override.act(connection, reason=reason)
    messages.success(request, override.done.format(connection.name))
    return page


@admin.register(LoggedRequest)
class LoggedRequestAdmin(LooksAreAudited, ReadOnlyAdmin):
    list_display = [
        "sent_at",
        "connection",
        "run_id",
        "method",
        "url",
        "attempt",
        "status",
        "milliseconds",
        "error_class",
    ]
    list_filter = ["connection", "error_class", "purpose"]
    list_select_related = ["connection"]
    search_fields = ["=run__id"]
    show_full_result_count = False
    fields = [
        "connection",
        "run",
        "sent_at",
        "purpose",
        "method",
        "url",
        "attempt",
        "status",
        "milliseconds",
        "bytes_sent",
        "bytes_received",
        "error_class",
        "error",
        "body",
    ]
