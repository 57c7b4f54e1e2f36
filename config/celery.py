"""The Celery application and the whole beat table.

Beat only rings: each entry looks in the database for what is due, so a ring that is missed, doubled or late
changes nothing but the moment at which due work is found. Hours are those of TIME_ZONE.
"""

import os

from celery import Celery
from celery.schedules import crontab

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("matricula")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

app.conf.beat_schedule = {
    "start-due-syncs": {"task": "integrations.tasks.start_due_syncs", "schedule": 10.0},
    "sweep-runs": {"task": "integrations.tasks.sweep_runs", "schedule": 15.0},
    "verify-ledger": {"task": "integrations.tasks.verify_ledger", "schedule": crontab(hour=2, minute=17)},
    "send-alerts": {"task": "integrations.tasks.send_alerts", "schedule": 20.0},
}
