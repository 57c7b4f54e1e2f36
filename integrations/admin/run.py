"""The run list, the run page and the rejected records."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from audit.admin import ReadOnlyAdmin
from integrations.admin.badges import run_badge
from integrations.models import RejectedRecord, SyncRun
from integrations.models.plan import ChangeAction
from integrations.sync.certificate import shown_sums

CHANGES_A_PAGE = 50
REJECTIONS_SHOWN = 50
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
class SyncRunAdmin(ReadOnlyAdmin):
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
    list_filter = ["status", "stream__connection", "is_dry_run"]
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
    action = request.GET.get("action", "")
    changes = run.changes.effective().select_related("student")
    if action in ChangeAction.values:
        changes = changes.filter(action=action)
    # Named by what they are, so that a page far in is one query by its offset, not a count of the table.
    page = Paginator(changes, CHANGES_A_PAGE).get_page(request.GET.get("page"))
    return {
        "run": run,
        "title": f"Run {run.pk}",
        "subtitle": None,
        "tiles": [(label, getattr(run, name), shown_sums(run).get(name, "")) for name, label in TILES],
        "changes": page,
        "chosen_action": action,
        "actions": [
            ("", "All"),
            *((value, label) for value, label in ChangeAction.choices if value != ChangeAction.SAME),
        ],
        "rejections": run.rejections.all()[:REJECTIONS_SHOWN],
        "may_see_raw": request.user.has_perm("integrations.view_rejectedrecord"),
        "may_see_students": request.user.has_perm("registration.view_student"),
    }


@admin.register(RejectedRecord)
class RejectedRecordAdmin(ReadOnlyAdmin):
    list_display = ["record", "rule", "reason", "run"]
    list_filter = ["rule"]
    list_select_related = ["run__stream__connection"]
    search_fields = ["=key", "=run__id"]
    show_full_result_count = False
    fields = ["record", "run", "rule", "field", "reason", "page", "position", "raw_shown"]
    readonly_fields = ["record", "raw_shown"]

    @admin.display(description="Record")
    def record(self, rejected: RejectedRecord) -> str:
        return rejected.key or "without a key"

    @admin.display(description="As it came")
    def raw_shown(self, rejected: RejectedRecord) -> str:
        return rejected.raw_text

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[RejectedRecord]:
        return super().get_queryset(request).order_by("-id")
