from django.db import migrations

from apiauth.roles import grant

EXPORT = {"Administrator": ["export_auditevent"], "Auditor": ["export_auditevent"]}


def let_export(apps, schema_editor):
    grant(apps, "audit", EXPORT)


def let_no_longer_export(apps, schema_editor):
    permissions = apps.get_model("auth", "Permission").objects.filter(codename="export_auditevent")
    for group in apps.get_model("auth", "Group").objects.filter(name__in=EXPORT):
        group.permissions.remove(*permissions)


class Migration(migrations.Migration):
    dependencies = [("apiauth", "0004_consumer_permissions"), ("audit", "0004_seals_are_immutable")]

    operations = [migrations.RunPython(let_export, let_no_longer_export)]
