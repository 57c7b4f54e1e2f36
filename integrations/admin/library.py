"""The library account on the student profile: its status, the clock of the promise, each attempt, and what a person may do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone

from integrations.admin.badges import LIBRARY_TONES
from integrations.effects.library import library_connection
from integrations.models import DeliveryAttempt, OutboxMessage
from registration import operations
from registration.models import LibraryAccount, Student
from registration.models.library import LibraryStatus

ATTEMPTS_SHOWN: Final = 20


@dataclass(frozen=True)
class HandVerb:
    """What a person may say about an account: the button's word, what it will do, and what was done."""

    label: str
    act: Callable[..., LibraryAccount]
    means: str
    done: str


VERBS: Final = {
    "provision": HandVerb(
        "Provision by hand",
        operations.provision_by_hand,
        "the library is asked for an account, whatever the student is enrolled in",
        "The library is asked to open the account.",
    ),
    "deprovision": HandVerb(
        "De-provision by hand",
        operations.deprovision_by_hand,
        "the account is ended at once, without the grace, whatever the student is enrolled in",
        "The library is asked to end the account.",
    ),
    "follow": HandVerb(
        "Follow enrollment again",
        operations.follow_enrollment_again,
        "the account is what the student's enrollments say",
        "The account follows the student's enrollments again.",
    ),
}


def library_context(request: HttpRequest, student: Student) -> dict[str, Any]:
    """What the profile's panel needs."""
    account = LibraryAccount.objects.filter(student=student).first()
    sent = OutboxMessage.objects.filter(subject=f"library:{student.pk}").select_related("connection")
    may_override = request.user.has_perm("registration.override_libraryaccount")
    return {
        "student": student,
        "account": account,
        "tone": LIBRARY_TONES[LibraryStatus(account.status)] if account else "muted",
        "is_late": _is_late(account),
        "connection": library_connection(),
        "message": sent.first(),
        "attempts": DeliveryAttempt.objects.filter(message__in=sent).order_by("-started_at")[:ATTEMPTS_SHOWN],
        "verbs": _verbs_for(account) if may_override else {},
        "may_see_messages": request.user.has_perm("integrations.view_outboxmessage"),
        "may_retry": request.user.has_perm("integrations.retry_outboxmessage"),
    }


def _is_late(account: LibraryAccount | None) -> bool:
    if account is None:
        return False
    return (account.settled_at or timezone.now()) > account.promised_by_at


def _verbs_for(account: LibraryAccount | None) -> dict[str, HandVerb]:
    """What can be said now: not what has been said already, and nothing is taken back where nothing was said."""
    said = account.override if account else ""
    return {name: verb for name, verb in VERBS.items() if name != said and (said or name != "follow")}


def act_on_library_account(request: HttpRequest, pk: int, verb: str) -> HttpResponse:
    """Provision or de-provision by hand, or take that back: a permission, one operation, a message."""
    if verb not in VERBS:
        raise Http404
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    if not request.user.has_perm("registration.override_libraryaccount"):
        raise PermissionDenied
    student = get_object_or_404(Student, pk=pk)
    try:
        VERBS[verb].act(student, reason=request.POST.get("reason", ""))
    except operations.Refused as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, VERBS[verb].done)
    return HttpResponseRedirect(reverse("admin:registration_student_change", args=[pk]) + "#library")
