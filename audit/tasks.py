"""What beat rings for the trail: thin calls."""

from __future__ import annotations

from celery import shared_task

from audit.floods import write_floods
from audit.heads import export_head, keep_latest_head
from audit.sealing import seal_events


@shared_task
def seal() -> int:
    """Seal what is new, and keep the head of the moment."""
    sealed = seal_events()
    if sealed:
        keep_latest_head()
    return sealed


@shared_task
def export_hourly_head() -> None:
    """Look over the whole trail for what the quick looks have missed, then keep the head for good."""
    seal_events(whole=True)
    export_head()


@shared_task
def close_floods() -> int:
    """Write the counts of floods that are over."""
    return write_floods()
