from django.db import migrations

from apiauth.roles import grant


def give(apps, schema_editor):
    grant(apps, "integrations", {"Administrator": ["decide_syncrun"]})


class Migration(migrations.Migration):
    dependencies = [("integrations", "0003_approval")]

    # Taken back with everything else of this room, by 0002.
    operations = [migrations.RunPython(give, migrations.RunPython.noop)]
