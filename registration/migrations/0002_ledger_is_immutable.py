from django.db import migrations

from audit.immutability import RefuseChanges


class Migration(migrations.Migration):
    dependencies = [("registration", "0001_initial")]

    operations = [
        RefuseChanges(
            "registration_ledgerentry",
            allowed_update="OLD.state IN ('anticipated', 'posted') AND NEW.state = 'void'",
            frozen=[
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
            ],
        ),
    ]
