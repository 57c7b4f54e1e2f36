"""What may be done to partners' webhook subscriptions: each a change and its audit event, in one transaction."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from django.db import IntegrityError, transaction
from django.utils import timezone

import audit
from apiauth.models import Consumer
from integrations.models import WebhookSubscription
from integrations.transports.egress import EgressRefused
from integrations.transports.sockets import check_all, look_up

# A partner has a few systems; whoever makes more has a loop somewhere.
MAX_SUBSCRIPTIONS: Final = 20
SECRET_BYTES: Final = 32
LOOK_UP_SECONDS: Final = 3.0
HTTPS_PORT: Final = 443
_NOT_PUBLIC: Final = (
    "{host} is not a host that is found on the public internet: events go to no other. Check the name."
)


class Refused(Exception):
    """The subscription was not made. Its text says why, and what can be done instead; `field` is what it is about."""

    def __init__(self, field: str, words: str) -> None:
        super().__init__(words)
        self.field = field


@dataclass(frozen=True)
class Subscribed:
    """A new subscription and its secret, which is told this once: what is delivered will be signed with it."""

    subscription: WebhookSubscription
    secret: str = field(repr=False)


def check_address(url: str) -> None:
    """Look at an address that a partner gave, and the network behind it; to be called outside of transactions.

    Raises Refused for one that is not https, holds credentials, or leads to no public host. A private host and one that
    there is not are refused in the same words: who asks learns nothing of names inside.
    """
    host, port = _host_and_port(url)
    try:
        check_all(host, port, look_up(host, port, LOOK_UP_SECONDS))
    except (OSError, ValueError, EgressRefused):
        raise Refused("url", _NOT_PUBLIC.format(host=host)) from None


def subscribe(consumer: Consumer, *, url: str, event_types: list[str]) -> Subscribed:
    """Make a subscription to an address that `check_address` has seen. Raises Refused where there is one for the address,
    or where there are too many."""
    secret = (
        "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
    )  # as Standard Webhooks has it
    try:
        with transaction.atomic():
            Consumer.objects.select_for_update(of=("self",)).get(
                pk=consumer.pk
            )  # two at once count one by one
            if WebhookSubscription.objects.present().filter(consumer=consumer).count() >= MAX_SUBSCRIPTIONS:
                raise Refused(
                    "url",
                    f"There are {MAX_SUBSCRIPTIONS} subscriptions, which are the most: delete one first.",
                )
            made = WebhookSubscription(consumer=consumer, url=url, event_types=event_types)
            made.secret = {"secret": secret}
            made.save()
            # The address by its host alone: its path or query may be a secret of the partner's.
            audit.record("webhook.subscribed", made, detail={**_facts(made), "event_types": event_types})
    except IntegrityError:
        raise Refused("url", "There is a subscription for this address: delete it first.") from None
    return Subscribed(made, secret)


@transaction.atomic
def unsubscribe(consumer: Consumer, pk: int, *, reason: str = "") -> bool:
    """End a subscription of the consumer's, and forget its secret. Says whether there was one. The reason is an
    administrator's: a partner ends its own without."""
    own = WebhookSubscription.objects.present().select_for_update(of=("self",)).filter(consumer=consumer)
    subscription = own.filter(pk=pk).first()
    if subscription is None:
        return False
    subscription.ended_at = timezone.now()
    subscription.secret = b""
    subscription.save(update_fields=["ended_at", "secret"])
    audit.record("webhook.unsubscribed", subscription, reason=reason, detail=_facts(subscription))
    return True


def _facts(subscription: WebhookSubscription) -> dict[str, str | int | None]:
    return {"consumer": subscription.consumer_id, "host": urlsplit(subscription.url).hostname}


def _host_and_port(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or HTTPS_PORT
        is_whole = url.isascii() and url.isprintable() and " " not in url
    except ValueError:
        host, port, is_whole = None, 0, False
    if not host or not is_whole:
        raise Refused("url", "This is no address: write it as https://hooks.example.org/matricula.")
    if not url.startswith("https://"):
        raise Refused("url", "Events are sent over TLS alone: give an address that begins with https://.")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise Refused(
            "url", "Leave credentials and the part behind # out: events are signed with your secret."
        )
    return host, port
