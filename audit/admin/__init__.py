"""The admin of the trail, and the bases that every room's admin is built from: read-only, audited, looks that are audited."""

from audit.admin.bases import AuditedAdmin, ReadOnlyAdmin, TrailedAdmin
from audit.admin.looks import LooksAreAudited
from audit.admin.trail import AuditEventAdmin

__all__ = ["AuditEventAdmin", "AuditedAdmin", "LooksAreAudited", "ReadOnlyAdmin", "TrailedAdmin"]
