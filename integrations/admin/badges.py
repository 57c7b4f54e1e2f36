"""Status badges: one colour for each kind of news."""

from __future__ import annotations

from typing import Final

from django.utils.html import format_html
from django.utils.safestring import SafeString

from integrations.models import SyncRun
from integrations.models.run import RunStatus

_TONES: Final = {
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


def run_badge(run: SyncRun | None) -> SafeString:
    """How a run ended, or that there was none."""
    if run is None:
        return format_html('<span class="badge badge-muted">{}</span>', "Never run")
    tone = _TONES[RunStatus(run.status)]
    return format_html('<span class="badge badge-{}">{}</span>', tone, run.get_status_display())
