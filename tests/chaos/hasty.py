"""The product's Celery application with a beat that looks more often: a round should not wait for fifteen seconds."""

from __future__ import annotations

from typing import Final

from config.celery import app

__all__ = ["app"]
_SECONDS: Final = {"start-due-syncs": 1.0, "sweep-runs": 1.0}

for _name, _often in _SECONDS.items():
    app.conf.beat_schedule[_name]["schedule"] = _often
