"""People who sign on through the form, as browsers do."""

from __future__ import annotations

from typing import Any

import pyotp
from django.test import Client
from django.urls import reverse

from apiauth.models import Authenticator, User
from apiauth.sign_on.second_step import confirm_authenticator, prepare_authenticator, secret_of

PASSWORD = "Correct-Horse-Battery-9"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def member(name: str = "ada", **fields: Any) -> User:
    return User.objects.create_user(name, password=PASSWORD, is_staff=True, **fields)


def sign_on(client: Client, name: str = "ada", password: str = PASSWORD, **extra: Any) -> Any:
    """The answer of the form: a redirect for whoever is in, or half way in."""
    return client.post(reverse("admin:login"), {"username": name, "password": password}, **extra)


def is_in(client: Client, **extra: Any) -> bool:
    return client.get(reverse("admin:index"), **extra).status_code == 200


def with_second_step(user: User) -> tuple[pyotp.TOTP, list[str]]:
    """Give somebody a second step, and return their app and their recovery codes."""
    app = pyotp.TOTP(secret_of(prepare_authenticator(user)))
    codes = confirm_authenticator(user, app.now())
    assert codes is not None
    # The tests do not wait for the next code.
    Authenticator.objects.filter(user=user).update(last_step=0)
    return app, codes
