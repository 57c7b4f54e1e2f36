"""What is kept for a set time only: the request log, rejected records as they came, and what the outbox has done. That they went
is on the trail."""

from __future__ import annotations

import datetime
from dataclasses import asdict, dataclass
from typing import Final

import structlog
from django.conf import settings
from django.db import models, transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

import audit
from integrations.models import Alert, DeliveryAttempt, LoggedRequest, OutboxMessage, RejectedRecord

log = structlog.get_logger(__name__)
# A statement takes so many rows, so that nobody waits long for it.
ROWS_A_STATEMENT: Final = 5_000


@dataclass(frozen=True)
class Pruned:
    """What was let go: requests and messages that were deleted, rejected records that lost their raw bytes and kept their
    reason."""

    requests: int
    raw_records: int
    messages: int


def prune() -> Pruned:
    """Let go of what is older than REQUEST_LOG_DAYS, RAW_RECORD_DAYS and OUTBOX_DAYS. It can be broken off at any moment."""
    now = timezone.now()
    old_requests = LoggedRequest.objects.filter(sent_at__lt=now - _days(settings.REQUEST_LOG_DAYS))
    old_records = RejectedRecord.objects.filter(
        run__requested_at__lt=now - _days(settings.RAW_RECORD_DAYS)
    ).exclude(raw=b"")
    pruned = Pruned(_delete(old_requests), _empty(old_records), _forget(_old_messages(now)))
    log.info("retention.pruned", **asdict(pruned))
    return pruned


def _old_messages(now: datetime.datetime) -> models.QuerySet[OutboxMessage]:
    """What ended long ago, but for what an alert still leads to. What waits or was escalated has no end."""
    is_shown = Exists(Alert.objects.filter(message=OuterRef("pk")))
    return OutboxMessage.objects.filter(ended_at__lt=now - _days(settings.OUTBOX_DAYS)).exclude(is_shown)


def _days(days: int) -> datetime.timedelta:
    return datetime.timedelta(days=days)


def _delete(rows: models.QuerySet[LoggedRequest]) -> int:
    deleted = 0
    while chosen := list(rows.order_by("sent_at").values_list("pk", flat=True)[:ROWS_A_STATEMENT]):
        with transaction.atomic():
            gone = LoggedRequest.objects.filter(pk__in=chosen).delete()[0]
            audit.record("request_log.pruned", LoggedRequest(), detail={"rows": gone})
        deleted += gone
    return deleted


def _empty(rows: models.QuerySet[RejectedRecord]) -> int:
    emptied = 0
    while chosen := list(rows.order_by("pk").values_list("pk", flat=True)[:ROWS_A_STATEMENT]):
        with transaction.atomic():
            gone = RejectedRecord.objects.filter(pk__in=chosen).update(raw=b"")
            audit.record("rejected_records.emptied", RejectedRecord(), detail={"rows": gone})
        emptied += gone
    return emptied


def _forget(messages: models.QuerySet[OutboxMessage]) -> int:
    forgotten = 0
    while chosen := list(messages.order_by("ended_at").values_list("pk", flat=True)[:ROWS_A_STATEMENT]):
        with transaction.atomic():
            DeliveryAttempt.objects.filter(message__in=chosen).delete()
            gone = OutboxMessage.objects.filter(pk__in=chosen).delete()[0]
            audit.record("outbox.pruned", OutboxMessage(), detail={"rows": gone})
        forgotten += gone
    return forgotten
