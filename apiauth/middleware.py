"""What is asked of every page of somebody who has signed on: that the session is not over, and that the second step was taken
where the installation wants it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone

import audit
from apiauth.models import User
from apiauth.sign_on.second_step import has_second_step, needs_second_step
from apiauth.sign_on.sessions import is_over, see

# In the session of whoever need not be asked again: they have a second step, or their roles ask for none.
SECOND_STEP_SETTLED: Final = "second_step_settled"
# Where who still has to set up the second step may go: there, and out.
_ALLOWED_BEFORE_IT: Final = (
    "admin:set_up_second_step",
    "admin:logout",
    "admin:password_change",
    "admin:jsi18n",
)


class SignOnMiddleware:
    """Stands behind the messages, whose words it uses, and in front of every view."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        user = getattr(request, "user", None)  # of programs there is none
        if not isinstance(user, User) and (user is None or not user.is_authenticated):
            return self.get_response(request)
        now = timezone.now()
        if is_over(request.session, now):
            audit.record("user.session_expired", user)
            logout(request)
            messages.info(
                request,
                "You were signed off, because nobody used this session for long enough. Sign on again.",
            )
            return self.get_response(request)
        if "HX-Request" not in request.headers:  # a page that asks again by itself is nobody at a desk
            see(request.session, now)
        if self._must_set_up(request):
            return HttpResponseRedirect(reverse("admin:set_up_second_step"))
        return self.get_response(request)

    def _must_set_up(self, request: HttpRequest) -> bool:
        if not settings.SECOND_STEP_ROLES or SECOND_STEP_SETTLED in request.session:
            return False
        user: User = request.user  # type: ignore[assignment]
        if has_second_step(user) or not needs_second_step(user):
            request.session[SECOND_STEP_SETTLED] = True
            return False
        return request.path not in {reverse(name) for name in _ALLOWED_BEFORE_IT}
