"""Live progress: small fragments that the pages ask for again and again while a run is under way, in HTMX's terms.

A fragment says what the reader has not seen yet: where nothing has moved, the answer is 204 and the page stays as
it is. Status 286 ends the asking (htmx.org/docs/#polling).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.utils.cache import add_never_cache_headers
from django.utils.text import capfirst

from integrations.admin.today import stream_cards
from integrations.models import Stream, SyncRun
from integrations.models.run import RunStep

STOP_ASKING: Final = 286
NOTHING_NEW: Final = 204
# What a page listens for when it shows more than the run itself: alerts, for instance.
RUN_ENDED: Final = "run-ended"
ROAD: Final = (RunStep.WAITING, RunStep.EXTRACT, RunStep.PLAN, RunStep.GUARD, RunStep.APPLY)


@dataclass(frozen=True)
class Milestone:
    """One step of the road, and whether the run is before, at or past it."""

    label: str
    state: str


@dataclass(frozen=True)
class Progress:
    """Where a run is: the steps of its road, and a sentence. `seen` changes whenever anything of it does."""

    milestones: list[Milestone]
    sentence: str
    seen: str


def progress_of(run: SyncRun) -> Progress:
    """Return where `run` is. A dry run has no step that applies."""
    road = ROAD[:-1] if run.is_dry_run else ROAD
    here = road.index(RunStep(run.step)) if run.step in road else len(road)
    states = ["done"] * here + ["current"] + ["ahead"] * len(road)
    return Progress(
        milestones=[Milestone(str(step.label), state) for step, state in zip(road, states, strict=False)],
        sentence=_sentence(run),
        seen=f"{run.status}-{run.step}-{run.pages}-{run.read}",
    )


def _sentence(run: SyncRun) -> str:
    if not run.is_live:
        return f"{run.get_status_display()}."
    if run.step == RunStep.WAITING:
        return "Waiting for a worker to take it up"
    records = f"{run.read:,} record{'' if run.read == 1 else 's'}"
    if run.step == RunStep.EXTRACT:
        return f"Reading page {run.pages + 1:,} · {records}"
    return f"{capfirst(run.get_step_display())} · {records} read"


class ProgressPages:
    """The addresses of the fragments. Each is a GET that changes nothing, under the permission of its page."""

    def __init__(self, site: AdminSite) -> None:
        self._site = site

    def of_run(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Where one run is; when it has ended, what fetches the page of the ended run."""
        if refusal := self._refused(request, "integrations.view_syncrun"):
            return refusal
        run = get_object_or_404(SyncRun, pk=pk)
        template = "steps" if run.is_live else "ended"
        return self._answer(
            request, run, f"admin/integrations/progress/{template}.html", {"progress": progress_of(run)}
        )

    def of_stream(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The card of one stream, as Today and the connection's page show it."""
        if refusal := self._refused(request, "integrations.view_connection"):
            return refusal
        card = next(iter(stream_cards(Stream.objects.filter(pk=pk))), None)
        if card is None or card.last_run is None:
            return HttpResponse(status=STOP_ASKING)
        may_sync = request.user.has_perm("integrations.change_connection")
        return self._answer(
            request,
            card.last_run,
            "admin/integrations/stream_card.html",
            {"card": card, "may_sync": may_sync},
        )

    def _refused(self, request: HttpRequest, permission: str) -> HttpResponse | None:
        """Who has been signed out meanwhile is led to the sign-in page by a reload, not shown it inside a card."""
        if not self._site.has_permission(request):
            return HttpResponse(status=403, headers={"HX-Refresh": "true"})
        if not request.user.has_perm(permission):
            raise PermissionDenied
        return None

    @staticmethod
    def _answer(
        request: HttpRequest, run: SyncRun, template: str, context: dict[str, object]
    ) -> HttpResponse:
        if run.is_live and request.GET.get("seen") == progress_of(run).seen:
            response = HttpResponse(status=NOTHING_NEW)
        else:
            response = HttpResponse(render_to_string(template, {**context, "run": run}, request))
        if not run.is_live:
            response.status_code = STOP_ASKING
            response["HX-Trigger-After-Settle"] = RUN_ENDED
        add_never_cache_headers(response)
        return response
