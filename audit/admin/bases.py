"""Admin bases that every room's admin is built from: each page leads to its trail; read-only, and audited."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import models, transaction
from django.http import HttpRequest, HttpResponse

import audit
from audit.trails import trail_address


class TrailedAdmin(admin.ModelAdmin[Any]):
    """The page of a row leads to the trail of that row, for those who may read it (templates/admin/trail_link.html)."""

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        row: models.Model | None = context.get("original")
        context["trail_address"] = trail_address(row) if row is not None else ""
        return super().render_change_form(request, context, *args, **kwargs)


class ReadOnlyAdmin(TrailedAdmin):
    """Rows that are looked at and never edited by hand."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False


class AuditedAdmin(TrailedAdmin):
    """Edits by hand leave an audit event: which fields, never their values."""

    # False where adding a row is an operation, which leaves its own event.
    records_additions = True

    def log_addition(self, request: HttpRequest, obj: models.Model, message: Any) -> Any:
        if self.records_additions:
            audit.record(f"{obj._meta.model_name}.created", obj)
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: models.Model, message: Any) -> Any:
        changed = [part.get("changed", {}) for part in message] if isinstance(message, list) else []
        fields = sorted({field for change in changed for field in change.get("fields", [])})
        audit.record(
            f"{obj._meta.model_name}.changed", obj, detail={"fields": [str(name) for name in fields]}
        )
        return super().log_change(request, obj, message)

    def delete_model(self, request: HttpRequest, obj: models.Model) -> None:
        audit.record(f"{obj._meta.model_name}.deleted", obj)
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        # Django deletes from its lists without a transaction around it; the event belongs to the deletion.
        with transaction.atomic():
            for obj in queryset:
                audit.record(f"{obj._meta.model_name}.deleted", obj)
            super().delete_queryset(request, queryset)
