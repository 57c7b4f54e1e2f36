from django.db import migrations

from apiauth.roles import ROLES, grant, revoke


def make_roles(apps, schema_editor):
    group = apps.get_model("auth", "Group")
    for role in ROLES:
        group.objects.get_or_create(name=role)
    grant(apps, "apiauth", {"Administrator": ["view_user", "add_user", "change_user"]})
    # The audit room knows nobody to its left, so that who may read the trail is said here.
    grant(apps, "audit", {"Administrator": ["view_auditevent"], "Auditor": ["view_auditevent"]})


def remove_roles(apps, schema_editor):
    revoke(apps, "apiauth")
    revoke(apps, "audit")
    apps.get_model("auth", "Group").objects.filter(name__in=ROLES).delete()


class Migration(migrations.Migration):
    dependencies = [
        ("apiauth", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("audit", "0002_events_are_immutable"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [migrations.RunPython(make_roles, remove_roles)]
