"""What is asked of whoever signs on."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.admin.forms import AdminAuthenticationForm
from django.core.exceptions import ValidationError
from django.http import HttpRequest

import audit
from apiauth.models import User
from apiauth.sign_on.attempts import Attempt, begin_password, begin_second_step
from apiauth.sign_on.second_step import take_second_step


class SignOnForm(AdminAuthenticationForm):
    """Name and password. Who has failed too often waits."""

    def clean(self) -> dict[str, Any]:
        username = str(self.cleaned_data.get("username", ""))
        account = User.objects.filter(username=username.replace("\x00", "")).first()
        request: HttpRequest = self.request  # type: ignore[assignment]
        attempt = begin_password(request, username, account)
        refuse_if_waiting(attempt, account)
        cleaned: dict[str, Any] = super().clean()
        attempt.take_back()
        return cleaned


class SecondStepForm(forms.Form):
    """A code of the authenticator app, or a recovery code."""

    code = forms.CharField(
        max_length=40,
        label="Code",
        help_text="The six digits that your authenticator app shows, or one of your recovery codes.",
        widget=forms.TextInput(
            attrs={"autocomplete": "one-time-code", "autofocus": True, "spellcheck": "false"}
        ),
    )

    def __init__(self, account: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.account = account

    def clean_code(self) -> str:
        attempt = begin_second_step(self.account)
        refuse_if_waiting(attempt, self.account)
        code = str(self.cleaned_data["code"])
        if not take_second_step(self.account, code):
            audit.record_or_count("user.second_step_failed", self.account)
            raise ValidationError(
                "This code is not right, or was used already. Wait for the app's next one; each works for about a minute, "
                "and the clock of your phone has to be right."
            )
        attempt.take_back()
        return code


class PasswordForm(forms.Form):
    """The person's own password once more, before something that whoever found an open browser must not do."""

    password = forms.CharField(
        label="Your password", widget=forms.PasswordInput(attrs={"autocomplete": "current-password"})
    )

    def __init__(self, request: HttpRequest, account: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request, self.account = request, account

    def clean_password(self) -> str:
        attempt = begin_password(self.request, self.account.get_username(), self.account)
        refuse_if_waiting(attempt, self.account)
        password = str(self.cleaned_data["password"])
        if not self.account.check_password(password):
            audit.record_or_count("user.password_refused", self.account)
            raise ValidationError("This is not your password.")
        attempt.take_back()
        return password


def refuse_if_waiting(attempt: Attempt, account: User | None) -> None:
    """Let an attempt that has to wait go no further, whatever was typed. Raises ValidationError for it."""
    if refusal := attempt.refusal(account):
        raise ValidationError(refusal, code="throttled")
