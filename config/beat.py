"""The scheduler of beat: django-celery-beat's, which shows at every turn that it lives."""

from __future__ import annotations

import time
from typing import Any

import structlog
from django.db import DatabaseError, connection
from django_celery_beat.schedulers import DatabaseScheduler

from integrations.liveness import show_life, sign_seconds
from integrations.models.pulse import Part

log = structlog.get_logger(__name__)


class LivingScheduler(DatabaseScheduler):  # type: ignore[misc] # the package has no types
    """Rings as its base does. Its turns are at most five seconds apart (DEFAULT_MAX_INTERVAL)."""

    _shown_at = float("-inf")

    def tick(self, *args: Any, **options: Any) -> Any:
        if time.monotonic() - self._shown_at >= sign_seconds():
            self._show_life()
        return super().tick(*args, **options)

    def _show_life(self) -> None:
        try:
            show_life(Part.BEAT)
        except DatabaseError:
            # It goes on ringing: what is due is found when the database is back, and this outage is told then.
            log.exception("beat.sign_not_written")
            connection.close()
        else:
            self._shown_at = time.monotonic()
