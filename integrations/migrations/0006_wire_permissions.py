from django.db import migrations

from apiauth.roles import grant

PERMISSIONS = {
    "Administrator": ["view_breaker", "override_breaker", "view_loggedrequest"],
    "Auditor": ["view_breaker"],
}


def give(apps, schema_editor):
    grant(apps, "integrations", PERMISSIONS)


def take(apps, schema_editor):
    # Before this migration, an alert was always a stream's: the one before it cannot be taken back with others there.
    apps.get_model("integrations", "Alert").objects.filter(stream__isnull=True).delete()
    groups, permissions = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    for role, codenames in PERMISSIONS.items():
        group = groups.objects.filter(name=role).first()
        if group is not None:
            group.permissions.remove(
                *permissions.objects.filter(content_type__app_label="integrations", codename__in=codenames)
            )


class Migration(migrations.Migration):
    dependencies = [("integrations", "0005_breaker_and_request_log")]

    operations = [migrations.RunPython(give, take)]
