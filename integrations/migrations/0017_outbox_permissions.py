from django.db import migrations

from apiauth.roles import grant, withdraw

PERMISSIONS = {
    "Administrator": ["view_outboxmessage", "retry_outboxmessage", "pause_outboxmessage"],
    "Auditor": ["view_outboxmessage"],
}


def give(apps, schema_editor):
    grant(apps, "integrations", PERMISSIONS)


def take(apps, schema_editor):
    withdraw(apps, "integrations", PERMISSIONS)


class Migration(migrations.Migration):
    dependencies = [("integrations", "0016_outbox")]

    operations = [migrations.RunPython(give, take)]
