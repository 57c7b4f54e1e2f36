"""The product's Celery application with a beat that looks more often: a round should not wait for fifteen seconds.

Where the machine is slower than the rings, those that nobody has heard in time are let go: else the round would wait for all
that have piled up before its own.
"""

from __future__ import annotations

from typing import Final

from config.celery import app

__all__ = ["app"]
EVERY_SECONDS: Final = 1.0
HEARD_WITHIN_SECONDS: Final = 2.0

for _name in ("start-due-syncs", "sweep-runs", "show-life", "deliver"):
    app.conf.beat_schedule[_name] |= {
        "schedule": EVERY_SECONDS,
        "options": {"expires": HEARD_WITHIN_SECONDS},
    }
