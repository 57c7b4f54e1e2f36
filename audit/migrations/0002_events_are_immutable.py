from django.db import migrations

from audit.immutability import RefuseChanges


class Migration(migrations.Migration):
    dependencies = [("audit", "0001_initial")]

    operations = [RefuseChanges("audit_auditevent")]
