"""The Celery application and the whole beat table.

Beat only rings: each entry looks in the database for what is due, so a ring that is missed, doubled or late
changes nothing but the moment at which due work is found. Hours are those of TIME_ZONE.
"""

import os
from typing import Any, Final

from celery import Celery
from celery.schedules import crontab
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

# Rings that nobody hears pile up in the broker. One that is this old is worth nothing: others have come since. Not less, so
# that clocks that differ by some seconds silence nothing.
LEAST_EXPIRY_SECONDS = 60.0

app = Celery("matricula")
app.set_default()  # in every thread, not only in the one that imports this first
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

RINGS: Final[dict[str, tuple[str, float | crontab]]] = {
    "start-due-syncs": ("integrations.tasks.start_due_syncs", 10.0),
    "sweep-runs": ("integrations.tasks.sweep_runs", 15.0),
    "deliver": ("integrations.tasks.deliver", 10.0),
    "sweep-library": ("integrations.tasks.sweep_library", 300.0),
    "seal-audit": ("audit.tasks.seal", 5.0),
    "export-audit-head": ("audit.tasks.export_hourly_head", 3600.0),
    "close-floods": ("audit.tasks.close_floods", 30.0),
    "verify-ledger": ("integrations.tasks.verify_ledger", crontab(hour=2, minute=17)),
    "send-alerts": ("integrations.tasks.send_alerts", 20.0),
    "notice-certificates": ("integrations.tasks.notice_certificates", 3600.0),
    "prune": ("integrations.tasks.prune", 3600.0),
    "store-usage": ("apiauth.tasks.store_usage", 30.0),
    "tell-counted-refusals": ("apiauth.tasks.tell_counted_refusals", 30.0),
    "remove-expired-tokens": ("apiauth.tasks.remove_expired_tokens", 3600.0),
    "remove-expired-sessions": ("apiauth.tasks.remove_expired_sessions", 3600.0),
    "remind-of-expiry": ("integrations.tasks.remind_of_expiry", 3600.0),
}


@app.on_after_configure.connect
def set_beat_table(sender: Celery, **_: Any) -> None:
    """Read settings only when somebody needs them: this module is imported with the package, before an environment may be."""
    # As often as liveness.sign_seconds says.
    sign_seconds = max(1.0, settings.RUN_LEASE_SECONDS / 3)
    rings = {"show-life": ("integrations.tasks.show_life", sign_seconds), **RINGS}
    sender.conf.beat_schedule = {name: _entry(task, when) for name, (task, when) in rings.items()}


def _entry(task: str, when: float | crontab) -> dict[str, Any]:
    expires = {} if isinstance(when, crontab) else {"options": {"expires": max(when, LEAST_EXPIRY_SECONDS)}}
    return {"task": task, "schedule": when, **expires}
