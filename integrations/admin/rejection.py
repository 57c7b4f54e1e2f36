"""Rejected records: those of a feed by reason, the mapping mended in place, and what was kept taken again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import orjson
from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import models
from django.db.models import Count, Max, Min
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from audit.admin import LooksAreAudited, ReadOnlyAdmin
from integrations.admin.decision import ids_among
from integrations.admin.raw_records import HIDDEN, may_see_raw
from integrations.decisions import Undecided, replay_rejections
from integrations.documents import DocumentRefused
from integrations.models import RejectedRecord, Stream
from integrations.models.plan import RejectedRecordQuerySet
from integrations.operations import Trial, mend_mapping, try_mapping

EXAMPLES_SHOWN = 5


@dataclass(frozen=True)
class ReasonGroup:
    """Open rejections of one feed that break the same rule in the same field, with the first few of them."""

    rule: str
    field: str
    count: int
    since_run: int
    newest_run: int
    examples: list[RejectedRecord]
    replayable: int


def groups_of(stream: Stream) -> list[ReasonGroup]:
    """The open rejections of a feed by what is wrong with them, the most frequent first."""
    rows = (
        RejectedRecord.objects.open()
        .of_stream(stream)
        .order_by()
        .values("rule", "field")
        .annotate(count=Count("pk"), since=Min("run_id"), newest=Max("run_id"))
        .order_by("-count", "rule", "field")
    )
    groups = []
    for row in rows:
        members = members_of(stream, row["rule"], row["field"])
        groups.append(
            ReasonGroup(
                rule=row["rule"],
                field=row["field"],
                count=row["count"],
                since_run=row["since"],
                newest_run=row["newest"],
                examples=list(members.order_by("pk")[:EXAMPLES_SHOWN]),
                replayable=members.replayable().count(),
            )
        )
    return groups


def members_of(stream: Stream, rule: str, field: str) -> RejectedRecordQuerySet:
    """The open rejections of a feed that break `rule` in `field`; every one of them without a rule."""
    members: RejectedRecordQuerySet = RejectedRecord.objects.open().of_stream(stream)
    return members.filter(rule=rule, field=field) if rule else members


class MappingForm(forms.Form):
    """The mapping of a feed, to be mended."""

    mapping = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 18, "spellcheck": "false", "class": "code"}),
        max_length=100_000,
        strip=False,
    )
    reason = forms.CharField(max_length=500, required=False)

    def clean_mapping(self) -> Any:
        try:
            return orjson.loads(self.cleaned_data["mapping"])
        except (orjson.JSONDecodeError, UnicodeEncodeError) as error:
            raise forms.ValidationError(f"This is not JSON: {str(error)[:200]}.") from None


@admin.register(RejectedRecord)
class RejectedRecordAdmin(LooksAreAudited, ReadOnlyAdmin):
    list_display = ["record", "rule", "reason", "run", "state"]
    list_filter = ["outcome", "rule"]
    list_select_related = ["run__stream__connection", "closed_by"]
    search_fields = ["=key", "=run__id"]
    show_full_result_count = False
    fields = ["record", "state", "run", "rule", "field", "reason", "page", "position", "raw_shown"]
    readonly_fields = ["record", "state", "raw_shown", "raw_not_shown"]

    def get_fields(self, request: HttpRequest, obj: RejectedRecord | None = None) -> list[Any]:
        """The record as it came is there for those who may see it; to others it is said why not."""
        if obj is None or may_see_raw(request, obj.run.stream):
            return [*self.fields]
        return [name if name != "raw_shown" else "raw_not_shown" for name in self.fields]

    @admin.display(description="Record")
    def record(self, rejected: RejectedRecord) -> str:
        return rejected.key or "without a key"

    @admin.display(description="State")
    def state(self, rejected: RejectedRecord) -> str:
        if not rejected.outcome:
            return "open"
        return f"{rejected.get_outcome_display()} by run {rejected.closed_by_id}"

    @admin.display(description="As it came")
    def raw_shown(self, rejected: RejectedRecord) -> str:
        return rejected.raw_text

    @admin.display(description="As it came")
    def raw_not_shown(self, rejected: RejectedRecord) -> str:
        return HIDDEN

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[RejectedRecord]:
        return super().get_queryset(request).order_by("-id")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("of/<int:pk>/", view(self.of_stream), name="integrations_rejectedrecord_of_stream"),
            path("of/<int:pk>/replay/", view(self.replay), name="integrations_rejectedrecord_replay"),
            path("of/<int:pk>/mapping/", view(self.mapping), name="integrations_rejectedrecord_mapping"),
            *super().get_urls(),
        ]

    def of_stream(self, request: HttpRequest, pk: int) -> HttpResponse:
        """What is rejected of a feed, by reason."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        stream = get_object_or_404(Stream.objects.select_related("connection"), pk=pk)
        return self._page(request, stream)

    def replay(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Take one record, a group or all of a feed again."""
        stream = self._stream_to_decide(request, pk)
        if isinstance(stream, HttpResponse):
            return stream
        members = members_of(stream, request.POST.get("rule", ""), request.POST.get("field", ""))
        if "record" in request.POST:
            members = members.filter(pk__in=ids_among(request.POST.getlist("record")))
        return self._replay(request, stream, members, request.POST.get("reason", ""))

    def mapping(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Try a mended mapping on what was rejected, or save it and take all of that again."""
        stream = self._stream_to_decide(request, pk)
        if isinstance(stream, HttpResponse):
            return stream
        if not request.user.has_perm("integrations.change_connection"):
            raise PermissionDenied
        form = MappingForm(request.POST)
        if not form.is_valid():
            return self._page(request, stream, form)
        members = members_of(stream, "", "")
        try:
            if "save" not in request.POST:
                return self._page(
                    request, stream, form, try_mapping(stream, form.cleaned_data["mapping"], members)
                )
            mend_mapping(stream, form.cleaned_data["mapping"])
        except DocumentRefused as error:
            form.add_error("mapping", error.faults)
            return self._page(request, stream, form)
        messages.success(request, "The mapping is mended; the next run looks at every record with it.")
        return self._replay(
            request, stream, members, form.cleaned_data["reason"] or "The mapping was mended."
        )

    def _replay(
        self, request: HttpRequest, stream: Stream, members: RejectedRecordQuerySet, reason: str
    ) -> HttpResponse:
        try:
            run = replay_rejections(members, reason=reason)
        except Undecided as error:
            messages.error(request, str(error))
            return HttpResponseRedirect(
                reverse("admin:integrations_rejectedrecord_of_stream", args=[stream.pk])
            )
        messages.success(request, f"Run {run.pk} takes the rejected records again.")
        return HttpResponseRedirect(run.get_absolute_url())

    def _stream_to_decide(self, request: HttpRequest, pk: int) -> Stream | HttpResponse:
        """The stream, for somebody who may decide about its runs."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        may_decide = request.user.has_perm("integrations.decide_syncrun")
        if not (may_decide and self.has_view_permission(request)):
            raise PermissionDenied
        return get_object_or_404(Stream.objects.select_related("connection"), pk=pk)

    def _page(
        self,
        request: HttpRequest,
        stream: Stream,
        form: MappingForm | None = None,
        trial: Trial | None = None,
    ) -> HttpResponse:
        shown = json.dumps(stream.mapping, indent=2, ensure_ascii=False)
        may_decide = request.user.has_perm("integrations.decide_syncrun")
        groups = groups_of(stream)
        total = sum(group.count for group in groups)
        examples = [example for group in groups for example in group.examples]
        self.record_look(request, row=stream, rows=examples, found=total)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "stream": stream,
            "title": f"Rejected records of {stream.connection.name}",
            "groups": groups,
            "total": total,
            "form": form or MappingForm(initial={"mapping": shown}),
            "trial": trial,
            "may_see_raw": may_see_raw(request, stream),
            "raw_hidden": HIDDEN,
            "may_decide": may_decide,
            "may_mend": may_decide and request.user.has_perm("integrations.change_connection"),
        }
        return TemplateResponse(request, "admin/integrations/rejectedrecord/groups.html", context)
