"""A partner system that holds credentials, and how it stands."""

from __future__ import annotations

import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.urls import reverse
from django.utils import timezone
from oauth2_provider.models import AbstractApplication

from apiauth.networks import is_within, parse_networks
from apiauth.scopes import scopes_in, unknown_scopes
from apiauth.secrets import ALGORITHM, secret_matches

DEFAULT_HOURLY_LIMIT = 1_000


class ConsumerStatus(models.TextChoices):
    ACTIVE = "active", "Active"
    SUSPENDED = "suspended", "Suspended"
    REVOKED = "revoked", "Revoked"


class ConsumerQuerySet(models.QuerySet["Consumer"]):
    def called(self, name_or_client_id: str) -> ConsumerQuerySet:
        """Narrow to the consumer of this client id or, in any case of letters, of this name. A revoked consumer gives
        its name free: where another has taken it, the name means that one."""
        found = self.filter(Q(client_id=name_or_client_id) | Q(name__iexact=name_or_client_id))
        return found.order_by(
            models.Case(models.When(status=ConsumerStatus.REVOKED, then=1), default=0), "-id"
        )

    def in_use(self) -> ConsumerQuerySet:
        """Narrow to those that were not revoked."""
        return self.exclude(status=ConsumerStatus.REVOKED)


class Consumer(AbstractApplication):
    """A partner system. Its students are in `registration`, which knows both (registration/models/disclosure.py).

    `client_secret` holds the digest of the secret; during a rotation `previous_secret` holds the digest of the one before,
    which works until `previous_secret_ends_at`.
    """

    contact = models.EmailField(
        blank=True, help_text="Who answers for it: reminders and news of its keys go to this address."
    )
    scope = models.CharField(
        "scopes", max_length=500, blank=True, help_text="What it may ask for, separated by spaces."
    )
    hourly_limit = models.PositiveIntegerField(
        "requests an hour",
        default=DEFAULT_HOURLY_LIMIT,
        help_text="How many requests it may make in an hour.",
    )
    status = models.CharField(max_length=20, choices=ConsumerStatus.choices, default=ConsumerStatus.ACTIVE)
    expires_on = models.DateField(
        "works until", null=True, blank=True, help_text="The last day on which its keys work. Empty: no end."
    )
    networks = models.TextField(
        "allowed networks",
        blank=True,
        help_text="Addresses or networks that it may call from, such as 192.0.2.0/24, one a line. Empty: from anywhere.",
    )
    previous_secret = models.CharField(max_length=255, blank=True, editable=False)
    previous_secret_ends_at = models.DateTimeField(null=True, blank=True, editable=False)
    secret_changed_at = models.DateTimeField(default=timezone.now, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = ConsumerQuerySet.as_manager()

    class Meta(AbstractApplication.Meta):
        verbose_name = "consumer"
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                name="consumer_client_credentials_only",
                condition=Q(
                    authorization_grant_type=AbstractApplication.GRANT_CLIENT_CREDENTIALS,
                    client_type=AbstractApplication.CLIENT_CONFIDENTIAL,
                ),
                violation_error_message="A consumer uses the client credentials grant and keeps its secret.",
            ),
            models.CheckConstraint(name="consumer_named", condition=~Q(name="")),
            models.UniqueConstraint(
                Lower("name"),
                name="consumer_name_unique",
                condition=~Q(status="revoked"),
                violation_error_message="Another consumer has this name.",
            ),
            models.CheckConstraint(
                name="consumer_status_known",
                condition=Q(status__in=[value for value, _ in ConsumerStatus.choices]),
            ),
            models.CheckConstraint(
                name="consumer_hourly_limit_positive",
                condition=Q(hourly_limit__gt=0),
                violation_error_message="The limit is at least one request an hour: to stop a consumer, suspend it.",
            ),
            models.CheckConstraint(
                name="consumer_secret_is_a_digest",
                condition=Q(client_secret__startswith=f"{ALGORITHM}$", hash_client_secret=True),
            ),
            models.CheckConstraint(
                name="consumer_previous_secret_ends",
                condition=Q(previous_secret="", previous_secret_ends_at__isnull=True)
                | Q(previous_secret__startswith=f"{ALGORITHM}$", previous_secret_ends_at__isnull=False),
            ),
        ]

    @property
    def scopes(self) -> list[str]:
        """The scopes granted to it, in the order of the table of scopes."""
        return scopes_in(self.scope)

    def clean(self) -> None:
        """Raises ValidationError naming what is wrong with scopes or networks."""
        super().clean()
        faults: dict[str, Any] = {}
        if unknown := unknown_scopes(self.scope):
            faults["scope"] = f"There is no scope {', '.join(unknown)}."
        try:
            parse_networks(self.networks)
        except ValueError as error:
            faults["networks"] = str(error)
        if faults:
            raise ValidationError(faults)

    def why_refused(self, address: str, today: datetime.date) -> str:
        """Why its keys do not work from `address` on `today`, as a word of `apiauth.refusals.Kind`; empty: they do."""
        is_past = self.expires_on is not None and today > self.expires_on
        return why_refused(self.status, self.networks, is_past_its_last_day=is_past, address=address)

    def knows_secret(self, secret: str, now: datetime.datetime) -> bool:
        """Whether `secret` is its secret or, during a rotation's overlap, the one before. In constant time."""
        is_current = secret_matches(secret, self.client_secret)
        is_overlap = self.previous_secret_ends_at is not None and now < self.previous_secret_ends_at
        is_previous = is_overlap and secret_matches(secret, self.previous_secret)
        return is_current or is_previous

    def get_absolute_url(self) -> str:
        """Its page in the admin; django-oauth-toolkit's own pages are not served."""
        return reverse("admin:apiauth_consumer_change", args=[self.pk])


def why_refused(status: str, networks: str, *, is_past_its_last_day: bool, address: str) -> str:
    """The same from a consumer's columns, for a statement that reads no whole row."""
    if status != ConsumerStatus.ACTIVE:
        return status
    if is_past_its_last_day:
        return "expired"
    if networks and not is_within(address, networks):
        return "network"
    return ""
