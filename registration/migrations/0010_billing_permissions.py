from django.db import migrations

from apiauth.roles import grant, withdraw

PERMISSIONS = {
    "Administrator": [
        *(
            f"{action}_{model}"
            for model in (
                "housingassignment",
                "feeschedule",
                "feeitem",
                "refundstep",
                "sectionmeeting",
                "calendarevent",
            )
            for action in ("view", "add", "change")
        ),
        "view_contact_housingassignment",
        "view_feechange",
        "approve_feechange",
        "assess_term",
        "refund_billingaccount",
        "withdraw_student",
    ],
    "Principal": ["view_sectionmeeting", "view_calendarevent"],
    "Advisor": [
        "view_housingassignment",
        "view_feeschedule",
        "view_feeitem",
        "view_refundstep",
        "view_sectionmeeting",
        "view_calendarevent",
    ],
    "Auditor": [
        "view_student",
        "view_billingaccount",
        "view_ledgerentry",
        "view_housingassignment",
        "view_feeschedule",
        "view_feeitem",
        "view_refundstep",
        "view_feechange",
        "view_calendarevent",
    ],
}


def give(apps, schema_editor):
    grant(apps, "registration", PERMISSIONS)


def take(apps, schema_editor):
    withdraw(apps, "registration", PERMISSIONS)


class Migration(migrations.Migration):
    dependencies = [("registration", "0009_charges_follow_fee_schedules")]

    operations = [migrations.RunPython(give, take)]
