"""Make an account that may do everything, on the trail: `manage.py createsuperuser`, as Django's but for that."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.management.commands import createsuperuser

from apiauth.accounts import RecordedAccounts
from apiauth.models import User
from audit.context import Actor, acting


class RecordedUser:
    """The user model as Django's command sees it: what it makes by its manager is recorded."""

    _default_manager = RecordedAccounts()

    def __getattr__(self, name: str) -> Any:
        return getattr(User, name)

    def __call__(self, **fields: Any) -> User:
        """An account that is not saved, by which a password is judged."""
        return User(**fields)


class Command(createsuperuser.Command):
    help = "Make an account that may do everything. That it was made is on the audit trail."

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.UserModel: Any = RecordedUser()

    def handle(self, *args: Any, **options: Any) -> str | None:
        with acting(Actor(kind="command", name="command: createsuperuser")):
            return super().handle(*args, **options)
