"""Who may call: staff who sign on, and consumers (partner systems) that hold credentials.

Both are swapped in from the very first migration, because Django cannot swap either in later.
"""

from __future__ import annotations

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models.functions import Lower
from oauth2_provider.models import AbstractApplication


class User(AbstractUser):
    """A member of staff."""

    class Meta(AbstractUser.Meta):
        constraints = [
            models.UniqueConstraint(
                Lower("email"),
                name="user_email_unique",
                condition=~models.Q(email=""),
                violation_error_message="Another account has this e-mail address.",
            ),
        ]


class Consumer(AbstractApplication):
    """A partner system. Its scopes, limits and students arrive with the partner API."""

    class Meta(AbstractApplication.Meta):
        verbose_name = "consumer"
        constraints = [
            models.CheckConstraint(
                name="consumer_client_credentials_only",
                condition=models.Q(
                    authorization_grant_type=AbstractApplication.GRANT_CLIENT_CREDENTIALS,
                    client_type=AbstractApplication.CLIENT_CONFIDENTIAL,
                ),
                violation_error_message="A consumer uses the client credentials grant and keeps its secret.",
            ),
        ]
