"""Staff accounts made and changed from a terminal: each with its event, both or neither."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import UserManager
from django.db import transaction

import audit
from apiauth.models import User


class RecordedAccounts(UserManager[User]):
    """Accounts, as Django's command makes them."""

    def __init__(self) -> None:
        super().__init__()
        self.model = User

    def create_superuser(self, *args: Any, **fields: Any) -> User:
        """Make an account that may do everything, and put that on the trail."""
        with transaction.atomic(using=self._db):
            user: User = super().create_superuser(*args, **fields)
            audit.record("user.created", user, detail={"superuser": True})
        return user


@transaction.atomic
def set_password(user: User, password: str) -> None:
    """Give somebody a new password, which ends their sessions."""
    user.set_password(password)
    user.save(update_fields=["password"])
    audit.record("user.password_set", user)
