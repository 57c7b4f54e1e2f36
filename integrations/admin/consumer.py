"""A consumer's page: how it stands, whom it may see, how much it calls, and what may be done about it."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any, Final

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apiauth import operations
from apiauth.models import Consumer, ConsumerStatus
from apiauth.operations import Credentials
from apiauth.scopes import SCOPES
from apiauth.usage import requests_this_hour
from audit.admin import AuditedAdmin, LooksAreAudited
from audit.models import AuditEvent
from integrations.admin.consumer_forms import PURPOSE_HELP, AdmissionForm, SettingsForm, student_choices
from integrations.admin.snippets import snippets_for
from integrations.admin.usage_chart import usage_chart
from integrations.models import WebhookSubscription
from integrations.subscriptions import unsubscribe
from registration import disclosure
from registration.models import StudentGrant
from registration.operations import Refused as NotGranted

EVENTS_SHOWN: Final = 10
MAX_ID_DIGITS: Final = 18  # what surely fits 64 bits
TONES: Final = {"active": "good", "suspended": "warn", "revoked": "muted", "expired": "bad"}
# How long the old secret may go on working, in hours.
OVERLAPS: Final = (
    (24, "a day"),
    (24 * 7, "a week"),
    (24 * 30, "30 days"),
    (1, "an hour"),
    (0, "not at all: it stops now"),
)


@admin.register(Consumer)
class ConsumerAdmin(LooksAreAudited, AuditedAdmin):
    lists_records = False  # its page names the students who are granted by name
    list_display = ["name", "badge", "scopes_shown", "last_used_at", "expires_on", "hourly_limit"]
    list_filter = ["status"]
    search_fields = ["name", "client_id", "contact"]
    show_full_result_count = False
    change_form_template = "admin/apiauth/consumer/change_form.html"

    @admin.display(description="Status", ordering="status")
    def badge(self, consumer: Consumer) -> SafeString:
        return consumer_badge(consumer)

    @admin.display(description="Scopes")
    def scopes_shown(self, consumer: Consumer) -> str:
        return ", ".join(consumer.scopes)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """History hangs on it: a consumer is revoked, and stays."""
        return False

    def get_form(self, request: Any, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        kwargs["form"] = SettingsForm
        return super().get_form(request, obj, change=change, **kwargs)

    def get_fieldsets(self, request: Any, obj: Any = None) -> Any:
        return [(None, {"fields": list(SettingsForm.field_order)})]

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<int:pk>/do/<str:decision>/", view(self.decide), name="apiauth_consumer_decide"),
            *super().get_urls(),
        ]

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Four fields, and then the secret: on this one answer and nowhere else."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = AdmissionForm(request.POST if request.method == "POST" else None, label_suffix="")
        if request.method == "POST" and form.is_valid():
            if form.cleaned_data["students"]:
                _demand(request, "registration.add_studentgrant")
            try:
                return self._secret_page(request, form.admit(), "is admitted")
            except (operations.Refused, NotGranted) as refused:
                form.add_error(None, str(refused))
        context = {
            "form": form,
            "title": "New consumer",
            "opts": self.opts,
            **self.admin_site.each_context(request),
        }
        return TemplateResponse(request, "admin/apiauth/consumer/add.html", context)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        consumer = self.get_object(request, object_id)
        context = consumer_context(request, consumer) if consumer else {}
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})

    def decide(self, request: HttpRequest, pk: int, decision: str) -> HttpResponse:
        """What a button does: a permission, one operation, a message."""
        if decision not in DECISIONS:
            raise Http404
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        permission, act = DECISIONS[decision]
        _demand(request, permission)
        consumer = get_object_or_404(Consumer, pk=pk)
        try:
            done = act(consumer, request)
        except (operations.Refused, NotGranted) as refused:
            messages.error(request, str(refused))
        else:
            if isinstance(done, Credentials):
                return self._secret_page(request, done, "has a new secret")
            messages.success(request, done)
        return HttpResponseRedirect(consumer.get_absolute_url())

    def _secret_page(self, request: HttpRequest, made: Credentials, news: str) -> HttpResponse:
        """The secret, answered to the very request that made it: kept in no session, and by no cache."""
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"{made.consumer.name} {news}",
            "consumer": made.consumer,
            "secret": made.secret,
            "snippets": snippets_for(made),
        }
        return TemplateResponse(
            request, "admin/apiauth/consumer/secret.html", context, headers={"Cache-Control": "no-store"}
        )


def consumer_badge(consumer: Consumer) -> SafeString:
    """How its keys stand today."""
    is_over = consumer.expires_on is not None and timezone.localdate() > consumer.expires_on
    is_expired = is_over and consumer.status == ConsumerStatus.ACTIVE
    standing = "expired" if is_expired else consumer.status
    words = "Expired" if is_expired else consumer.get_status_display()
    return format_html('<span class="badge badge-{}">{}</span>', TONES[standing], words)


def consumer_context(request: HttpRequest, consumer: Consumer) -> dict[str, Any]:
    """What the page shows beside the form of settings."""
    used = requests_this_hour(consumer.pk)
    may_change = request.user.has_perm("apiauth.change_consumer")
    grants = StudentGrant.objects.filter(consumer=consumer).select_related("program", "college", "student")
    subscriptions = WebhookSubscription.objects.filter(consumer=consumer)
    return {
        "consumer": consumer,
        "title": consumer.name,
        "subtitle": None,
        "badge": consumer_badge(consumer),
        "show_save_and_add_another": False,
        "scopes": [(name, SCOPES[name].words) for name in consumer.scopes],
        "used": used,
        "left": None if used is None else max(0, consumer.hourly_limit - used),
        "overlap_ends_at": consumer.previous_secret_ends_at
        if (consumer.previous_secret_ends_at or timezone.now()) > timezone.now()
        else None,
        "overlaps": OVERLAPS,
        "chart": usage_chart(consumer),
        "grants": [each for each in grants if each.revoked_at is None],
        "withdrawn": [each for each in grants if each.revoked_at is not None],
        "sees_nobody": any(SCOPES[name].about_students for name in consumer.scopes)
        and not any(each.revoked_at is None for each in grants),
        "student_choices": [choice for choice in student_choices() if choice[0]],
        "purpose_help": PURPOSE_HELP,
        "may_decide": may_change and consumer.status != ConsumerStatus.REVOKED,
        "may_grant": request.user.has_perm("registration.add_studentgrant")
        and consumer.status != ConsumerStatus.REVOKED,
        "may_withdraw": request.user.has_perm("registration.change_studentgrant"),
        "webhooks": subscriptions.present(),
        "ended_webhooks": subscriptions.filter(ended_at__isnull=False).order_by("-ended_at")[:EVENTS_SHOWN],
        "may_unsubscribe": may_change,
        "events": AuditEvent.objects.about(consumer)[:EVENTS_SHOWN]
        if request.user.has_perm("audit.view_auditevent")
        else None,
    }


# --- what the buttons do ----------------------------------------------------------------------------------


def _suspend(consumer: Consumer, request: HttpRequest) -> str:
    operations.suspend(consumer, reason=_reason(request))
    return f"{consumer} is suspended: its very next request is refused."


def _resume(consumer: Consumer, request: HttpRequest) -> str:
    operations.resume(consumer, reason=_reason(request))
    return f"{consumer} may call again."


def _revoke(consumer: Consumer, request: HttpRequest) -> str:
    if request.POST.get("sure") != "yes":
        raise operations.Refused("Tick that it is for good: a revoked consumer cannot be brought back.")
    operations.revoke(consumer, reason=_reason(request))
    return f"{consumer} is revoked, for good. What it did stays on the trail."


def _rotate(consumer: Consumer, request: HttpRequest) -> Credentials:
    hours = request.POST.get("overlap_hours", "")
    if hours not in {str(offered) for offered, _ in OVERLAPS}:
        raise operations.Refused("Choose how long the old secret goes on working.")
    return operations.rotate_secret(
        consumer,
        overlap=datetime.timedelta(hours=int(hours)),
        reason=_reason(request),
        seen=_moment(request.POST.get("seen", "")),
    )


def _grant(consumer: Consumer, request: HttpRequest) -> str:
    number = request.POST.get("number", "").strip()
    named = f"student:{number}" if number else request.POST.get("students", "")
    given = disclosure.grant(
        consumer, disclosure.students_named(named), purpose=request.POST.get("purpose", "")
    )
    return f"{consumer} may see: {given.words}."


def _withdraw(consumer: Consumer, request: HttpRequest) -> str:
    given = get_object_or_404(StudentGrant, pk=_number(request.POST.get("grant", "")), consumer=consumer)
    disclosure.withdraw(given, reason=_reason(request))
    return f"{consumer} may no longer see: {given.words}. The grant stays on record."


def _unsubscribe(consumer: Consumer, request: HttpRequest) -> str:
    if not unsubscribe(consumer, _number(request.POST.get("subscription", "")), reason=_reason(request)):
        raise operations.Refused("This subscription was ended in the meantime.")
    return "The subscription is removed, and its secret forgotten. The partner may make another one."


Act = Callable[[Consumer, HttpRequest], str | Credentials]

# The buttons of a consumer's page: the permission that each needs, and what it does.
DECISIONS: Final[dict[str, tuple[str, Act]]] = {
    "suspend": ("apiauth.change_consumer", _suspend),
    "resume": ("apiauth.change_consumer", _resume),
    "revoke": ("apiauth.change_consumer", _revoke),
    "rotate": ("apiauth.change_consumer", _rotate),
    "grant": ("registration.add_studentgrant", _grant),
    "withdraw": ("registration.change_studentgrant", _withdraw),
    "unsubscribe": ("apiauth.change_consumer", _unsubscribe),
}


def _number(text: str) -> int:
    """The id that a form names; 0, which nothing has, for what is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= MAX_ID_DIGITS else 0


def _moment(text: str) -> datetime.datetime | None:
    try:
        return parse_datetime(text)
    except ValueError:
        return None


def _demand(request: HttpRequest, permission: str) -> None:
    if not request.user.has_perm(permission):
        raise PermissionDenied


def _reason(request: HttpRequest) -> str:
    reason = request.POST.get("reason", "").strip()[:500]
    if not reason:
        raise operations.Refused("Say why: the reason is kept on the trail.")
    return reason
