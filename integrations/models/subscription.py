"""A partner's wish to be told of events at an address of theirs."""

from __future__ import annotations

import uuid
from typing import Final

from django.db import models
from django.db.models import Q

from apiauth.models import Consumer
from apiauth.sealed import SealedJSONField

MAX_URL_LENGTH: Final = 500
# What is true of every subscription until webhooks are delivered: nothing goes out, and the partner is told so.
STATE: Final = "accepted, not yet delivering"


class WebhookSubscriptionQuerySet(models.QuerySet["WebhookSubscription"]):
    def present(self) -> WebhookSubscriptionQuerySet:
        """Leave out what was ended."""
        return self.filter(ended_at__isnull=True)


class WebhookSubscription(models.Model):
    """Which events a consumer wants to hear of, and where. Ending it keeps the row; an ended one holds no secret."""

    uid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    consumer = models.ForeignKey(Consumer, on_delete=models.PROTECT, related_name="webhook_subscriptions")
    url = models.URLField("address", max_length=MAX_URL_LENGTH)
    event_types = models.JSONField()
    secret = SealedJSONField(bound_to="uid", default=b"", editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    objects = WebhookSubscriptionQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["consumer", "url"],
                condition=Q(ended_at__isnull=True),
                name="webhook_subscription_once_an_address",
            ),
            models.CheckConstraint(
                name="webhook_subscription_over_https", condition=Q(url__startswith="https://")
            ),
            models.CheckConstraint(
                name="webhook_subscription_present_one_has_a_secret",
                condition=Q(ended_at__isnull=False, secret=b"") | (Q(ended_at__isnull=True) & ~Q(secret=b"")),
            ),
        ]

    def __str__(self) -> str:
        return f"Subscription {self.pk}"

    @property
    def shown_url(self) -> str:
        """The address for people: what stands behind the ? may be a secret of the partner's."""
        address, question_mark, _ = self.url.partition("?")
        return f"{address}?…" if question_mark else address

    @property
    def state(self) -> str:
        """How it stands, in the words that the partner is told."""
        return STATE
