from django.db import migrations

from audit.immutability import RefuseChanges


class Migration(migrations.Migration):
    """The record of disclosure: a grant takes one change, its withdrawal."""

    dependencies = [("registration", "0005_student_grants")]

    operations = [
        RefuseChanges(
            "registration_studentgrant",
            allowed_update="OLD.revoked_at IS NULL AND NEW.revoked_at IS NOT NULL",
            frozen=[
                "id",
                "consumer_id",
                "audience",
                "program_id",
                "college_id",
                "student_id",
                "purpose",
                "granted_at",
                "granted_by",
            ],
        )
    ]
