"""What the workers do for partners' keys and people's sessions: thin calls, each of which may be missed, doubled or late."""

from __future__ import annotations

from celery import shared_task

from apiauth import operations, refusals, usage
from apiauth.sign_on import sessions


@shared_task
def store_usage() -> int:
    """Write how much each consumer called to the database."""
    return usage.store_usage()


@shared_task
def tell_counted_refusals() -> int:
    """Write the refusals that were counted in minutes that are over to the trail."""
    return refusals.tell_counted_refusals()


@shared_task
def remove_expired_tokens() -> int:
    """Forget tokens whose hour is over."""
    return operations.remove_expired_tokens()


@shared_task
def remove_expired_sessions() -> int:
    """Forget sessions that are over."""
    return sessions.remove_expired_sessions()
