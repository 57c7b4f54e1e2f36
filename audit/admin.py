"""Admin bases that every room's admin is built from: read-only, and audited."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest

import audit
from audit.models import AuditEvent


class ReadOnlyAdmin(admin.ModelAdmin[Any]):
    """Rows that are looked at and never edited by hand."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False


class AuditedAdmin(admin.ModelAdmin[Any]):
    """Edits by hand leave an audit event: which fields, never their values."""

    def log_addition(self, request: HttpRequest, obj: models.Model, message: Any) -> Any:
        audit.record(f"{obj._meta.model_name}.created", obj)
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: models.Model, message: Any) -> Any:
        changed = [part.get("changed", {}) for part in message] if isinstance(message, list) else []
        fields = sorted({field for change in changed for field in change.get("fields", [])})
        audit.record(
            f"{obj._meta.model_name}.changed", obj, detail={"fields": [str(name) for name in fields]}
        )
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> Any:
        for obj in queryset:
            audit.record(f"{obj._meta.model_name}.deleted", obj)
        return super().log_deletions(request, queryset)


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    list_display = ["at", "actor_name", "action", "subject_type", "subject_id", "reason"]
    list_filter = ["actor_kind", "action"]
    search_fields = ["actor_name", "action", "subject_id", "reason"]
    show_full_result_count = False
