import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from audit.immutability import LiftRefusal, RefuseChanges

TABLE = "registration_ledgerentry"
TO_VOID = "OLD.state IN ('anticipated', 'posted') AND NEW.state = 'void'"
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
]


class Migration(migrations.Migration):
    dependencies = [
        ("registration", "0003_role_permissions"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="CollegeMember",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "college",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="members",
                        to="registration.college",
                    ),
                ),
                (
                    "user",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="college_member",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["user"],
                "verbose_name": "college of a principal",
                "verbose_name_plural": "colleges of principals",
            },
        ),
        LiftRefusal(RefuseChanges(TABLE, allowed_update=TO_VOID, frozen=FROZEN)),
        migrations.AddField(
            model_name="ledgerentry",
            name="corrects",
            field=models.ForeignKey(
                blank=True,
                help_text="Of an entry that a person posted in the place of another: the one that a sync or a "
                "charge had posted.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="corrections",
                to="registration.ledgerentry",
            ),
        ),
        migrations.AddIndex(
            model_name="ledgerentry",
            index=models.Index(
                condition=models.Q(
                    ("posted_run__isnull", False), ("state", "void"), ("voided_run__isnull", True)
                ),
                fields=["id"],
                name="ledger_entry_voided_by_hand",
            ),
        ),
        migrations.AddConstraint(
            model_name="ledgerentry",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "void"), _negated=True),
                fields=("corrects",),
                name="ledger_entry_one_live_correction",
            ),
        ),
        RefuseChanges(TABLE, allowed_update=TO_VOID, frozen=[*FROZEN, "corrects_id"]),
    ]
