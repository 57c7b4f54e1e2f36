"""The trail's pages: a search with its filters, one event, and the export."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final
from urllib.parse import urlencode

import orjson
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

import audit
from audit.admin.bases import ReadOnlyAdmin
from audit.exports import MAX_EXPORTED, csv_lines, json_lines
from audit.models import AuditEvent, AuditSeal
from audit.search import Search, before_of, find_all, find_page, positions_of
from audit.trails import address_of_trail, instance_named

# Each form of an export: its lines, and its media type.
FORMS: Final[dict[str, tuple[Callable[[Iterable[AuditEvent]], Iterable[Any]], str]]] = {
    "csv": (csv_lines, "text/csv; charset=utf-8"),
    "jsonl": (json_lines, "application/jsonl"),
}


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    change_list_template = "admin/audit/auditevent/trail.html"
    fields = [
        "at",
        "seal",
        "action",
        "actor_name",
        "actor_kind",
        "subject_type",
        "subject_id",
        "reason",
        "detail_shown",
        "address",
        "request_id",
    ]
    readonly_fields = ["seal", "detail_shown"]

    def get_urls(self) -> list[URLPattern]:
        export = self.admin_site.admin_view(self.export)
        return [path("export/<str:form>/", export, name="audit_auditevent_export"), *super().get_urls()]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """A search of the trail: a page by key, never a count of the table."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        search = Search.from_query(request.GET.dict())
        page = find_page(search, before=before_of(request.GET.get("before", "")))
        positions = positions_of(page.events)
        query = search.as_query()
        context = {
            **self.admin_site.each_context(request),
            **(extra_context or {}),
            "opts": self.opts,
            "title": "Audit trail",
            "search": search,
            "instance": instance_named(search.of) if search.of else None,
            "rows": [(event, positions.get(event.pk)) for event in page.events],
            "looked_to": page.looked_to,
            "is_first": "before" not in request.GET,
            "newest_address": f"?{urlencode(query)}",
            "older_address": f"?{urlencode({**query, 'before': page.older})}" if page.older else "",
            "query": query,
            "may_export": request.user.has_perm("audit.export_auditevent"),
            "max_exported": MAX_EXPORTED,
        }
        return TemplateResponse(request, self.change_list_template, context)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """An event has no trail of its own: its page leads to that of what it is about."""
        answer = super().render_change_form(request, context, *args, **kwargs)
        event: AuditEvent = context["original"]
        subject = f"{event.subject_type}:{event.subject_id}" if event.subject_id else ""
        context["trail_address"] = address_of_trail(subject) if subject else ""
        context["trail_words"] = f"The trail of {subject}"
        return answer

    def export(self, request: HttpRequest, form: str) -> HttpResponse | StreamingHttpResponse:
        """What the search finds, as a file. The export is itself on the trail."""
        if form not in FORMS:
            raise Http404
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not request.user.has_perm("audit.export_auditevent"):
            raise PermissionDenied
        search = Search.from_query(request.POST.dict())
        lines, media_type = FORMS[form]
        # Which parts were asked for, and not with what: words that were looked for may be anybody's data.
        audit.record(
            "audit_trail.exported",
            AuditEvent(),
            detail={"form": form, "searched_by": sorted(search.as_query())},
        )
        answer = StreamingHttpResponse(lines(find_all(search, limit=MAX_EXPORTED)), content_type=media_type)
        name = f"audit-trail-{timezone.now():%Y%m%dT%H%M%SZ}.{form}"
        answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        answer.headers["Cache-Control"] = "no-store"
        return answer

    @admin.display(description="Seal")
    def seal(self, event: AuditEvent) -> SafeString:
        found = AuditSeal.objects.filter(event_id=event.pk).first()
        if found is None:
            return format_html('<span class="badge badge-warn">{}</span>', "Not sealed yet")
        return format_html(
            '<span class="badge badge-good">Sealed</span> at position {} on {} <code>{}</code>',
            found.position,
            timezone.localtime(found.sealed_at).strftime("%Y-%m-%d %H:%M:%S %Z"),
            bytes(found.digest).hex(),
        )

    @admin.display(description="Detail")
    def detail_shown(self, event: AuditEvent) -> SafeString:
        text = orjson.dumps(event.detail, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode()
        return format_html("<pre>{}</pre>", text)
