"""Days of runs are counted off an index and no further. Runs go on meanwhile."""

from django.db import migrations, models

from audit.live_indexes import AddIndexLive


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("integrations", "0018_webhook_subscriptions")]

    operations = [
        AddIndexLive(
            "syncrun",
            models.Index(
                fields=["finished_at", "status", "created", "modified", "voided", "rejected"],
                name="sync_run_days",
            ),
        ),
    ]
