"""The access token of a connection, for all processes."""

from __future__ import annotations

import datetime
import uuid
from typing import Any

from django.db import models
from django.db.models import F, Q

from apiauth.sealed import SealedJSONField
from integrations.models.connection import Connection


class ConnectionTokenQuerySet(models.QuerySet["ConnectionToken"]):
    def unclaimed(self, now: datetime.datetime) -> ConnectionTokenQuerySet:
        """Narrow to those that nobody is renewing at the moment."""
        return self.filter(Q(claim_ends_at__isnull=True) | Q(claim_ends_at__lte=now))


class ConnectionToken(models.Model):
    """What the token endpoint gave us last. It is renewed from `renew_at` on, by one process at a time: the one whose
    claim stands. `sealed` has the token, and a digest of the credentials that it was given for."""

    connection = models.OneToOneField(Connection, on_delete=models.CASCADE, related_name="access_token")
    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    sealed = SealedJSONField(bound_to="uid", default=b"", editable=False)
    fetched_at = models.DateTimeField(null=True, blank=True)
    renew_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    claim_ends_at = models.DateTimeField(null=True, blank=True)

    objects = ConnectionTokenQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="connection_token_renewed_before_it_expires",
                condition=Q(fetched_at__isnull=True, renew_at__isnull=True, expires_at__isnull=True)
                | Q(
                    fetched_at__isnull=False,
                    renew_at__isnull=False,
                    expires_at__isnull=False,
                    fetched_at__lte=F("renew_at"),
                    renew_at__lte=F("expires_at"),
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"Access token of {self.connection_id}"

    def token_for(self, grant: str) -> str:
        """The token that was given for these credentials, or "". Raises SealBroken."""
        kept: dict[str, Any] = self.sealed
        return str(kept["token"]) if kept.get("grant") == grant else ""
