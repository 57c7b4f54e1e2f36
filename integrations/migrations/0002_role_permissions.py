from django.db import migrations

from apiauth.roles import grant, revoke

PERMISSIONS = {
    "Administrator": [
        "view_connection",
        "add_connection",
        "change_connection",
        "view_stream",
        "view_syncrun",
        "decide_syncrun",
        "view_change",
        "view_rejectedrecord",
        "view_alert",
    ],
    "Auditor": ["view_connection", "view_stream", "view_syncrun", "view_change", "view_alert"],
}


def give(apps, schema_editor):
    grant(apps, "integrations", PERMISSIONS)


def take(apps, schema_editor):
    revoke(apps, "integrations")


class Migration(migrations.Migration):
    dependencies = [("integrations", "0001_initial"), ("apiauth", "0002_roles")]

    operations = [migrations.RunPython(give, take)]
