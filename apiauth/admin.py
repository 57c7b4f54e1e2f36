"""Staff accounts. Consumers get their page with the partner API; django-oauth-toolkit's own pages are not
shown, because they hand out grants and show tokens."""

from __future__ import annotations

from typing import Any, Final

from django.apps import apps
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.db import models, transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

import audit
from apiauth.models import Consumer, User
from apiauth.sign_on.second_step import remove_second_step
from audit.admin import AuditedAdmin

# What decides whether somebody gets in, and whether anything is refused to them.
STANDING: Final = ("is_active", "is_staff", "is_superuser")


@admin.register(User)
class UserAdmin(AuditedAdmin, DjangoUserAdmin):  # type: ignore[type-arg]
    list_display = ["username", "email", "first_name", "last_name", "is_active", "last_login"]
    list_filter = ["groups", "is_active"]
    actions = ["reset_second_step"]

    @admin.action(description="Reset the second step of the selected people", permissions=["change"])
    def reset_second_step(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """For who has lost both the app and the recovery codes. Where it is asked of them, they set it up at the next sign-on."""
        reset = [user for user in queryset if remove_second_step(user, reason="reset by an administrator")]
        names = ", ".join(user.get_username() for user in reset)
        if reset:
            messages.success(request, f"Their password alone signs them on now: {names}.")
        else:
            messages.info(request, "None of them has a second step.")

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        """Whether somebody may sign in, and may do everything: the trail says which of it was given or taken."""
        super().save_model(request, obj, form, change)
        if changed := {name: bool(getattr(obj, name)) for name in STANDING if name in form.changed_data}:
            audit.record("user.standing_changed", obj, detail=changed)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Roles and permissions decide what a person may do, so that the trail says which came and which went."""
        user = form.instance
        roles, permissions = names_of(user.groups), permissions_of(user.user_permissions)
        super().save_related(request, form, formsets, change)
        record_difference("user.roles_changed", user, roles, names_of(user.groups))
        record_difference(
            "user.permissions_changed", user, permissions, permissions_of(user.user_permissions)
        )

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:  # noqa: A002
        # The one page of Django's that changes a row without a transaction; the event belongs to the change.
        with transaction.atomic():
            return super().user_change_password(request, id, form_url)


def names_of(roles: Any) -> set[str]:
    """The names of these roles as the database has them now."""
    return set(roles.values_list("name", flat=True))


def permissions_of(permissions: Any) -> set[str]:
    """These permissions as the database has them now, as "registration.view_student"."""
    return {".".join(row) for row in permissions.values_list("content_type__app_label", "codename")}


def record_difference(action: str, subject: models.Model, before: set[str], after: set[str]) -> None:
    """Put on the trail what came and what went; nothing where nothing did."""
    if before != after:
        audit.record(
            action, subject, detail={"added": sorted(after - before), "removed": sorted(before - after)}
        )


admin.site.unregister(Group)  # registered by Django, whose page leaves nothing on the trail


@admin.register(Group)
class RoleAdmin(AuditedAdmin, DjangoGroupAdmin):
    """What each role may do; the trail says what came and what went."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        role = form.instance
        before = permissions_of(role.permissions)
        super().save_related(request, form, formsets, change)
        record_difference("group.permissions_changed", role, before, permissions_of(role.permissions))


def hide_models_of(app_label: str) -> None:
    """Take an app's models out of the admin."""
    for model in apps.get_app_config(app_label).get_models():
        if admin.site.is_registered(model):
            admin.site.unregister(model)


hide_models_of("oauth2_provider")
hide_models_of("django_celery_beat")  # its rows only ring; when a connection is due is set on the connection
admin.site.unregister(Consumer)  # registered by django-oauth-toolkit, secret and all
