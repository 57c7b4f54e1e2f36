"""The outbox: what has to happen outside, each attempt with what was sent and answered, and what a person may do about it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from audit.admin import LooksAreAudited, ReadOnlyAdmin
from audit.trails import trail_address
from integrations.admin.badges import ATTEMPT_TONES, message_badge
from integrations.admin.library import act_on_library_account
from integrations.admin.subjects import MessageList, find_subjects
from integrations.effects import EFFECTS
from integrations.models import Connection, DeliveryAttempt, OutboxMessage
from integrations.models.outbox import AttemptOutcome, MessageStatus
from integrations.outbox.by_hand import NothingToDo, pause, resume, retry
from registration.models import Student


@admin.register(OutboxMessage)
class OutboxMessageAdmin(LooksAreAudited, ReadOnlyAdmin):
    student_number = "student.number"
    list_display = ["number", "badge", "what", "about", "attempts", "created_at", "said"]
    list_display_links = ["number"]
    list_filter = ["status", "connection", "kind"]
    list_select_related = ["connection"]
    search_fields = ["=id", "=subject"]
    show_full_result_count = False
    actions = ["retry_selected"]
    change_form_template = "admin/integrations/outboxmessage/change_form.html"
    change_list_template = "admin/integrations/outboxmessage/change_list.html"

    @admin.display(description="Message", ordering="id")
    def number(self, message: OutboxMessage) -> str:
        return f"Message {message.pk}"

    @admin.display(description="Status", ordering="status")
    def badge(self, message: OutboxMessage) -> SafeString:
        return message_badge(message)

    @admin.display(description="What", ordering="kind")
    def what(self, message: OutboxMessage) -> str:
        return EFFECTS[message.kind].label

    @admin.display(description="About")
    def about(self, message: Any) -> str:
        return message.shown_subject  # type: ignore[no-any-return] # put there by MessageList

    @admin.display(description="What the last attempt said")
    def said(self, message: OutboxMessage) -> str:
        return message.reason[:160]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[OutboxMessage], search_term: str
    ) -> tuple[QuerySet[OutboxMessage], bool]:
        """A student is found by number, as everywhere."""
        student = Student.objects.filter(number__iexact=search_term.strip()).first()
        if student is not None:
            return queryset.filter(subject=f"library:{student.pk}"), False
        return super().get_search_results(request, queryset, search_term)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[MessageList]:
        return MessageList

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> OutboxMessage | None:
        message: OutboxMessage | None = super().get_object(request, object_id, from_field)
        if message is not None:
            find_subjects(request, [message])
        return message

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("retry-failed/", view(self.retry_failed), name="integrations_outboxmessage_retry_failed"),
            path("<int:pk>/retry/", view(self.retry_one), name="integrations_outboxmessage_retry"),
            path(
                "connection/<int:pk>/<str:verb>/",
                view(self.control),
                name="integrations_outboxmessage_control",
            ),
            path(
                "library/<int:pk>/<str:verb>/",
                view(act_on_library_account),
                name="integrations_outboxmessage_library",
            ),
            *super().get_urls(),
        ]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().changelist_view(request, {**_list_context(request), **(extra_context or {})})

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        message = self.get_object(request, object_id)
        context = _message_context(request, message) if message else {}
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})

    # --- what a person may do -----------------------------------------------------------------------------

    def has_retry_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("integrations.retry_outboxmessage")

    @admin.action(description="Retry the selected messages now", permissions=["retry"])
    def retry_selected(self, request: HttpRequest, queryset: QuerySet[OutboxMessage]) -> None:
        _tell(request, retry(OutboxMessage.objects.filter(pk__in=queryset.values("pk"))))

    def retry_failed(self, request: HttpRequest) -> HttpResponse:
        """Retry everything that failed its last attempt."""
        _check(request, "integrations.retry_outboxmessage")
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        _tell(request, retry(OutboxMessage.objects.all(), reason=request.POST.get("reason", "")))
        return HttpResponseRedirect(reverse("admin:integrations_outboxmessage_changelist"))

    def retry_one(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Retry one message."""
        _check(request, "integrations.retry_outboxmessage")
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        message = get_object_or_404(OutboxMessage, pk=pk)
        _tell(
            request,
            retry(OutboxMessage.objects.filter(pk=pk), reason=request.POST.get("reason", "")),
            message,
        )
        return HttpResponseRedirect(message.get_absolute_url())

    def control(self, request: HttpRequest, pk: int, verb: str) -> HttpResponse:
        """Pause or resume a connection's deliveries."""
        if verb not in _CONTROLS:
            raise Http404
        _check(request, "integrations.pause_outboxmessage")
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        connection = get_object_or_404(Connection.objects.present(), pk=pk)
        act, done = _CONTROLS[verb]
        try:
            act(connection, reason=request.POST.get("reason", ""))
        except NothingToDo as refusal:
            messages.error(request, str(refusal))
        else:
            messages.success(request, done.format(connection.name))
        return HttpResponseRedirect(reverse("admin:integrations_outboxmessage_changelist"))


