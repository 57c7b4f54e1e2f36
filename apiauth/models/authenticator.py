"""What somebody's second step is checked with."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from apiauth.sealed import SealedJSONField


class Authenticator(models.Model):
    """The authenticator app of a member of staff (RFC 6238): the secret that it shares with us, sealed.

    It counts from `confirmed_at` on, when a first code showed that the app has the secret. `last_step` is the time step of the
    last code that was taken: none is taken twice (RFC 6238, 5.2).
    """

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="authenticator"
    )
    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    secret = SealedJSONField(bound_to="uid", default=b"", editable=False)
    confirmed_at = models.DateTimeField(null=True, blank=True)
    last_step = models.PositiveBigIntegerField(default=0)

    def __str__(self) -> str:
        return f"Authenticator of {self.user}"


class RecoveryCode(models.Model):
    """A code that stands in for the authenticator app once. Kept as its digest: 80 random bits are not guessed."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="recovery_codes"
    )
    digest = models.CharField(max_length=64)
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "digest"], name="recovery_code_once_a_person"),
            models.CheckConstraint(name="recovery_code_has_a_digest", condition=~Q(digest="")),
        ]

    def __str__(self) -> str:
        return f"Recovery code {self.pk} of {self.user}"
