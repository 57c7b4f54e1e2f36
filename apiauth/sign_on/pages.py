"""The two pages of signing on: name and password, and the second step. The admin site gives them addresses."""

from __future__ import annotations

import time
from typing import Any, Final

from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils.crypto import constant_time_compare
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.generic.edit import FormView

from apiauth.models import User
from apiauth.sign_on.browsers import remember_browser
from apiauth.sign_on.forms import SecondStepForm, SignOnForm
from apiauth.sign_on.second_step import has_second_step

# In the session of whoever gave the right password and not yet the code: whose it was, and when.
HALF_WAY: Final = "half_way"
# How long the password counts.
HALF_WAY_SECONDS: Final = 600


class SignOnView(LoginView):
    """Name and password; whoever has a second step has not signed on by them."""

    authentication_form = SignOnForm

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        user: User = form.get_user()
        if has_second_step(user):
            self.request.session[HALF_WAY] = {
                "account": user.pk,
                "password": user.get_session_auth_hash(),
                "backend": user.backend,
                "at": time.time(),
                "next": self.get_success_url(),
            }
            return HttpResponseRedirect(reverse("admin:second_step"))
        answer = super().form_valid(form)
        remember_browser(self.request, answer, user.pk)
        return answer


@method_decorator([never_cache, sensitive_post_parameters()], name="dispatch")
class SecondStepView(FormView[SecondStepForm]):
    """The code, after the password."""

    form_class = SecondStepForm
    template_name = "admin/second_step.html"
    account: User

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        self.half_way: dict[str, Any] = request.session.get(HALF_WAY, {})
        account = account_half_way(self.half_way)
        if account is None:
            request.session.pop(HALF_WAY, None)
            messages.info(request, "Sign on with your password first. It counts for ten minutes.")
            return HttpResponseRedirect(reverse("admin:login"))
        self.account = account
        return super().dispatch(request, *args, **kwargs)

    def get_form_kwargs(self) -> dict[str, Any]:
        return {**super().get_form_kwargs(), "account": self.account}

    def form_valid(self, form: SecondStepForm) -> HttpResponse:
        login(self.request, self.account, backend=self.half_way["backend"])
        self.request.session.pop(HALF_WAY, None)
        answer = HttpResponseRedirect(self.half_way["next"])
        remember_browser(self.request, answer, self.account.pk)
        return answer


def account_half_way(half_way: dict[str, Any]) -> User | None:
    """Whose password was right lately, if it is still theirs and they may still sign on."""
    if time.time() - half_way.get("at", 0) >= HALF_WAY_SECONDS:
        return None
    account = User.objects.filter(pk=half_way["account"], is_active=True).first()
    if account is None or not constant_time_compare(account.get_session_auth_hash(), half_way["password"]):
        return None
    return account
