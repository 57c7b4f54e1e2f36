"""Alerts: what is the matter, who looks after it, and which letters a person gets."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import SafeString

from apiauth.models import User
from apiauth.roles import ADMINISTRATOR
from audit.admin import ReadOnlyAdmin
from integrations import triage
from integrations.admin.decision import ids_among
from integrations.models import Alert, AlertSubscription, Connection
from integrations.models.alert import Letters, Severity
from integrations.notices.owed import next_morning

_TONES: Final = {Severity.LOW: "muted", Severity.NORMAL: "warn", Severity.URGENT: "bad"}
# For how long an alert may be put off, by the value of the button.
SNOOZES: Final[dict[str, tuple[str, Callable[[datetime.datetime], datetime.datetime]]]] = {
    "hour": ("1 hour", lambda now: now + datetime.timedelta(hours=1)),
    "morning": ("Until the next morning", next_morning),
    "week": ("1 week", lambda now: now + datetime.timedelta(days=7)),
}


class StateFilter(admin.SimpleListFilter):
    """Whether somebody has to look: open ones unless another state is asked for."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("snoozed", "Put off"), ("over", "Over"), ("all", "All")]

    def choices(self, changelist: Any) -> Any:
        """The first choice is what is open, and not everything."""
        first, *others = super().choices(changelist)
        return [{**first, "display": "Open"}, *others]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        match self.value():
            case "snoozed":
                return queryset.filter(resolved_at__isnull=True, snooze_ends_at__gt=timezone.now())
            case "over":
                return queryset.filter(resolved_at__isnull=False)
            case "all":
                return queryset
        # An alert's own page is found whatever its state.
        on_a_list = request.resolver_match is not None and "object_id" not in request.resolver_match.kwargs
        return queryset.filter(resolved_at__isnull=True) if on_a_list else queryset


class LettersForm(forms.Form):
    """Which letters a person wants."""

    letters = forms.ChoiceField(
        choices=Letters.choices, widget=forms.RadioSelect, label="Letters about alerts"
    )
    connections = forms.ModelMultipleChoiceField(
        queryset=Connection.objects.present().order_by("name"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="None chosen: of all. What concerns the whole installation always reaches you.",
    )


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin):
    list_display = ["title", "badge", "state", "owner", "raised_at", "times"]
    list_filter = [StateFilter, "severity"]
    list_select_related = ["owner"]
    search_fields = ["title", "text"]
    ordering = ["-severity", "-id"]
    show_full_result_count = False
    fields = ["title"]
    change_form_template = "admin/integrations/alert/change_form.html"

    @admin.display(description="Severity", ordering="severity")
    def badge(self, alert: Alert) -> SafeString:
        return severity_badge(alert)

    @admin.display(description="State")
    def state(self, alert: Alert) -> str:
        if alert.resolved_at:
            return f"over since {alert.resolved_at:%Y-%m-%d %H:%M} UTC"
        if alert.snooze_ends_at and alert.snooze_ends_at > timezone.now():
            return f"put off until {alert.snooze_ends_at:%Y-%m-%d %H:%M} UTC"
        return "open"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("letters/", view(self.letters), name="integrations_alert_letters"),
            path("<int:pk>/triage/<str:verb>/", view(self.triage), name="integrations_alert_triage"),
            *super().get_urls(),
        ]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        alert = self.get_object(request, object_id)
        context = {
            "alert": alert,
            "badge": severity_badge(alert) if alert else "",
            "snoozed": bool(alert and alert.snooze_ends_at and alert.snooze_ends_at > timezone.now()),
            "may_triage": request.user.has_perm("integrations.triage_alert"),
            "colleagues": colleagues(),
            "snoozes": {value: label for value, (label, _) in SNOOZES.items()},
            "letters": alert.notices.select_related("person") if alert else (),
        }
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})

    def triage(self, request: HttpRequest, pk: int, verb: str) -> HttpResponse:
        """Acknowledge, give, put off or have back: a permission, one operation, a message."""
        if verb not in VERBS:
            raise Http404
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not request.user.has_perm("integrations.triage_alert"):
            raise PermissionDenied
        alert = get_object_or_404(Alert, pk=pk)
        try:
            done = VERBS[verb](request, alert)
        except triage.TriageRefused as refusal:
            messages.error(request, str(refusal))
        else:
            messages.success(request, format_html('<a href="{}">{}</a>: {}', alert.page, alert.title, done))
        return HttpResponseRedirect(_back(request) or alert.page)

    def letters(self, request: HttpRequest) -> HttpResponse:
        """Which letters the person at hand gets."""
        if not self.has_view_permission(request) or not isinstance(request.user, User):
            raise PermissionDenied
        person = request.user
        form = LettersForm(request.POST or None, initial=_wishes_of(person))
        if request.method == "POST" and form.is_valid():
            triage.subscribe(person, Letters(form.cleaned_data["letters"]), form.cleaned_data["connections"])
            messages.success(request, "Saved: from now on you get these letters.")
            return HttpResponseRedirect(reverse("admin:integrations_alert_letters"))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Letters about alerts",
            "form": form,
            "address": person.email,
        }
        return TemplateResponse(request, "admin/integrations/alert/letters.html", context)


def severity_badge(alert: Alert) -> SafeString:
    """How soon somebody has to look."""
    tone = "muted" if alert.resolved_at else _TONES[Severity(alert.severity)]
    return format_html('<span class="badge badge-{}">{}</span>', tone, alert.get_severity_display())


def colleagues() -> models.QuerySet[User]:
    """Whom an alert can be given to."""
    people = models.Q(groups__name=ADMINISTRATOR) | models.Q(is_superuser=True)
    return User.objects.filter(people, is_active=True).distinct().order_by("username")


def _wishes_of(person: User) -> dict[str, Any]:
    subscription = AlertSubscription.objects.filter(person=person).first()
    if subscription is None:
        return {"letters": Letters.NORMAL}
    return {"letters": subscription.letters, "connections": subscription.connections.all()}


def _acknowledge(request: HttpRequest, alert: Alert) -> str:
    triage.acknowledge(alert, _person(request))
    return "you look after it."


def _give(request: HttpRequest, alert: Alert) -> str:
    to = colleagues().filter(pk__in=ids_among(request.POST.getlist("to"))).first()
    if to is None:
        raise triage.TriageRefused("Choose who is to look after it.")
    triage.give(alert, to, _person(request))
    return f"{to} looks after it now."


def _snooze(request: HttpRequest, alert: Alert) -> str:
    chosen = SNOOZES.get(request.POST.get("for", ""))
    if chosen is None:
        raise triage.TriageRefused("Choose how long it is to be put off.")
    until = chosen[1](timezone.now())
    triage.snooze(alert, until)
    return f"put off until {until:%Y-%m-%d %H:%M} UTC."


def _wake(request: HttpRequest, alert: Alert) -> str:
    triage.wake(alert)
    return "it is on the front page again."


VERBS: Final[dict[str, Callable[[HttpRequest, Alert], str]]] = {
    "acknowledge": _acknowledge,
    "give": _give,
    "snooze": _snooze,
    "wake": _wake,
}


def _person(request: HttpRequest) -> User:
    if not isinstance(request.user, User):
        raise PermissionDenied
    return request.user


def _back(request: HttpRequest) -> str:
    """The page of ours that the button stood on, where it says so."""
    page = request.POST.get("back", "")
    is_ours = page.startswith("/") and url_has_allowed_host_and_scheme(page, allowed_hosts=None)
    return page if is_ours else ""
