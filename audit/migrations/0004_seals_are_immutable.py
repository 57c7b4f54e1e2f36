from django.db import migrations

from audit.immutability import AllowArchiving, RefuseChanges

ARCHIVED_TO = "coalesce((SELECT max(position) FROM audit_auditcheckpoint), 0)"


class Migration(migrations.Migration):
    dependencies = [("audit", "0003_seals_and_floods")]

    operations = [
        RefuseChanges("audit_auditseal", keys=["position", "event_id"]),
        RefuseChanges("audit_auditcheckpoint", keys=["position"]),
        AllowArchiving(
            "audit_auditevent",
            is_archived="EXISTS (SELECT 1 FROM audit_auditseal AS seal WHERE seal.event_id = OLD.id "
            f"AND seal.position <= {ARCHIVED_TO})",
        ),
        AllowArchiving("audit_auditseal", is_archived=f"OLD.position <= {ARCHIVED_TO}"),
    ]
