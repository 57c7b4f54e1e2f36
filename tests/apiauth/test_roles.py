"""The four roles of the office are there from the first migration, and none may do more than it was given."""

from __future__ import annotations

from importlib import import_module

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.urls import NoReverseMatch, reverse

from apiauth.models import User
from apiauth.roles import ADMINISTRATOR, ADVISOR, AUDITOR, PRINCIPAL, ROLES, grant, revoke

pytestmark = pytest.mark.django_db


def codenames(role: str) -> set[str]:
    """What a role may do, such as "registration.view_student"."""
    rows = Group.objects.get(name=role).permissions.values_list("content_type__app_label", "codename")
    return {f"{app_label}.{codename}" for app_label, codename in rows}


def everything_granted() -> dict[str, list[str]]:
    """Every permission of every role, with repetitions."""
    return {
        role: sorted(Permission.objects.filter(group__name=role).values_list("codename", flat=True))
        for role in ROLES
    }


def staff_in(role: str) -> User:
    user = User.objects.create_user(role.lower(), is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    return user


def test_the_four_roles_are_there_and_no_other() -> None:
    assert set(Group.objects.values_list("name", flat=True)) == set(ROLES)
    assert set(ROLES) == {"Administrator", "Principal", "Advisor", "Auditor"}


@pytest.mark.parametrize("role", ROLES)
def test_every_role_may_do_something(role: str) -> None:
    assert codenames(role)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_is_given_only_what_there_is(role: str) -> None:
    """A name that was mistyped in a migration would be a permission that nothing ever asks for."""
    there = {
        f"{model._meta.app_label}.{action}_{model._meta.model_name}"
        for model in apps.get_models()
        for action in model._meta.default_permissions
    } | {
        f"{model._meta.app_label}.{codename}"
        for model in apps.get_models()
        for codename, _ in model._meta.permissions
    }
    assert codenames(role) <= there


@pytest.mark.parametrize(
    ("role", "more"),
    [
        (PRINCIPAL, {"integrations.decide_college_syncrun"}),
        (ADVISOR, set()),
        (AUDITOR, {"audit.export_auditevent"}),
    ],
)
def test_who_reads_only_reads_but_that_principals_decide_for_their_college_and_auditors_export(
    role: str, more: set[str]
) -> None:
    assert {name for name in codenames(role) if not name.partition(".")[2].startswith("view_")} == more


def test_no_role_deletes_anything() -> None:
    deleting = Permission.objects.filter(group__isnull=False, codename__startswith="delete_")
    assert list(deleting) == []


@pytest.mark.parametrize("role", ROLES)
def test_no_role_writes_into_the_trail(role: str) -> None:
    assert {name for name in codenames(role) if "auditevent" in name} <= {
        "audit.view_auditevent",
        "audit.export_auditevent",
    }


def test_only_administrators_and_auditors_read_the_trail() -> None:
    reading = {role for role in ROLES if "audit.view_auditevent" in codenames(role)}
    assert reading == {ADMINISTRATOR, AUDITOR}


def test_whoever_is_in_a_role_may_do_what_the_role_may() -> None:
    advisor, nobody = staff_in(ADVISOR), User.objects.create_user("nobody", is_staff=True)
    assert advisor.get_all_permissions() == codenames(ADVISOR)
    assert advisor.has_perm("registration.view_student")
    assert not advisor.has_perm("registration.change_student")
    assert nobody.get_all_permissions() == set()


@pytest.mark.parametrize("role", [ADVISOR, PRINCIPAL, AUDITOR])
def test_who_only_reads_is_refused_at_every_door_of_the_admin_that_writes(client: Client, role: str) -> None:
    client.force_login(staff_in(role))
    tried, answers = 0, {}
    for model in admin.site._registry:
        at = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        for door, arguments in (("add", []), ("change", [1]), ("delete", [1])):
            try:
                url = reverse(f"{at}_{door}", args=arguments)
            except NoReverseMatch:
                continue
            tried += 1
            answers[url] = client.post(url, {"post": "yes", "_save": "Save"}).status_code
    assert tried > 6
    assert {url: status for url, status in answers.items() if status != 403} == {}


# --- the page that says it --------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
def test_the_page_says_of_each_role_what_it_may_do_and_no_more(client: Client, role: str) -> None:
    client.force_login(staff_in(role))
    shown = client.get(reverse("admin:roles")).context["subjects"]
    place = ROLES.index(role)
    held = [right for subject in shown for right in subject.rights if right.held_by[place]]
    assert len(held) == len(codenames(role))


def test_a_right_that_is_taken_from_a_role_is_gone_from_the_page(client: Client) -> None:
    client.force_login(staff_in(AUDITOR))
    Group.objects.get(name=ADVISOR).permissions.remove(Permission.objects.get(codename="view_student"))
    shown = client.get(reverse("admin:roles")).context["subjects"]
    [students] = [subject for subject in shown if subject.name == "Students"]
    [see] = [right for right in students.rights if right.words == "See"]
    assert not see.held_by[ROLES.index(ADVISOR)]
    assert see.held_by[ROLES.index(ADMINISTRATOR)]


# --- the data migration -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("migration", "function"),
    [
        ("apiauth.migrations.0002_roles", "make_roles"),
        ("registration.migrations.0003_role_permissions", "give"),
        ("integrations.migrations.0002_role_permissions", "give"),
        ("integrations.migrations.0004_role_permissions", "give"),
    ],
)
def test_a_migration_that_runs_again_changes_nothing(migration: str, function: str) -> None:
    before, permissions = everything_granted(), Permission.objects.count()
    getattr(import_module(migration), function)(apps, None)
    assert everything_granted() == before
    assert Permission.objects.count() == permissions
    assert Group.objects.count() == 4


def test_what_django_makes_after_migrations_and_what_roles_need_are_the_same_rows() -> None:
    rows = list(Permission.objects.values_list("content_type__app_label", "content_type__model", "codename"))
    assert len(rows) == len(set(rows))
    held = Permission.objects.filter(group__isnull=False).distinct()
    assert held.exists()
    names = {permission.name for permission in held}
    assert "Can view student" in names


def test_to_grant_makes_the_role_and_the_permission_where_they_are_missing() -> None:
    Group.objects.filter(name=ADVISOR).delete()
    Permission.objects.filter(codename="view_term").delete()
    grant(apps, "registration", {ADVISOR: ["view_term"]})
    assert codenames(ADVISOR) == {"registration.view_term"}


def test_to_revoke_takes_one_room_s_permissions_and_leaves_the_others() -> None:
    before = codenames(ADMINISTRATOR)
    revoke(apps, "registration")
    for role in ROLES:
        assert not [name for name in codenames(role) if name.startswith("registration.")]
    assert codenames(ADMINISTRATOR) == {name for name in before if not name.startswith("registration.")}


def test_a_group_of_somebody_else_s_keeps_what_it_was_given() -> None:
    own = Group.objects.create(name="Library")
    own.permissions.add(Permission.objects.get(codename="view_student"))
    revoke(apps, "registration")
    assert own.permissions.count() == 1
