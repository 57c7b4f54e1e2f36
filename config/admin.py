"""The admin site: our front page, our words."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.template.response import TemplateResponse


class MatriculaAdminSite(AdminSite):
    site_header = "Matricula"
    site_title = "Matricula"
    index_title = "Today"
    site_url = None

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        # Imported here: the site exists before the apps whose rows its front page shows.
        from integrations.admin.today import today  # noqa: PLC0415

        return super().index(request, {**today(request), **(extra_context or {})})
