"""The newest events about one thing, and by one actor, read off an index and no further. Writers go on meanwhile."""

from django.db import migrations, models

from audit.live_indexes import AddIndexLive, RemoveIndexLive


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("audit", "0004_seals_are_immutable")]

    operations = [
        AddIndexLive(
            "auditevent",
            models.Index(fields=["subject_type", "subject_id", "id"], name="audit_event_of_subject"),
        ),
        AddIndexLive(
            "auditevent", models.Index(fields=["actor_kind", "actor_id", "id"], name="audit_event_of_actor")
        ),
        RemoveIndexLive("auditevent", "audit_event_subject"),
    ]
