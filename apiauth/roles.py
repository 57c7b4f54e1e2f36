"""The four roles of the office. A7 completes what each may do; each room grants what is its own, in a migration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

ADMINISTRATOR: Final = "Administrator"
PRINCIPAL: Final = "Principal"
ADVISOR: Final = "Advisor"
AUDITOR: Final = "Auditor"
ROLES: Final = (ADMINISTRATOR, PRINCIPAL, ADVISOR, AUDITOR)


def grant(apps: Any, app_label: str, permissions: Mapping[str, Iterable[str]]) -> None:
    """Give roles their permissions, in a data migration: `permissions` names codenames such as "view_student" for
    each role. Django makes its rows for permissions only after all migrations, so they are made here when missing."""
    content_types, rows = apps.get_model("contenttypes", "ContentType"), apps.get_model("auth", "Permission")
    groups = apps.get_model("auth", "Group")
    for role, codenames in permissions.items():
        group, _ = groups.objects.get_or_create(name=role)
        for codename in codenames:
            action, _, model = codename.rpartition("_")
            content_type, _ = content_types.objects.get_or_create(app_label=app_label, model=model)
            permission, _ = rows.objects.get_or_create(
                content_type=content_type,
                codename=codename,
                defaults={"name": f"Can {action.replace('_', ' ')} {model}"},
            )
            group.permissions.add(permission)


def withdraw(apps: Any, app_label: str, permissions: Mapping[str, Iterable[str]]) -> None:
    """Take permissions from roles again, and no others: what one `grant` among several is undone by."""
    rows, groups = apps.get_model("auth", "Permission"), apps.get_model("auth", "Group")
    for role, codenames in permissions.items():
        given = rows.objects.filter(content_type__app_label=app_label, codename__in=list(codenames))
        for group in groups.objects.filter(name=role):
            group.permissions.remove(*given)


def revoke(apps: Any, app_label: str) -> None:
    """Take every permission on an app's models from the roles: what `grant` is undone by."""
    groups = apps.get_model("auth", "Group")
    for group in groups.objects.filter(name__in=ROLES):
        group.permissions.remove(*group.permissions.filter(content_type__app_label=app_label))
