"""The admin: the trail is looked at and never edited, and an edit by hand is on the trail or is not done."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import IntegrityError, connection
from django.test import Client
from django.urls import reverse

import audit
from apiauth.models import User
from audit.models import AuditEvent

pytestmark = pytest.mark.django_db

LIST = "admin:audit_auditevent_changelist"
ADD = "admin:audit_auditevent_add"


@pytest.fixture
def boss() -> User:
    return User.objects.create_superuser("boss")


@pytest.fixture
def somebody() -> User:
    joined_at = datetime.datetime(2026, 9, 1, 8, 30, tzinfo=datetime.UTC)
    return User.objects.create_user("somebody", "somebody@example.edu", date_joined=joined_at)


@pytest.fixture
def signed_on(client: Client, boss: User) -> Client:
    client.force_login(boss)
    return client


def staff_in(role: str) -> User:
    user = User.objects.create_user(role.lower(), is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    return user


# --- the trail --------------------------------------------------------------------------------------------


@pytest.fixture
def event(somebody: User) -> AuditEvent:
    return audit.record("user.changed", somebody, reason="asked by phone")


def page(event: AuditEvent, what: str) -> str:
    return reverse(f"admin:audit_auditevent_{what}", args=[event.pk])


def test_the_trail_is_there_to_be_read_by_a_superuser_too(signed_on: Client, event: AuditEvent) -> None:
    listed = signed_on.get(reverse(LIST), {"q": "asked by phone"})
    assert listed.status_code == 200
    assert "user.changed" in listed.content.decode()
    shown = signed_on.get(page(event, "change"))
    assert shown.status_code == 200
    assert "asked by phone" in shown.content.decode()


@pytest.mark.parametrize("role", [None, "Administrator", "Auditor"])
def test_nobody_adds_changes_or_deletes_an_event_by_any_door(
    client: Client, boss: User, event: AuditEvent, role: str | None
) -> None:
    client.force_login(staff_in(role) if role else boss)
    before = list(AuditEvent.objects.values())
    change = {"action": "user.created", "reason": "never", "_save": "Save"}
    answers = {
        "add page": client.get(reverse(ADD)),
        "add": client.post(reverse(ADD), change),
        "change": client.post(page(event, "change"), change),
        "save as new": client.post(page(event, "change"), {**change, "_saveasnew": "1"}),
        "delete page": client.get(page(event, "delete")),
        "delete": client.post(page(event, "delete"), {"post": "yes"}),
    }
    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(answers, 403)
    client.post(reverse(LIST), {"action": "delete_selected", "_selected_action": [event.pk], "post": "yes"})
    client.post(reverse(LIST), {"form-TOTAL_FORMS": "1", "form-0-id": event.pk, "_save": "Save"})
    assert list(AuditEvent.objects.values()) == before


def test_the_page_of_an_event_has_nothing_to_save(signed_on: Client, event: AuditEvent) -> None:
    shown = signed_on.get(page(event, "change")).content.decode()
    assert 'name="_save"' not in shown
    assert 'name="action"' not in shown
    listed = signed_on.get(reverse(LIST)).content.decode()
    assert "delete_selected" not in listed


@pytest.mark.parametrize(
    ("role", "status"), [("Administrator", 200), ("Auditor", 200), ("Advisor", 403), ("Principal", 403)]
)
def test_the_trail_is_read_by_those_whose_work_it_is(
    client: Client, event: AuditEvent, role: str, status: int
) -> None:
    client.force_login(staff_in(role))
    assert client.get(reverse(LIST)).status_code == status
    assert client.get(page(event, "change")).status_code == status


def test_the_trail_is_not_shown_to_who_has_not_signed_on(client: Client, event: AuditEvent) -> None:
    for address in (reverse(LIST), reverse(ADD), page(event, "change"), page(event, "delete")):
        answer = client.get(address)
        assert (answer.status_code, answer.headers["Location"].partition("?")[0]) == (
            302,
            reverse("admin:login"),
        )


# --- edits by hand ----------------------------------------------------------------------------------------


def form_of(user: User, **changes: Any) -> dict[str, Any]:
    """What the browser sends back from a user's page."""
    joined_on, joined_at = f"{user.date_joined:%Y-%m-%d}", f"{user.date_joined:%H:%M:%S}"
    return {
        "username": user.username,
        "email": user.email,
        "is_active": "on",
        **{f"{prefix}date_joined_0": joined_on for prefix in ("", "initial-")},
        **{f"{prefix}date_joined_1": joined_at for prefix in ("", "initial-")},
        "_save": "Save",
        **changes,
    }


