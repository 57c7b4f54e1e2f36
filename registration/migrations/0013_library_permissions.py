from django.db import migrations

from apiauth.roles import grant, withdraw

PERMISSIONS = {
    "Administrator": ["view_libraryaccount", "override_libraryaccount", "graduate_student"],
    "Advisor": ["view_libraryaccount"],
    "Auditor": ["view_libraryaccount"],
}


def give(apps, schema_editor):
    grant(apps, "registration", PERMISSIONS)


def take(apps, schema_editor):
    withdraw(apps, "registration", PERMISSIONS)


class Migration(migrations.Migration):
    dependencies = [("registration", "0012_library_accounts")]

    operations = [migrations.RunPython(give, take)]
