"""A connection's page: how it stands, and Test, Dry run and Sync now."""

from __future__ import annotations

import json
from typing import Any, Final

import orjson
from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import models
from django.forms.fields import InvalidJSONInput
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apiauth.sealed import SealBroken
from audit.admin import AuditedAdmin
from integrations.admin.badges import run_badge
from integrations.admin.filters import RunsFilter
from integrations.admin.progress import ProgressPages
from integrations.admin.settings_fields import PREFIX, faults_in, settings_fields, settings_in
from integrations.admin.today import stream_cards
from integrations.admin.wire import override_breaker, wire_context
from integrations.connectors.registry import CONNECTORS
from integrations.documents import TOO_DEEP, DocumentRefused, document_of, is_too_deep
from integrations.effects.alerts import is_told
from integrations.models import Connection, Stream, SyncRun
from integrations.models.run import RunTrigger
from integrations.models.schedule import ScheduleRefused
from integrations.operations import (
    AlreadyRunning,
    NotSyncable,
    archive_connection,
    check_document,
    request_run,
    reschedule,
    save_connection,
    send_test_event,
    try_connection,
)
from integrations.presets import PRESETS, USUAL_PRESET
from integrations.schedules import SCHEDULE_COLUMNS, blackout_lines, parse_blackout_lines


