"""The Celery application and the whole beat table.

Beat only rings: each entry looks in the database for what is due, so a ring that is missed, doubled or late
changes nothing but the moment at which due work is found. Hours are those of TIME_ZONE.
"""

import os

from celery import Celery
from celery.schedules import crontab
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

# As often as liveness.sign_seconds says; the application is not loaded yet when this module is.
SIGN_SECONDS = max(1.0, settings.RUN_LEASE_SECONDS / 3)
# Rings that nobody hears pile up in the broker. One that is this old is worth nothing: others have come since. Not less, so
# that clocks that differ by some seconds silence nothing.
LEAST_EXPIRY_SECONDS = 60.0

app = Celery("matricula")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

app.conf.beat_schedule = {
    "show-life": {"task": "integrations.tasks.show_life", "schedule": SIGN_SECONDS},
    "start-due-syncs": {"task": "integrations.tasks.start_due_syncs", "schedule": 10.0},
    "sweep-runs": {"task": "integrations.tasks.sweep_runs", "schedule": 15.0},
    "deliver": {"task": "integrations.tasks.deliver", "schedule": 10.0},
    "sweep-library": {"task": "integrations.tasks.sweep_library", "schedule": 300.0},
    "seal-audit": {"task": "audit.tasks.seal", "schedule": 5.0},
    "export-audit-head": {"task": "audit.tasks.export_hourly_head", "schedule": 3600.0},
    "close-floods": {"task": "audit.tasks.close_floods", "schedule": 30.0},
    "verify-ledger": {"task": "integrations.tasks.verify_ledger", "schedule": crontab(hour=2, minute=17)},
    "send-alerts": {"task": "integrations.tasks.send_alerts", "schedule": 20.0},
    "notice-certificates": {"task": "integrations.tasks.notice_certificates", "schedule": 3600.0},
    "prune": {"task": "integrations.tasks.prune", "schedule": 3600.0},
    "store-usage": {"task": "apiauth.tasks.store_usage", "schedule": 30.0},
    "tell-counted-refusals": {"task": "apiauth.tasks.tell_counted_refusals", "schedule": 30.0},
    "remove-expired-tokens": {"task": "apiauth.tasks.remove_expired_tokens", "schedule": 3600.0},
    "remind-of-expiry": {"task": "integrations.tasks.remind_of_expiry", "schedule": 3600.0},
}
for ring in app.conf.beat_schedule.values():
    if isinstance(ring["schedule"], float):
        ring["options"] = {"expires": max(ring["schedule"], LEAST_EXPIRY_SECONDS)}
