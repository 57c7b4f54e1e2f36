"""The admin site: our front page, and a side bar in the order of people's work."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from django.contrib.admin import AdminSite
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

import audit

# The side bar's groups, and the models in each, by label. A model that is named nowhere is reached by links only.
GROUPS: Final = (
    (
        "Connections",
        (
            "integrations.connection",
            "integrations.syncrun",
            "integrations.outboxmessage",
            "integrations.rejectedrecord",
            "integrations.termcode",
            "integrations.alert",
        ),
    ),
    (
        "Students",
        (
            "registration.student",
            "registration.enrollment",
            "registration.housingassignment",
            "registration.libraryaccount",
        ),
    ),
    (
        "Billing",
        (
            "registration.ledgerentry",
            "registration.feechange",
            "registration.feeschedule",
            "registration.billingaccount",
        ),
    ),
    (
        "Catalogue",
        (
            "registration.term",
            "registration.section",
            "registration.course",
            "registration.program",
            "registration.college",
        ),
    ),
    ("Partners", ("apiauth.consumer",)),
    ("Staff", ("apiauth.user", "auth.group", "registration.collegemember")),
    ("Audit", ("audit.auditevent",)),
)


class MatriculaAdminSite(AdminSite):
    site_header = "Matricula"
    site_title = "Matricula"
    index_title = "Today"
    site_url = None

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        # Imported here: the site exists before the apps whose rows its front page shows.
        from integrations.admin.today import today  # noqa: PLC0415

        return super().index(request, {**today(request), **(extra_context or {})})

    def autocomplete_view(self, request: HttpRequest) -> HttpResponse:
        """What a field suggests while somebody types: people too, so that each answer is a look at them."""
        # Imported here: the site exists before the apps whose rows are suggested.
        from audit.admin.looks import AuditedSuggestions  # noqa: PLC0415

        answer: HttpResponse = AuditedSuggestions.as_view(admin_site=self)(request)  # type: ignore[assignment]
        return answer

    def password_change(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        """A person's new password for themselves, with its event: both or neither."""
        with transaction.atomic():
            answer = super().password_change(request, extra_context)
            # Django answers a change with a redirect, and one that it refuses with the form.
            if (
                request.method == "POST"
                and answer.status_code == HTTPStatus.FOUND
                and request.user.is_authenticated
            ):
                audit.record("user.password_changed", request.user)
        return answer

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """The models that this person may see, in the groups of their work rather than by app."""
        if app_label is not None:
            return super().get_app_list(request, app_label)
        models = {
            f"{app['app_label']}.{model['object_name'].lower()}": model
            for app in self._build_app_dict(request).values()
            for model in app["models"]
        }
        groups = []
        for name, labels in GROUPS:
            present = [models[label] for label in labels if label in models]
            if present:
                groups.append(
                    {
                        "name": name,
                        "app_label": name.lower(),
                        "app_url": "",
                        "has_module_perms": True,
                        "models": present,
                    }
                )
        return groups
