from django.db import migrations

from apiauth.roles import grant, withdraw

PERMISSIONS = {
    "Administrator": ["view_consumer", "add_consumer", "change_consumer", "view_consumerusage"],
    "Auditor": ["view_consumer", "view_consumerusage"],
}


def give(apps, schema_editor):
    grant(apps, "apiauth", PERMISSIONS)


def take(apps, schema_editor):
    withdraw(apps, "apiauth", PERMISSIONS)


class Migration(migrations.Migration):
    dependencies = [("apiauth", "0003_consumers_are_governed")]

    operations = [migrations.RunPython(give, take)]
