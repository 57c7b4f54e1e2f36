"""Who may do what, as the database enforces it now: a page for everybody who works here."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from django.contrib.admin import AdminSite
from django.contrib.auth.models import Group, Permission
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.text import capfirst

from apiauth.roles import ROLES

# What Django makes permissions of by itself, in words.
ACTIONS = {"view": "See", "add": "Add", "change": "Change", "delete": "Delete"}


@dataclass(frozen=True)
class Right:
    """Something that may be done, and which of the roles may, in the order of ROLES."""

    words: str
    held_by: tuple[bool, ...]


@dataclass(frozen=True)
class Subject:
    """What rights are about, such as students, with its rights."""

    name: str
    rights: list[Right]


def subjects() -> list[Subject]:
    """Every right that any role has, by what it is about, in two statements."""
    held: dict[int, set[str]] = defaultdict(set)
    rows = Group.objects.filter(name__in=ROLES, permissions__isnull=False)
    for role, key in rows.values_list("name", "permissions"):
        held[key].add(role)
    found: dict[str, list[Right]] = defaultdict(list)
    for permission in Permission.objects.filter(pk__in=held).select_related("content_type"):
        model = permission.content_type.model_class()
        name = model._meta.verbose_name_plural if model else permission.content_type.model
        holders = held[permission.pk]
        right = Right(_in_words(permission), tuple(role in holders for role in ROLES))
        found[capfirst(str(name))].append(right)
    return [Subject(name, sorted(found[name], key=lambda right: right.words)) for name in sorted(found)]


def role_page(site: AdminSite, request: HttpRequest) -> HttpResponse:
    """The page of the roles."""
    own = set(request.user.groups.values_list("name", flat=True)) if request.user.is_authenticated else set()
    context = {
        **site.each_context(request),
        "title": "Who may do what",
        "roles": [(role, role in own) for role in ROLES],
        "subjects": subjects(),
    }
    return TemplateResponse(request, "admin/roles.html", context)


def _in_words(permission: Permission) -> str:
    """A right of Django's making by its action; one of ours by its name, which says what it lets somebody do."""
    action, _, model = permission.codename.partition("_")
    if action in ACTIONS and model == permission.content_type.model:
        return ACTIONS[action]
    model_class = permission.content_type.model_class()
    ours = dict(model_class._meta.permissions) if model_class else {}
    return capfirst(str(ours.get(permission.codename, permission.name)).removeprefix("Can "))
