from django.db import migrations

from apiauth.roles import grant, withdraw

PERMISSIONS = {
    "Administrator": ["view_studentgrant", "add_studentgrant", "change_studentgrant"],
    "Auditor": ["view_studentgrant"],
}


def give(apps, schema_editor):
    grant(apps, "registration", PERMISSIONS)


def take(apps, schema_editor):
    withdraw(apps, "registration", PERMISSIONS)


class Migration(migrations.Migration):
    dependencies = [("registration", "0006_student_grants_are_kept"), ("apiauth", "0002_roles")]

    operations = [migrations.RunPython(give, take)]
