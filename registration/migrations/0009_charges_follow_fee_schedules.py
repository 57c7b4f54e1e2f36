import django.db.models.deletion
from django.db import migrations, models

from audit.immutability import LiftRefusal, RefuseChanges

TABLE = "registration_ledgerentry"
ALLOWED = "OLD.state IN ('anticipated', 'posted') AND NEW.state = 'void'"
FROZEN = [
    "id",
    "account_id",
    "term_id",
    "kind",
    "adjusts",
    "amount_minor",
    "currency",
    "code",
    "description",
    "effective_on",
    "posted_at",
    "posted_by",
    "posted_run",
    "posted_change",
    "corrects_id",
]


class Migration(migrations.Migration):
    dependencies = [("registration", "0008_housing_and_fee_schedules")]

    operations = [
        LiftRefusal(RefuseChanges(TABLE, allowed_update=ALLOWED, frozen=FROZEN)),
        migrations.AddField(
            model_name="ledgerentry",
            name="basis",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="How the amount of such a charge came about.",
                max_length=200,
            ),
        ),
        migrations.AddField(
            model_name="ledgerentry",
            name="voided_from",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="What a void entry was before: only what was posted had counted.",
                max_length=12,
            ),
        ),
        migrations.AddField(
            model_name="ledgerentry",
            name="fee_item",
            field=models.ForeignKey(
                blank=True,
                help_text="Of a charge that a fee schedule says: the fee.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="entries",
                to="registration.feeitem",
            ),
        ),
        migrations.AddConstraint(
            model_name="ledgerentry",
            constraint=models.CheckConstraint(
                condition=models.Q(("fee_item__isnull", True), ("kind", "charge"), _connector="OR"),
                name="ledger_entry_only_a_charge_follows_a_schedule",
            ),
        ),
        migrations.AddConstraint(
            model_name="ledgerentry",
            constraint=models.UniqueConstraint(
                condition=models.Q(("fee_item__isnull", False), models.Q(("state", "void"), _negated=True)),
                fields=("account", "term", "code"),
                name="ledger_entry_one_live_charge_a_fee",
            ),
        ),
        migrations.AddConstraint(
            model_name="ledgerentry",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("voided_from", ""),
                    models.Q(("state", "void"), ("voided_from__in", ["anticipated", "posted"])),
                    _connector="OR",
                ),
                name="ledger_entry_only_a_void_was_something_else",
            ),
        ),
        RefuseChanges(TABLE, allowed_update=ALLOWED, frozen=[*FROZEN, "fee_item_id", "basis"]),
    ]
