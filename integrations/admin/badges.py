"""Status badges: one colour for each kind of news."""

from __future__ import annotations

from typing import Final

from django.utils.html import format_html
from django.utils.safestring import SafeString

from integrations.models import OutboxMessage, SyncRun
from integrations.models.outbox import AttemptOutcome, MessageStatus
from integrations.models.run import RunStatus
from registration.models.library import LibraryStatus

RUN_TONES: Final = {
    RunStatus.QUEUED: "info",
    RunStatus.RUNNING: "info",
    RunStatus.APPLIED: "good",
    RunStatus.PREVIEWED: "muted",
    RunStatus.HELD: "warn",
    RunStatus.APPROVED: "good",
    RunStatus.FAILED: "bad",
    RunStatus.CANCELLED: "muted",
    RunStatus.SUPERSEDED: "muted",
    RunStatus.REFUSED: "muted",
}

_MESSAGE_TONES: Final = {
    MessageStatus.WAITING: "info",
    MessageStatus.DELIVERED: "good",
    MessageStatus.ESCALATED: "bad",
    MessageStatus.SUPERSEDED: "muted",
}
ATTEMPT_TONES: Final = {
    AttemptOutcome.UNDER_WAY: "info",
    AttemptOutcome.DELIVERED: "good",
    AttemptOutcome.FAILED: "bad",
    AttemptOutcome.UNCERTAIN: "warn",
    AttemptOutcome.BLOCKED: "warn",
}
LIBRARY_TONES: Final = {
    LibraryStatus.PENDING: "info",
    LibraryStatus.PROVISIONED: "good",
    LibraryStatus.FAILED: "bad",
    LibraryStatus.BLOCKED: "warn",
    LibraryStatus.DEPROVISIONED: "muted",
}


def message_badge(message: OutboxMessage) -> SafeString:
    """How a message stands: one that has failed and is tried again does not look like one that nobody has tried."""
    status = MessageStatus(message.status)
    tone, words = _MESSAGE_TONES[status], message.get_status_display()
    if message.is_under_way:
        words = "Under way"
    elif status == MessageStatus.WAITING and message.error_class:
        tone, words = "warn", "Blocked" if message.error_class == "blocked" else "Failed, waits"
    return format_html('<span class="badge badge-{}">{}</span>', tone, words)


def run_badge(run: SyncRun | None) -> SafeString:
    """How a run ended, or that there was none."""
    if run is None:
        return format_html('<span class="badge badge-muted">{}</span>', "Never run")
    tone = RUN_TONES[RunStatus(run.status)]
    return format_html('<span class="badge badge-{}">{}</span>', tone, run.get_status_display())
