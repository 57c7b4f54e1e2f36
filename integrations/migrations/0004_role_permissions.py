from django.db import migrations

from apiauth.roles import grant, withdraw

PERMISSIONS = {
    "Principal": ["view_connection", "view_stream", "view_syncrun", "view_change", "decide_college_syncrun"],
    "Advisor": ["view_syncrun", "view_change"],
}


def give(apps, schema_editor):
    grant(apps, "integrations", PERMISSIONS)


def take(apps, schema_editor):
    withdraw(apps, "integrations", PERMISSIONS)


class Migration(migrations.Migration):
    dependencies = [("integrations", "0003_held_plans_and_replays"), ("apiauth", "0002_roles")]

    operations = [migrations.RunPython(give, take)]
