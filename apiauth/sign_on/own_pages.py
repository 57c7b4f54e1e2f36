"""Everybody's pages of their own sign-on: sessions, what happened lately, and the second step."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone

import audit
from apiauth.models import RecoveryCode, StaffSession, User
from apiauth.sign_on import second_step
from apiauth.sign_on.attempts import begin_second_step
from apiauth.sign_on.browser_words import browser_in_words
from apiauth.sign_on.forms import PasswordForm
from apiauth.sign_on.sessions import sessions_of
from audit.models import AuditEvent
from audit.models.event import subject_id_of

EVENTS_SHOWN: Final = 30
# What of somebody's trail is about their signing on: in words, and as which kind of news.
EVENTS: Final = {
    "user.signed_in": ("Signed on", "good"),
    "user.signed_out": ("Signed off", "muted"),
    "user.session_expired": ("Signed off, unused", "muted"),
    "user.session_ended": ("Session ended", "muted"),
    "user.sign_in_failed": ("Wrong password", "warn"),
    "user.password_refused": ("Wrong password", "warn"),
    "user.sign_in_throttled": ("Too many attempts", "bad"),
    "user.second_step_failed": ("Wrong code", "warn"),
    "user.recovery_code_used": ("Recovery code used", "info"),
    "user.recovery_codes_made": ("Recovery codes made", "info"),
    "user.second_step_set_up": ("Second step set up", "good"),
    "user.second_step_removed": ("Second step removed", "warn"),
    "user.password_changed": ("Password changed", "info"),
    "user.password_set": ("Password set by somebody else", "info"),
}


@dataclass(frozen=True)
class OwnSession:
    """A session as its person is shown it. `name` says which it is, without its key: that would let others use it."""

    name: str
    row: StaffSession
    browser: str
    is_this: bool


class OwnPages:
    """The pages, for one admin site."""

    def __init__(self, site: AdminSite) -> None:
        self.site = site

    def urls(self) -> list[URLPattern]:
        """The addresses; each is for whoever may use the admin, about themselves alone."""
        pages: dict[str, tuple[str, Callable[[HttpRequest], HttpResponse]]] = {
            "sign_on": ("sign-on/", self.sign_on),
            "end_session": ("sign-on/end/", self.end_session),
            "set_up_second_step": ("sign-on/second-step/", self.set_up),
            "remove_second_step": ("sign-on/second-step/remove/", self.remove),
            "make_recovery_codes": ("sign-on/recovery-codes/", self.make_codes),
        }
        return [path(at, self.site.admin_view(page), name=name) for name, (at, page) in pages.items()]

    def sign_on(self, request: HttpRequest) -> HttpResponse:
        """Where one is signed on, and what happened lately."""
        user = _person(request)
        return self._answer(
            request,
            "sign_on.html",
            "Your sign-on",
            sessions=own_sessions(request),
            events=recent_events(user),
            has_second_step=second_step.has_second_step(user),
            needs_second_step=second_step.needs_second_step(user),
            codes_left=RecoveryCode.objects.filter(user=user, used_at__isnull=True).count(),
        )

    def end_session(self, request: HttpRequest) -> HttpResponse:
        """End one other session of one's own, or all of them."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        name = request.POST.get("session", "")
        others = [each for each in own_sessions(request) if not each.is_this and name in ("", each.name)]
        with transaction.atomic():
            ended = StaffSession.objects.filter(pk__in=[each.row.pk for each in others])
            count, _ = ended.delete()
            if count:
                audit.record("user.session_ended", _person(request), detail={"sessions": count})
        if count:
            messages.success(request, f"{count} session{'s were' if count > 1 else ' was'} ended.")
        else:
            messages.info(request, "There was no such session any more.")
        return HttpResponseRedirect(reverse("admin:sign_on"))

    def set_up(self, request: HttpRequest) -> HttpResponse:
        """The picture for the app, and the first code that shows it has been read."""
        user = _person(request)
        if second_step.has_second_step(user):
            return HttpResponseRedirect(reverse("admin:sign_on"))
        authenticator, fault = second_step.prepare_authenticator(user), ""
        if request.method == "POST":
            attempt = begin_second_step(user)
            refusal = attempt.refusal(user)
            codes = None if refusal else second_step.confirm_authenticator(user, request.POST.get("code", ""))
            if codes is not None:
                attempt.take_back()
                return self._show_codes(request, codes)
            fault = (
                refusal
                or "This code is not right. Wait for the app's next one, and see that its clock is right."
            )
        return self._answer(
            request,
            "set_up_second_step.html",
            "Set up the second step",
            picture=second_step.picture_of(authenticator),
            secret=second_step.secret_of(authenticator),
            fault=fault,
            is_needed=second_step.needs_second_step(user),
        )

    def remove(self, request: HttpRequest) -> HttpResponse:
        """Do without the second step, where the installation lets one."""
        user = _person(request)
        if second_step.needs_second_step(user):
            messages.error(
                request,
                "Your role asks for a second step, so it cannot be removed. An administrator can reset it.",
            )
            return HttpResponseRedirect(reverse("admin:sign_on"))

        def remove_it() -> HttpResponse:
            second_step.remove_second_step(user, reason="by the person")
            messages.success(request, "From now on your password alone signs you on.")
            return HttpResponseRedirect(reverse("admin:sign_on"))

        return self._after_password(request, "Remove the second step", remove_it)

    def make_codes(self, request: HttpRequest) -> HttpResponse:
        """New recovery codes; the old ones open nothing any more."""
        user = _person(request)
        if not second_step.has_second_step(user):
            return HttpResponseRedirect(reverse("admin:set_up_second_step"))
        return self._after_password(
            request,
            "New recovery codes",
            lambda: self._show_codes(request, second_step.make_recovery_codes(user)),
        )

    def _after_password(
        self, request: HttpRequest, title: str, act: Callable[[], HttpResponse]
    ) -> HttpResponse:
        form = PasswordForm(request, _person(request), request.POST or None)
        if request.method == "POST" and form.is_valid():
            return act()
        return self._answer(request, "password_first.html", title, form=form)

    def _show_codes(self, request: HttpRequest, codes: list[str]) -> HttpResponse:
        answer = self._answer(request, "recovery_codes.html", "Your recovery codes", codes=codes)
        answer.headers["Cache-Control"] = "no-store"
        return answer

    def _answer(self, request: HttpRequest, template: str, title: str, **context: Any) -> TemplateResponse:
        everything = {**self.site.each_context(request), "title": title, **context}
        return TemplateResponse(request, f"admin/sign_on/{template}", everything)


def own_sessions(request: HttpRequest) -> list[OwnSession]:
    """The sessions of whoever asks; the one that asks first."""
    rows = sessions_of(_person(request), timezone.now())
    found = [
        OwnSession(
            hashlib.sha256(row.session_key.encode()).hexdigest()[:16],
            row,
            browser_in_words(row.browser),
            row.session_key == request.session.session_key,
        )
        for row in rows
    ]
    return sorted(found, key=lambda each: not each.is_this)


def recent_events(user: User) -> list[tuple[AuditEvent, str, str]]:
    """The newest events of a person's signing on, each in words and with its tone."""
    rows = AuditEvent.objects.filter(
        subject_type=user._meta.label_lower, subject_id=subject_id_of(user), action__in=EVENTS
    )
    return [(event, *EVENTS[event.action]) for event in rows.order_by("-id")[:EVENTS_SHOWN]]


def _person(request: HttpRequest) -> User:
    """Whoever asks. The admin lets nobody else in."""
    user: User = request.user  # type: ignore[assignment]
    return user
