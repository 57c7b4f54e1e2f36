"""The admin site: our front page, and a side bar in the order of people's work."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from typing import Any, Final

from django.contrib.admin import AdminSite
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache

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
# What people look for again and again, below the list that it is a part of: the words, and the query.
SAVED_FILTERS: Final = {
    "integrations.connection": (("Never run", "runs=never"),),
    "integrations.syncrun": (
        ("Failed today", "status__exact=failed&ended=today"),
        ("Held", "status__exact=held"),
    ),
}


class MatriculaAdminSite(AdminSite):
    site_header = "Matricula"
    site_title = "Matricula"
    index_title = "Today"
    site_url = None

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        # Imported here: the site exists before the apps whose rows its front page shows.
        from integrations.admin.today import today  # noqa: PLC0415

        return super().index(request, {**today(request), **(extra_context or {})})

    def get_urls(self) -> list[Any]:
        # Imported here: the site exists before the apps of those who sign on.
        from apiauth.role_page import role_page  # noqa: PLC0415
        from apiauth.sign_on.own_pages import OwnPages  # noqa: PLC0415
        from apiauth.sign_on.pages import SecondStepView  # noqa: PLC0415

        second_step = SecondStepView.as_view(extra_context={"site_title": self.site_title})
        return [
            path("login/second-step/", second_step, name="second_step"),
            path("roles/", self.admin_view(partial(role_page, self)), name="roles"),
            *OwnPages(self).urls(),
            *super().get_urls(),
        ]

    @method_decorator(never_cache)
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Django's page, with what slows guessing down and the second step."""
        from apiauth.sign_on.pages import SignOnView  # noqa: PLC0415

        if request.method == "GET" and self.has_permission(request):
            return HttpResponseRedirect(reverse("admin:index", current_app=self.name))
        context = {
            **self.each_context(request),
            "title": "Log in",
            "subtitle": None,
            "app_path": request.get_full_path(),
            "username": request.user.get_username(),
            **(extra_context or {}),
        }
        if REDIRECT_FIELD_NAME not in request.GET and REDIRECT_FIELD_NAME not in request.POST:
            context[REDIRECT_FIELD_NAME] = reverse("admin:index", current_app=self.name)
        request.current_app = self.name
        view = SignOnView.as_view(template_name="admin/login.html", extra_context=context)
        answer: HttpResponse = view(request)  # type: ignore[assignment]
        return answer

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
        for label, filters in SAVED_FILTERS.items():
            if label in models:
                models[label]["saved_filters"] = filters
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
