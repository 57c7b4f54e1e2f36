"""Which college a principal belongs to."""

from __future__ import annotations

from django.contrib import admin

from audit.admin import AuditedAdmin
from registration.models import CollegeMember


@admin.register(CollegeMember)
class CollegeMemberAdmin(AuditedAdmin):
    """Which college a principal decides for."""

    list_display = ["user", "college"]
    list_select_related = ["user", "college"]
