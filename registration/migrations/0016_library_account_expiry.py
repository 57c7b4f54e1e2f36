"""Until when the library itself keeps an account: a column without a value, which locks nothing for long."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("registration", "0015_changes_are_stamped")]

    operations = [
        migrations.AddField(
            "libraryaccount",
            "expires_on",
            models.DateField(
                null=True,
                blank=True,
                help_text="The account's last day at the library, where it has told one.",
            ),
        ),
    ]
