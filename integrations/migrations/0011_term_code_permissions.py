from django.db import migrations

from apiauth.roles import grant, withdraw

PERMISSIONS = {
    "Administrator": ["view_termcode", "add_termcode", "change_termcode"],
    "Auditor": ["view_termcode"],
}


def give(apps, schema_editor):
    grant(apps, "integrations", PERMISSIONS)


def take(apps, schema_editor):
    withdraw(apps, "integrations", PERMISSIONS)


class Migration(migrations.Migration):
    dependencies = [("integrations", "0010_term_codes")]

    operations = [migrations.RunPython(give, take)]
