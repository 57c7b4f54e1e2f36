"""Staff accounts. Consumers get their page with the partner API; django-oauth-toolkit's own pages are not
shown, because they hand out grants and show tokens."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.db import transaction
from django.http import HttpRequest, HttpResponse

import audit
from apiauth.models import Consumer, User
from audit.admin import AuditedAdmin


@admin.register(User)
class UserAdmin(AuditedAdmin, DjangoUserAdmin):  # type: ignore[type-arg]
    list_display = ["username", "email", "first_name", "last_name", "is_active", "last_login"]
    list_filter = ["groups", "is_active"]

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Roles decide what a person may do, so that the trail says which came and which went."""
        before = roles_of(form.instance)
        super().save_related(request, form, formsets, change)
        after = roles_of(form.instance)
        if before != after:
            detail = {"added": sorted(after - before), "removed": sorted(before - after)}
            audit.record("user.roles_changed", form.instance, detail=detail)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:  # noqa: A002
        # The one page of Django's that changes a row without a transaction; the event belongs to the change.
        with transaction.atomic():
            return super().user_change_password(request, id, form_url)


def roles_of(user: User) -> set[str]:
    """The names of a user's roles as the database has them now."""
    return set(user.groups.values_list("name", flat=True))


admin.site.unregister(Group)  # registered by Django, whose page leaves nothing on the trail


@admin.register(Group)
class RoleAdmin(AuditedAdmin, DjangoGroupAdmin):
    """What each role may do."""


def hide_models_of(app_label: str) -> None:
    """Take an app's models out of the admin."""
    for model in apps.get_app_config(app_label).get_models():
        if admin.site.is_registered(model):
            admin.site.unregister(model)


hide_models_of("oauth2_provider")
hide_models_of("django_celery_beat")  # its rows only ring; when a connection is due is set on the connection
admin.site.unregister(Consumer)  # registered by django-oauth-toolkit, secret and all
