"""The accounts that `up` makes, so that there is somebody to log in as."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from django.contrib.auth.models import Group
from django.db import transaction

import audit
from apiauth.models import User

_ACTOR = audit.Actor(kind="command", name="command: up")
MADE_PASSWORD_BYTES = 12


@dataclass(frozen=True)
class Login:
    """What there is to tell about an account. Without a password it was there before, and keeps the one it has."""

    username: str
    password: str | None

    def __str__(self) -> str:
        return f"{self.username} / {self.password or '(as printed at the first start)'}"


@transaction.atomic
def ensure_login(username: str, group: str, *, email: str, superuser: bool, password: str) -> Login:
    """Make the account if it is missing; give it the password if there is one, else, when it is new, a made one."""
    user = User.objects.filter(username=username).first()
    if user is None:
        password = password or secrets.token_urlsafe(MADE_PASSWORD_BYTES)
        user = User.objects.create_user(username, email, password, is_staff=True, is_superuser=superuser)
        user.groups.add(Group.objects.get(name=group))
        audit.record("user.created", user, actor=_ACTOR, detail={"role": group})
    elif password and not user.check_password(password):
        user.set_password(password)  # only then: a password that is set anew ends the sessions of its owner
        user.save(update_fields=["password"])
        audit.record("user.password_set", user, actor=_ACTOR)
    return Login(username, password or None)