class IndentedEncoder(json.JSONEncoder):
    """JSON that people read and write."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "indent": 2, "ensure_ascii": False})


SCHEDULE_HINT: Final = (
    "An interval, a time of day or a cron expression: one of them, or none to sync only when somebody asks."
)


class DocumentField(forms.JSONField):
    """JSON as the command line reads it, so that what is no JSON is told and never a fault of ours."""

    def to_python(self, value: Any) -> Any:
        if not isinstance(value, str) or value in self.empty_values:
            return None if value in self.empty_values else value
        try:
            content = orjson.loads(value)
        except (orjson.JSONDecodeError, UnicodeEncodeError) as error:
            raise forms.ValidationError(f"This is not JSON: {str(error)[:200]}.") from None
        if is_too_deep(content):
            raise forms.ValidationError(TOO_DEEP)
        return content

    def bound_data(self, data: Any, initial: Any) -> Any:
        """What was typed, as it was typed."""
        return InvalidJSONInput(data) if isinstance(data, str) else data

    def has_changed(self, initial: Any, data: Any) -> bool:
        """A new connection is always new."""
        return True


class DocumentForm(forms.ModelForm[Connection]):
    """A new connection is its document, pasted; so is a present one that is replaced."""

    replaces = forms.BooleanField(
        required=False,
        label="Replace",
        help_text="Replace the connection of the same slug. Secrets that the document leaves out are kept.",
    )
    document = DocumentField(
        initial=PRESETS[USUAL_PRESET].document,
        encoder=IndentedEncoder,
        widget=forms.Textarea(attrs={"rows": 24, "spellcheck": "false", "class": "code"}),
        help_text="The connection document as JSON: docs/connections.md describes every field.",
    )

    class Meta:
        model = Connection
        fields: list[str] = []

    def clean_document(self) -> dict[str, Any]:
        content: dict[str, Any] = self.cleaned_data["document"]
        try:
            document = check_document(content)
        except DocumentRefused as error:
            raise forms.ValidationError([forms.ValidationError(fault) for fault in error.faults]) from None
        is_there = Connection.objects.present().filter(slug=document.slug).exists()
        if is_there and not self.cleaned_data.get("replaces"):
            raise forms.ValidationError(
                f"There is a connection {document.slug} already. Tick Replace to change it; under another slug the same "
                "records would be billed a second time."
            )
        return content


class SettingsForm(forms.ModelForm[Connection]):
    """What is changed often, and what the connector asks for. The rest is changed by loading the document again."""

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        for name, fault in faults_in(self.instance, settings_in(self.instance, cleaned)).items():
            if name not in self.errors:
                self.add_error(name, fault)
        return cleaned

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if not name.isprintable():
            raise forms.ValidationError("A name is a text on one line.")
        return name

    blackouts = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false", "class": "code"}),
        help_text="When no scheduled run starts, one a line: 08:00-18:00, or 22:00-02:00 fri sat; one that would start "
        "then starts afterwards.",
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if "jitter_minutes" in self.fields:  # who only looks on has no fields
            self.initial["blackouts"] = blackout_lines(self.instance.blackouts)
            self.fields["jitter_minutes"].required = False

    def clean_blackouts(self) -> list[dict[str, Any]]:
        try:
            return parse_blackout_lines(self.cleaned_data["blackouts"])
        except ScheduleRefused as error:
            raise forms.ValidationError(f"{error}.") from None

    def clean_jitter_minutes(self) -> int:
        return self.cleaned_data["jitter_minutes"] or 0

    def clean_cron(self) -> str:
        return " ".join(self.cleaned_data["cron"].split())

    class Meta:
        model = Connection
        fields = ("name", "enabled", *SCHEDULE_COLUMNS, "four_eyes")
        widgets = {"time_of_day": forms.TimeInput(attrs={"type": "time"}, format="%H:%M")}


@admin.register(Connection)
class ConnectionAdmin(AuditedAdmin):
    list_display = ["name", "state", "connector", "base_url", "is_synced"]
    list_filter = [RunsFilter]
    search_fields = ["name", "slug"]
    records_additions = False
    change_form_template = "admin/integrations/connection/change_form.html"

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Connection]:
        return Connection.objects.present()

    @admin.display(description="State")
    def state(self, connection: Connection) -> SafeString:
        if not connection.enabled:
            return format_html('<span class="badge badge-muted">{}</span>', "Switched off")
        runs = SyncRun.objects.filter(stream__connection=connection, stream__declared=True)
        return run_badge(runs.order_by("-pk").first())

    @admin.display(description="Synced")
    def is_synced(self, connection: Connection) -> str:
        return str(connection.schedule)

    # --- the form -----------------------------------------------------------------------------------------

    def get_form(self, request: Any, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        kwargs["form"] = (
            type("ConnectionSettingsForm", (SettingsForm,), settings_fields(obj)) if obj else DocumentForm
        )
        return super().get_form(request, obj, change=change, **kwargs)

    def get_fieldsets(self, request: Any, obj: Any = None) -> Any:
        if obj is None:
            return [(None, {"fields": ["replaces", "document"]})]
        fieldsets: list[Any] = [
            (None, {"fields": ["name", "enabled", "four_eyes"]}),
            ("Schedule", {"fields": SCHEDULE_COLUMNS, "description": SCHEDULE_HINT}),
        ]
        if asked := list(settings_fields(obj)):
            fieldsets.append((CONNECTORS[obj.connector].label, {"fields": asked}))
        return fieldsets

    def save_form(self, request: Any, form: Any, change: Any) -> Any:
        """A new connection is made from its document; its name, schedule and streams come with it."""
        if change:
            return super().save_form(request, form, change)
        connection, _ = save_connection(form.cleaned_data["document"])
        form.save_m2m = lambda: None  # what Django calls next; a document has no such relations
        return connection

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if change:
            obj.changed_by = request.user.get_username()
            # Only what the form has: what else was changed meanwhile, such as the secrets by a rotation, stays.
            obj.save(update_fields=[*SettingsForm.Meta.fields, "changed_by", "changed_at"])
            reschedule(obj)
            settings = settings_in(obj, form.cleaned_data)
            if any(name.startswith(PREFIX) for name in form.changed_data) and settings != obj.settings:
                save_connection({**document_of(obj), "settings": settings})

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """What the page for a new connection starts with."""
        preset = PRESETS.get(request.GET.get("preset", ""), PRESETS[USUAL_PRESET])
        return {"document": preset.document}

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().add_view(request, form_url, {"presets": PRESETS, **(extra_context or {})})

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Where Test and Dry run are: what one does next with a new connection."""
        messages.success(request, f"{obj.name} is saved. Test it, then look at a dry run before you sync it.")
        return HttpResponseRedirect(reverse("admin:integrations_connection_change", args=[obj.pk]))

    def response_delete(self, request: HttpRequest, obj_display: str, obj_id: int) -> HttpResponse:
        messages.success(request, f"{obj_display} is archived. What it did stays.")
        return HttpResponseRedirect(reverse("admin:integrations_connection_changelist"))

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Nothing goes with an archived connection: what Django would list here all stays."""
        return [], {}, set(), []

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        archive_connection(obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Archiving is a change of the connection; several at once would be too easily done."""
        return obj is not None and self.has_change_permission(request, obj)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        connection = self.get_object(request, object_id)
        cards = stream_cards(Stream.objects.filter(connection=connection)) if connection else []
        may_sync = self.has_change_permission(request)
        wire = wire_context(request, connection) if connection else {}
        context = {"cards": cards, "may_sync": may_sync, **wire, **(extra_context or {})}
        return super().change_view(request, object_id, form_url, context)

    # --- what the buttons do ------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<int:pk>/test/", view(self.test), name="integrations_connection_test"),
            path(
                "stream/<int:pk>/card/",
                ProgressPages(self.admin_site).of_stream,
                name="integrations_stream_card",
            ),
            path("<int:pk>/export/", view(self.export), name="integrations_connection_export"),
            path(
                "<int:pk>/breaker/<str:verb>/", view(override_breaker), name="integrations_connection_breaker"
            ),
            path("stream/<int:pk>/sync/", view(self.sync), name="integrations_stream_sync"),
            path("stream/<int:pk>/dry-run/", view(self.dry_run), name="integrations_stream_dry_run"),
            *super().get_urls(),
        ]

    def sync(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self._start(request, pk, dry_run=False)

    def dry_run(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self._start(request, pk, dry_run=True)

    def _start(self, request: HttpRequest, pk: int, *, dry_run: bool) -> HttpResponse:
        if refusal := self._refused(request):
            return refusal
        stream = get_object_or_404(Stream.objects.select_related("connection"), pk=pk)
        try:
            run = request_run(stream, RunTrigger.ADMIN, dry_run=dry_run)
        except NotSyncable as error:
            messages.error(request, str(error))
            return HttpResponseRedirect(
                reverse("admin:integrations_connection_change", args=[stream.connection_id])
            )
        except AlreadyRunning as error:
            messages.warning(request, str(error))
            return HttpResponseRedirect(error.run.get_absolute_url())
        what = "A dry run" if dry_run else "The sync"
        messages.success(
            request,
            format_html('{} has started: <a href="{}">run {}</a>.', what, run.get_absolute_url(), run.pk),
        )
        return HttpResponseRedirect(run.get_absolute_url())

    def test(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Read the first page of each stream and show what it maps to; nothing is stored. A webhook is sent a test instead."""
        if refusal := self._refused(request):
            return refusal
        connection = get_object_or_404(Connection.objects.present(), pk=pk)
        if is_told(connection):
            return self._send_test(request, connection)
        trials = try_connection(connection)
        context = {
            "trials": [
                {
                    "trial": trial,
                    "examples": [
                        json.dumps(example, indent=2, ensure_ascii=False) for example in trial.examples
                    ],
                }
                for trial in trials
            ],
            "title": f"Test of {connection.name}",
        }
        request.method = (
            "GET"  # the connection's own page is shown with the result: nothing of its form was sent
        )
        return self.change_view(request, str(pk), extra_context=context)

    def _send_test(self, request: HttpRequest, connection: Connection) -> HttpResponse:
        """Of an address that is told of alerts: send it one that is none, on the road of all others."""
        message = send_test_event(connection)
        messages.success(
            request,
            "A test is on its way. It is sent within seconds: load this page again to see the attempt.",
        )
        return HttpResponseRedirect(message.get_absolute_url())

    def export(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The connection's document as a file, without any secret."""
        connection = get_object_or_404(Connection.objects.present(), pk=pk)
        if not self.has_view_permission(request, connection):
            raise PermissionDenied
        try:
            content = json.dumps(document_of(connection), cls=IndentedEncoder)
        except SealBroken as error:
            messages.error(request, str(error))
            return HttpResponseRedirect(reverse("admin:integrations_connection_change", args=[pk]))
        file = {"Content-Disposition": f'attachment; filename="{connection.slug}.json"'}
        return HttpResponse(f"{content}\n", content_type="application/json", headers=file)

    def _refused(self, request: HttpRequest) -> HttpResponse | None:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_change_permission(request):
            raise PermissionDenied
        return None
