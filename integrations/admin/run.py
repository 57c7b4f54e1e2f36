"""The run list and the run page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Page, Paginator
from django.db.models import Count, Q, Sum
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
)
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.safestring import SafeString

from audit.admin import LooksAreAudited, ReadOnlyAdmin
from integrations.admin.badges import run_badge
from integrations.admin.decision import DECISIONS, WHOLE_RUN_DECISIONS
from integrations.admin.filters import EndedFilter
from integrations.admin.progress import ProgressPages
from integrations.admin.raw_records import HIDDEN, may_see_raw
from integrations.admin.reach import reach_of
from integrations.admin.wire import requests_of_run
from integrations.decisions import Undecided, pinned_by
from integrations.models import RejectedRecord, SyncRun
from integrations.models.plan import ChangeAction
from integrations.models.run import RunStatus
from integrations.sync.certificate import equations, shown_sums
from integrations.sync.undo import steps_to_undo

CHANGES_A_PAGE = 50
REJECTIONS_SHOWN = 50
STEPS_SHOWN = 200
CONFLICTS_SHOWN = 200
# What the tiles of the run page show: the run's column, and its words.
TILES = (
    ("read", "read"),
    ("created", "created"),
    ("modified", "modified"),
    ("voided", "voided"),
    ("unchanged", "unchanged"),
    ("rejected", "rejected"),
)


@admin.register(SyncRun)
class SyncRunAdmin(LooksAreAudited, ReadOnlyAdmin):
    student_number = "student.number"  # of the changes that the page of a run shows
    lists_records = False
    list_display = [
        "number",
        "badge",
        "stream",
        "requested_at",
        "duration",
        "read",
        "created",
        "modified",
        "voided",
        "rejected",
    ]
    list_display_links = ["number"]
    list_filter = ["status", EndedFilter, "stream__connection", "is_dry_run"]
    list_select_related = ["stream__connection"]
    search_fields = ["=id", "stream__connection__name", "stream__connection__slug"]
    show_full_result_count = False
    change_form_template = "admin/integrations/syncrun/change_form.html"

    @admin.display(description="Run", ordering="id")
    def number(self, run: SyncRun) -> str:
        return f"Run {run.pk}" + (" (dry)" if run.is_dry_run else "")

    @admin.display(description="Status", ordering="status")
    def badge(self, run: SyncRun) -> SafeString:
        return run_badge(run)

    @admin.display(description="Seconds")
    def duration(self, run: SyncRun) -> str:
        return f"{run.seconds:.1f}"

    def get_urls(self) -> list[URLPattern]:
        decide = self.admin_site.admin_view(self.decide)
        progress = ProgressPages(self.admin_site).of_run
        return [
            path("<int:pk>/progress/", progress, name="integrations_syncrun_progress"),
            path("<int:pk>/decide/<str:decision>/", decide, name="integrations_syncrun_decide"),
            path("<int:pk>/undo/", self.admin_site.admin_view(self.undo), name="integrations_syncrun_undo"),
            *super().get_urls(),
        ]

    def records_on(self, context: Mapping[str, Any]) -> Page[Any]:
        changes: Page[Any] = context["changes"]
        return changes

    def undo(self, request: HttpRequest, pk: int) -> HttpResponse:
        """What an undo of the run would bring back, and what it would leave, before anybody decides."""
        reach = reach_of(request)
        if not reach.may_decide:
            raise PermissionDenied
        run = get_object_or_404(SyncRun.objects.select_related("stream__connection"), pk=pk)
        is_applied = run.status == RunStatus.APPLIED
        steps = list(steps_to_undo(run, within=reach.within)) if is_applied else []
        back = [step for step in steps if not step.skipped]
        shown = [step.change for step in back[:STEPS_SHOWN]]
        self.record_look(request, row=run, rows=shown, found=len(back))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "run": run,
            "title": f"Undo run {run.pk}",
            "back": back[:STEPS_SHOWN],
            "back_count": len(back),
            "is_selectable": len(back) <= STEPS_SHOWN,
            "people": len({step.change.student_id for step in back}),
            "skipped": [step for step in steps if step.skipped][:STEPS_SHOWN],
            "skipped_count": len(steps) - len(back),
        }
        return TemplateResponse(request, "admin/integrations/syncrun/undo.html", context)

    def decide(self, request: HttpRequest, pk: int, decision: str) -> HttpResponse:
        """Take a decision about a run: a permission, one operation, a message."""
        if decision not in DECISIONS:
            raise Http404
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        reach = reach_of(request)
        if not reach.may_decide or (reach.within and decision in WHOLE_RUN_DECISIONS):
            raise PermissionDenied
        run = get_object_or_404(SyncRun, pk=pk)
        try:
            shown, message = DECISIONS[decision](run, request.POST, reach)
        except Undecided as error:
            messages.error(request, str(error))
            shown = run
        else:
            messages.success(request, message)
        return HttpResponseRedirect(shown.get_absolute_url())

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        run = self.get_object(request, object_id)
        context = run_context(request, run) if run else {}
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})


def run_context(request: HttpRequest, run: SyncRun) -> dict[str, Any]:
    """What the run page shows: the figures, the changes of one page, and the first rejections."""
    action, sought = request.GET.get("action", ""), request.GET.get("q", "").strip()
    reach = reach_of(request)
    effective = reach.seen(run.changes.exclude(action=ChangeAction.SAME))
    changes = effective.select_related("student")
    if action in ChangeAction.values:
        changes = changes.filter(action=action)
    if sought:
        changes = changes.filter(_about(sought))
    is_plan = run.status in (RunStatus.HELD, RunStatus.PREVIEWED)
    if is_plan:
        # Somebody signs for these: what moves most money comes first.
        changes = changes.order_by("-moved", "id")
    # Named by what they are, so that a page far in is one query by its offset, not a count of the table.
    page = Paginator(changes, CHANGES_A_PAGE).get_page(request.GET.get("page"))
    return {
        "run": run,
        "title": f"Run {run.pk}",
        "subtitle": None,
        "tiles": [(label, getattr(run, name), shown_sums(run).get(name, "")) for name, label in TILES],
        "changes": page,
        "equations": equations(run),
        "chosen_action": action,
        "sought": sought,
        "is_plan": is_plan,
        "people": effective.aggregate(people=Count("student_id", distinct=True))["people"],
        "movement": effective.aggregate(total=Sum("moved"))["total"] if is_plan else None,
        "conflicts": effective.in_conflict().select_related("student")[:CONFLICTS_SHOWN],
        "may_decide": reach.may_decide,
        "may_decide_whole": reach.may_decide and reach.within is None,
        "follower": run.carried_out_by.first(),
        "undos": run.undone_by.all(),
        "pinned": pinned_by(run).count() if run.status == RunStatus.APPLIED else 0,
        "open_rejections": RejectedRecord.objects.open().filter(run=run).count() if run.rejected else 0,
        "actions": [
            ("", "All"),
            *((value, label) for value, label in ChangeAction.choices if value != ChangeAction.SAME),
        ],
        "rejections": run.rejections.all()[:REJECTIONS_SHOWN] if reach.sees_all else [],
        **requests_of_run(request, run),
        "may_see_rejections": request.user.has_perm("integrations.view_rejectedrecord"),
        "may_see_raw": may_see_raw(request, run.stream),
        "raw_hidden": HIDDEN,
        "may_see_students": request.user.has_perm("registration.view_student"),
    }


def _about(sought: str) -> Q:
    """The changes that somebody looks for: by record, or by the student's number or name."""
    return (
        Q(key__icontains=sought)
        | Q(student__number__iexact=sought)
        | Q(student__family_name__icontains=sought)
        | Q(student__given_name__icontains=sought)
    )
