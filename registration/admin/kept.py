"""The base of records that are corrected by hand and stay."""

from __future__ import annotations

from django.db import models
from django.http import HttpRequest

from audit.admin import AuditedAdmin


class KeptAdmin(AuditedAdmin):
    """Rows that are corrected by hand and never deleted: history hangs on them."""

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False
