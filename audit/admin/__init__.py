"""The admin of the trail, and the bases that every room's admin is built from: read-only, and audited."""

from audit.admin.bases import AuditedAdmin, ReadOnlyAdmin
from audit.admin.trail import AuditEventAdmin

__all__ = ["AuditEventAdmin", "AuditedAdmin", "ReadOnlyAdmin"]