_CONTROLS: dict[str, tuple[Callable[..., Any], str]] = {
    "pause": (pause, "Nothing is delivered to {} until somebody resumes it. Nothing is lost."),
    "resume": (resume, "Deliveries to {} go on, in the order in which they were caused."),
}


def _check(request: HttpRequest, permission: str) -> None:
    if not request.user.has_perm(permission):
        raise PermissionDenied


def _tell(request: HttpRequest, count: int, message: OutboxMessage | None = None) -> None:
    """Say how many are due now, with a link to where it is seen."""
    if not count:
        messages.warning(request, "Nothing of this failed its last attempt: there is nothing to retry.")
        return
    address = (
        message.get_absolute_url() if message else reverse("admin:integrations_outboxmessage_changelist")
    )
    words = f"Message {message.pk} is due now." if message else f"{count:,} messages are due now."
    messages.success(request, format_html('{} <a href="{}">See what comes of it.</a>', words, address))


def _list_context(request: HttpRequest) -> dict[str, Any]:
    """What stands above the list: each connection with what waits, and what can be done for all."""
    waiting = Count("messages", filter=Q(messages__status=MessageStatus.WAITING))
    escalated = Count("messages", filter=Q(messages__status=MessageStatus.ESCALATED))
    used = Connection.objects.present().filter(messages__isnull=False).select_related("delivery_pause")
    return {
        "systems": used.annotate(waiting=waiting, escalated=escalated),
        "failing": OutboxMessage.objects.failing().count(),
        "may_retry": request.user.has_perm("integrations.retry_outboxmessage"),
        "may_pause": request.user.has_perm("integrations.pause_outboxmessage"),
    }


def _message_context(request: HttpRequest, message: Any) -> dict[str, Any]:
    return {
        "message": message,
        "title": f"Message {message.pk}: {EFFECTS[message.kind].label.lower()}",
        "subtitle": None,
        "badge": message_badge(message),
        "about": message.shown_subject,
        "attempts": [_shown(attempt) for attempt in message.delivery_attempts.order_by("-number")],
        "is_failing": OutboxMessage.objects.failing().filter(pk=message.pk).exists(),
        "may_retry": request.user.has_perm("integrations.retry_outboxmessage"),
        "trail_address": trail_address(message),
    }


def _shown(attempt: DeliveryAttempt) -> dict[str, Any]:
    """An attempt as its card shows it: bodies as indented JSON."""
    exchanges = [
        {**exchange, "sent": _in_lines(exchange.get("sent")), "answer": _in_lines(exchange.get("answer"))}
        for exchange in attempt.exchanges
    ]
    tone = ATTEMPT_TONES[AttemptOutcome(attempt.outcome)]
    return {"attempt": attempt, "tone": tone, "exchanges": exchanges}


def _in_lines(body: Any) -> str:
    return "" if body is None else json.dumps(body, ensure_ascii=False, indent=1)