def test_an_account_made_by_hand_is_on_the_trail(signed_on: Client, boss: User) -> None:
    form = {"username": "newcomer", "password1": "Clear-Water-99", "password2": "Clear-Water-99"}
    answer = signed_on.post(
        reverse("admin:apiauth_user_add"), {**form, "usable_password": "true", "_save": "Save"}
    )
    made = User.objects.get(username="newcomer")
    event = AuditEvent.objects.get()
    assert (event.action, event.subject_id, event.actor_name) == ("user.created", str(made.pk), "boss")
    assert event.request_id == answer.headers["X-Request-Id"]


def test_a_change_by_hand_is_on_the_trail_by_its_fields_and_never_their_values(
    signed_on: Client, somebody: User
) -> None:
    url = reverse("admin:apiauth_user_change", args=[somebody.pk])
    signed_on.post(url, form_of(somebody, email="private@example.org", last_name="Geheim"))
    somebody.refresh_from_db()
    assert somebody.email == "private@example.org"
    event = AuditEvent.objects.get()
    assert (event.action, event.detail) == ("user.changed", {"fields": ["Email address", "Last name"]})
    assert "private" not in str(AuditEvent.objects.values().get())
    assert "Geheim" not in str(AuditEvent.objects.values().get())


def change_password(client: Client, user: User) -> None:
    client.post(
        reverse("admin:auth_user_password_change", args=[user.pk]),
        {"password1": "Clear-Water-99", "password2": "Clear-Water-99", "usable_password": "true"},
    )


def delete_by_page(client: Client, user: User) -> None:
    client.post(reverse("admin:apiauth_user_delete", args=[user.pk]), {"post": "yes"})


def delete_from_list(client: Client, user: User) -> None:
    client.post(
        reverse("admin:apiauth_user_changelist"),
        {"action": "delete_selected", "_selected_action": [user.pk], "post": "yes"},
    )


Door = Callable[[Client, User], None]


def test_a_password_set_by_hand_is_on_the_trail_without_the_password(
    signed_on: Client, somebody: User
) -> None:
    change_password(signed_on, somebody)
    somebody.refresh_from_db()
    assert somebody.check_password("Clear-Water-99")
    event = AuditEvent.objects.get()
    assert (event.action, event.subject_id, event.detail) == (
        "user.changed",
        str(somebody.pk),
        {"fields": ["password"]},
    )
    assert somebody.password not in str(AuditEvent.objects.values().get())


@pytest.mark.parametrize("delete", [delete_by_page, delete_from_list])
def test_a_deletion_by_hand_is_on_the_trail_once(signed_on: Client, somebody: User, delete: Door) -> None:
    pk = str(somebody.pk)
    delete(signed_on, somebody)
    assert not User.objects.filter(username="somebody").exists()
    event = AuditEvent.objects.get()
    assert (event.action, event.subject_type, event.subject_id, event.actor_name) == (
        "user.deleted",
        "apiauth.user",
        pk,
        "boss",
    )


def failing_at(beginning: str) -> Any:
    """Let the database fail at statements that begin so."""

    def execute(call: Any, statement: str, *rest: Any) -> Any:
        if statement.startswith(beginning):
            raise IntegrityError("made to fail")
        return call(statement, *rest)

    return connection.execute_wrapper(execute)


@pytest.mark.parametrize("delete", [delete_by_page, delete_from_list])
def test_a_deletion_that_fails_is_not_on_the_trail(signed_on: Client, somebody: User, delete: Door) -> None:
    with failing_at('DELETE FROM "apiauth_user" '), pytest.raises(IntegrityError, match="made to fail"):
        delete(signed_on, somebody)
    assert User.objects.filter(pk=somebody.pk).exists()
    assert not AuditEvent.objects.exists()


@pytest.mark.parametrize("door", [change_password, delete_by_page, delete_from_list])
def test_what_cannot_be_put_on_the_trail_is_not_done(signed_on: Client, somebody: User, door: Door) -> None:
    before = User.objects.filter(pk=somebody.pk).values().get()
    with failing_at('INSERT INTO "audit_auditevent" '), pytest.raises(IntegrityError, match="made to fail"):
        door(signed_on, somebody)
    assert User.objects.filter(pk=somebody.pk).values().get() == before
