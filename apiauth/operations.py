"""What may be done to a consumer: each a change and its audit event in one transaction, felt by the very next request."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from oauth2_provider.models import AccessToken

import audit
from apiauth.models import Consumer, ConsumerStatus
from apiauth.models.consumer import DEFAULT_HOURLY_LIMIT
from apiauth.scopes import scope_text, unknown_scopes
from apiauth.secrets import digest_of, make_secret

LONGEST_OVERLAP: Final = datetime.timedelta(days=90)


class Refused(Exception):
    """The operation was not done. Its text says why, and what can be done instead."""


@dataclass(frozen=True)
class Credentials:
    """A consumer and its secret, which is nowhere else from now on: only its digest is kept."""

    consumer: Consumer
    secret: str = field(repr=False)


@transaction.atomic
def create_consumer(
    name: str,
    *,
    scopes: list[str],
    contact: str = "",
    hourly_limit: int = DEFAULT_HOURLY_LIMIT,
    reason: str = "",
) -> Credentials:
    """Make a consumer and its first secret. Raises Refused for a name that is taken, or scopes that are none."""
    if unknown := unknown_scopes(" ".join(scopes)):
        raise Refused(f"There is no scope {', '.join(unknown)}: docs/partners.md lists them.")
    if not scopes:
        raise Refused("Grant one scope at least: a consumer without any can ask for nothing.")
    secret = make_secret()
    consumer = Consumer(
        name=name.strip(),
        contact=contact,
        scope=scope_text(scopes),
        hourly_limit=hourly_limit,
        client_secret=digest_of(secret),
        client_type=Consumer.CLIENT_CONFIDENTIAL,
        authorization_grant_type=Consumer.GRANT_CLIENT_CREDENTIALS,
    )
    _check(consumer)
    consumer.save()
    _record("consumer.created", consumer, reason, scope=consumer.scope, hourly_limit=hourly_limit)
    return Credentials(consumer, secret)


@transaction.atomic
def rotate_secret(
    consumer: Consumer,
    *,
    overlap: datetime.timedelta,
    reason: str = "",
    seen: datetime.datetime | None = None,
) -> Credentials:
    """Give the consumer a new secret; the one before works until `overlap` is over, any older one no more.

    `seen` is when the secret had changed last on the page that the decision was taken on: a form that is sent twice
    rotates once. Raises Refused for a revoked consumer, an overlap that is negative or too long, and such a second sending.
    """
    consumer = _held(consumer)
    if consumer.status == ConsumerStatus.REVOKED:
        raise Refused(f"{consumer} is revoked, for good: create another consumer instead.")
    if not datetime.timedelta(0) <= overlap <= LONGEST_OVERLAP:
        raise Refused(f"The old secret can go on working for {LONGEST_OVERLAP.days} days at most.")
    if seen is not None and seen != consumer.secret_changed_at:
        raise Refused(
            "The secret was rotated in the meantime. Look at the page again before you rotate it once more."
        )
    now, secret = timezone.now(), make_secret()
    consumer.previous_secret = consumer.client_secret if overlap else ""
    consumer.previous_secret_ends_at = now + overlap if overlap else None
    consumer.client_secret = digest_of(secret)
    consumer.secret_changed_at = now
    consumer.save()
    _record("consumer.secret_rotated", consumer, reason, overlap_seconds=int(overlap.total_seconds()))
    return Credentials(consumer, secret)


@transaction.atomic
def suspend(consumer: Consumer, *, reason: str = "") -> Consumer:
    """Stop the consumer until somebody resumes it. Raises Refused when it is not active."""
    consumer = _held(consumer)
    if consumer.status != ConsumerStatus.ACTIVE:
        raise Refused(f"{consumer} is {consumer.status}: there is nothing to suspend.")
    return _set_status(consumer, ConsumerStatus.SUSPENDED, reason)


@transaction.atomic
def resume(consumer: Consumer, *, reason: str = "") -> Consumer:
    """Let a suspended consumer go on, with the tokens that it has. Raises Refused when it is not suspended."""
    consumer = _held(consumer)
    if consumer.status != ConsumerStatus.SUSPENDED:
        raise Refused(f"{consumer} is {consumer.status}: only what is suspended can be resumed.")
    return _set_status(consumer, ConsumerStatus.ACTIVE, reason)


@transaction.atomic
def revoke(consumer: Consumer, *, reason: str = "") -> Consumer:
    """End the consumer for good: its secrets and tokens are gone, its history stays. Raises Refused when it is over."""
    consumer = _held(consumer)
    if consumer.status == ConsumerStatus.REVOKED:
        raise Refused(f"{consumer} is revoked already.")
    AccessToken.objects.filter(application=consumer).delete()
    consumer.client_secret = digest_of(make_secret())  # one that nobody has
    consumer.previous_secret, consumer.previous_secret_ends_at = "", None
    return _set_status(consumer, ConsumerStatus.REVOKED, reason)


def remove_expired_tokens() -> int:
    """Forget tokens whose hour is over, and return how many."""
    removed: int = AccessToken.objects.filter(expires__lt=timezone.now()).delete()[0]
    return removed


def _set_status(consumer: Consumer, status: ConsumerStatus, reason: str) -> Consumer:
    consumer.status = status
    consumer.save()
    action = "consumer.resumed" if status == ConsumerStatus.ACTIVE else f"consumer.{status}"
    _record(action, consumer, reason)
    return consumer


def _held(consumer: Consumer) -> Consumer:
    """The consumer as it is now, kept from others until the transaction ends."""
    return Consumer.objects.select_for_update(of=("self",)).get(pk=consumer.pk)


def _check(consumer: Consumer) -> None:
    try:
        consumer.full_clean()
    except ValidationError as error:
        faults = error.message_dict.items()
        words = " ".join(
            f"{name}: {text}" if name != "__all__" else text for name, texts in faults for text in texts
        )
        raise Refused(words) from None


def _record(action: str, consumer: Consumer, reason: str, **detail: Any) -> None:
    audit.record(action, consumer, reason=reason, detail=detail)
