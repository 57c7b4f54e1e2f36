from django.db import migrations

from apiauth.roles import grant, revoke

PERMISSIONS = {
    "Administrator": [
        *(
            f"{action}_{model}"
            for model in ("college", "program", "student", "term", "course", "section", "enrollment")
            for action in ("view", "add", "change")
        ),
        "view_billingaccount",
        "view_ledgerentry",
        "change_ledgerentry",
    ],
    "Principal": ["view_student", "view_enrollment", "view_term", "view_section", "view_course"],
    "Advisor": [
        "view_student",
        "view_enrollment",
        "view_term",
        "view_section",
        "view_course",
        "view_billingaccount",
        "view_ledgerentry",
    ],
    "Auditor": ["view_term"],
}


def give(apps, schema_editor):
    grant(apps, "registration", PERMISSIONS)


def take(apps, schema_editor):
    revoke(apps, "registration")


class Migration(migrations.Migration):
    dependencies = [("registration", "0002_ledger_is_immutable"), ("apiauth", "0002_roles")]

    operations = [migrations.RunPython(give, take)]
