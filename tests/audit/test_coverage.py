"""Whoever changes something, or looks at a student, is on the trail; secrets and people's data are not."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import DatabaseError, connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

import audit
from apiauth.models import User
from audit import tasks
from audit.admin import AuditedAdmin, ReadOnlyAdmin
from audit.context import SYSTEM, acting
from audit.models import AuditEvent, EventFlood
from audit.trails import trail_of
from registration.models import Student
from tests.university import make_students, make_terms

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "Clear-Water-99"


def actions() -> list[str]:
    return list(AuditEvent.objects.order_by("id").values_list("action", flat=True))


@pytest.fixture
def boss() -> User:
    return User.objects.create_superuser("boss", "boss@example.edu", PASSWORD)


@pytest.fixture
def signed_on(client: Client, boss: User) -> Client:
    client.force_login(boss)
    return client


@pytest.fixture
def student() -> Student:
    make_terms()
    return make_students(1)[0]


# --- signing on -------------------------------------------------------------------------------------------


def sign_in(client: Client, username: str, password: str) -> Any:
    return client.post(reverse("admin:login"), {"username": username, "password": password})


def test_signing_in_and_out_are_on_the_trail(client: Client, boss: User) -> None:
    sign_in(client, "boss", PASSWORD)
    client.post(reverse("admin:logout"))
    assert actions() == ["user.signed_in", "user.signed_out"]
    for event in AuditEvent.objects.all():
        assert (event.actor_name, event.subject_id, event.address) == ("boss", str(boss.pk), "127.0.0.1")
        assert event.request_id


def test_a_failed_sign_in_is_on_the_trail_without_what_was_typed(client: Client, boss: User) -> None:
    sign_in(client, "boss", "Wrong-Water-11")
    sign_in(client, "Secret-Typed-As-Name", "x")
    known, unknown = AuditEvent.objects.order_by("id")
    assert (known.action, known.subject_id) == ("user.sign_in_failed", str(boss.pk))
    assert (unknown.subject_id, unknown.detail) == ("", {"account": "unknown"})
    everything = str(list(AuditEvent.objects.values()))
    assert "Wrong-Water" not in everything
    assert "Secret-Typed" not in everything


def test_a_flood_of_failed_sign_ins_is_one_event_and_its_count(client: Client, boss: User) -> None:
    for _ in range(5):
        sign_in(client, "boss", "wrong")
    assert actions() == ["user.sign_in_failed"]
    assert tasks.close_floods() == 0  # its minute is not over
    EventFlood.objects.update(ends_at=timezone.now())
    assert tasks.close_floods() == 1
    first, count = AuditEvent.objects.order_by("id")
    assert (count.action, count.detail, count.address) == (first.action, {"times": 4}, "127.0.0.1")
    assert count.subject_id == str(boss.pk)
    assert not EventFlood.objects.exists()


def test_floods_from_two_addresses_are_told_apart_and_the_next_minute_begins_anew() -> None:
    for address in ("192.0.2.1", "192.0.2.2", "192.0.2.1"):
        with acting(SYSTEM, address=address):
            audit.record_or_count("user.sign_in_failed", User())
    assert sorted(AuditEvent.objects.values_list("address", flat=True)) == ["192.0.2.1", "192.0.2.2"]
    EventFlood.objects.update(ends_at=timezone.now())
    with acting(SYSTEM, address="192.0.2.1"):
        audit.record_or_count("user.sign_in_failed", User())
    of_first = AuditEvent.objects.filter(address="192.0.2.1").order_by("id")
    assert [event.detail for event in of_first] == [{}, {"times": 1}, {}]


def test_a_name_that_no_database_keeps_is_a_failed_sign_in_and_no_fault(client: Client) -> None:
    for name in ("\x00", "boss\x00", "x" * 5000):
        assert sign_in(client, name, "\x00").status_code == 200


# --- people and roles ---------------------------------------------------------------------------------------


def test_a_new_password_of_one_s_own_is_on_the_trail(signed_on: Client, boss: User) -> None:
    form = {"old_password": PASSWORD, "new_password1": "Deep-Water-77", "new_password2": "Deep-Water-77"}
    signed_on.post(reverse("admin:password_change"), {**form, "old_password": "wrong"})
    assert actions() == []
    signed_on.post(reverse("admin:password_change"), form)
    assert actions() == ["user.password_changed"]


def test_roles_given_and_taken_are_named(signed_on: Client) -> None:
    user = User.objects.create_user("somebody", is_staff=True)
    user.groups.add(Group.objects.get(name="Advisor"))
    auditor = Group.objects.get(name="Auditor")
    joined = {
        "date_joined_0": f"{user.date_joined:%Y-%m-%d}",
        "date_joined_1": f"{user.date_joined:%H:%M:%S}",
    }
    page = reverse("admin:apiauth_user_change", args=[user.pk])
    signed_on.post(
        page, {"username": "somebody", "is_active": "on", "is_staff": "on", "groups": [auditor.pk], **joined}
    )
    event = AuditEvent.objects.get(action="user.roles_changed")
    assert event.detail == {"added": ["Auditor"], "removed": ["Advisor"]}


def test_what_a_role_may_do_is_changed_on_the_trail(signed_on: Client) -> None:
    role = Group.objects.get(name="Advisor")
    signed_on.post(reverse("admin:auth_group_change", args=[role.pk]), {"name": "Advisor", "permissions": []})
    assert sorted(actions()) == ["group.changed", "group.permissions_changed"]
    detail = AuditEvent.objects.get(action="group.permissions_changed").detail
    assert "registration.view_student" in detail["removed"]
    assert detail["added"] == []


def test_a_right_that_is_given_by_name_or_by_standing_is_on_the_trail(signed_on: Client) -> None:
    user = User.objects.create_user("somebody")
    permission = Permission.objects.get(codename="view_student")
    form = {
        "username": "somebody",
        "is_active": "on",
        "is_staff": "on",
        "is_superuser": "on",
        "user_permissions": [permission.pk],
        "date_joined_0": f"{user.date_joined:%Y-%m-%d}",
        "date_joined_1": f"{user.date_joined:%H:%M:%S}",
    }
    signed_on.post(reverse("admin:apiauth_user_change", args=[user.pk]), form)
    told = dict(AuditEvent.objects.values_list("action", "detail"))
    assert told["user.standing_changed"] == {"is_staff": True, "is_superuser": True}
    assert told["user.permissions_changed"] == {"added": ["registration.view_student"], "removed": []}


def test_a_password_that_an_administrator_sets_and_an_account_that_goes_are_on_the_trail(
    signed_on: Client,
) -> None:
    user = User.objects.create_user("somebody")
    form = {"usable_password": "true", "password1": "Deep-Water-77", "password2": "Deep-Water-77"}
    signed_on.post(reverse("admin:auth_user_password_change", args=[user.pk]), form)
    signed_on.post(reverse("admin:apiauth_user_delete", args=[user.pk]), {"post": "yes"})
    assert actions() == ["user.changed", "user.deleted"]
    assert AuditEvent.objects.get(action="user.changed").detail == {"fields": ["password"]}


# --- accounts by command ------------------------------------------------------------------------------------


def typed(monkeypatch: pytest.MonkeyPatch, *passwords: str) -> None:
    """What somebody types at the prompts of a command."""
    answers = iter(passwords)
    monkeypatch.setattr("getpass.getpass", lambda *_: next(answers))


def test_a_superuser_by_command_is_on_the_trail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "CANARY-PASSWORD-1")
    call_command("createsuperuser", interactive=False, username="root", email="root@example.edu")
    event = AuditEvent.objects.get()
    assert (event.action, event.detail, event.actor_kind) == ("user.created", {"superuser": True}, "command")
    assert event.subject_id == str(User.objects.get(username="root", is_superuser=True).pk)
    assert "CANARY" not in str(AuditEvent.objects.values())


def test_no_superuser_is_made_where_the_trail_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def unwritable(*_: Any, **__: Any) -> None:
        raise DatabaseError("no room")

    monkeypatch.setattr("apiauth.accounts.audit.record", unwritable)
    with pytest.raises(DatabaseError):
        call_command("createsuperuser", interactive=False, username="root", email="root@example.edu")
    assert not User.objects.exists()


def test_a_password_by_command_is_on_the_trail(boss: User, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, "Deep-Water-77", "Deep-Water-78", "1234", "1234", "Deep-Water-77", "Deep-Water-77")
    call_command("changepassword", "boss")
    boss.refresh_from_db()
    assert boss.check_password("Deep-Water-77")
    event = AuditEvent.objects.get()
    assert (event.action, event.subject_id, event.actor_name) == (
        "user.password_set",
        str(boss.pk),
        "command: changepassword",
    )


def test_a_password_by_command_that_is_not_taken_changes_nothing(
    boss: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(monkeypatch, *["1234"] * 6)
    with pytest.raises(CommandError, match="Nothing was changed"):
        call_command("changepassword", "boss")
    with pytest.raises(CommandError, match="no account nobody"):
        call_command("changepassword", "nobody")
    boss.refresh_from_db()
    assert boss.check_password(PASSWORD)
    assert actions() == []


# --- looks at a student ---------------------------------------------------------------------------------------


def test_a_look_at_a_student_is_on_the_trail(signed_on: Client, student: Student) -> None:
    signed_on.get(reverse("admin:registration_student_change", args=[student.pk]))
    event = AuditEvent.objects.get()
    assert (event.action, event.detail, event.actor_name) == (
        "student.viewed",
        {"student": "S0000001"},
        "boss",
    )


def test_who_may_not_look_has_not_looked(client: Client, student: Student) -> None:
    client.force_login(User.objects.create_user("nobody", is_staff=True))
    assert client.get(reverse("admin:registration_student_change", args=[student.pk])).status_code == 403
    assert actions() == []


def test_a_look_by_command_is_on_the_trail(student: Student, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("student", "S0000001")
    event = AuditEvent.objects.get()
    assert (event.action, event.actor_kind) == ("student.viewed", "command")


def test_the_trail_of_a_student_has_whatever_names_them(student: Student) -> None:
    other = Student.objects.create(number="S0000009", family_name="Ng")
    audit.record("student.viewed", student)
    audit.record("enrollment.dropped", User(pk=5), detail={"student": student.number})
    audit.record("enrollment.dropped", User(pk=6), detail={"student": other.number})
    assert AuditEvent.objects.filter(trail_of(student)).count() == 2


def test_the_trail_of_a_person_has_what_they_did_and_what_was_done_to_them(boss: User) -> None:
    audit.record("user.changed", boss)
    audit.record("term.changed", User(pk=99), actor=audit.Actor(kind="user", name="boss", id=str(boss.pk)))
    audit.record("term.changed", User(pk=99), actor=audit.Actor(kind="worker", name="boss", id=str(boss.pk)))
    assert AuditEvent.objects.filter(trail_of(boss)).count() == 2


# --- nothing that does not belong there -----------------------------------------------------------------------

CANARIES = ("Canaryson", "Wilhelmina", "canary@example.edu", "CANARY-PASSWORD-1", "CANARY-TOKEN")


def test_no_name_address_or_secret_reaches_the_trail(signed_on: Client, student: Student) -> None:
    """Each door is used with values that may not appear; the trail is then searched as bytes, by whatever column."""
    Student.objects.filter(pk=student.pk).update(
        given_name="Wilhelmina", family_name="Canaryson", email="canary@example.edu"
    )
    page = reverse("admin:registration_student_change", args=[student.pk])
    signed_on.get(page)
    form = {
        "number": "S0000001",
        "given_name": "Wilhelmina",
        "family_name": "Canaryson",
        "email": "canary@example.edu",
    }
    signed_on.post(page, {**form, "status": "leave", "residency": "out_of_state", "disclosure_hold": "on"})
    signed_on.get(reverse("admin:registration_student_changelist"), {"q": "Canaryson"})
    signed_on.post(reverse("admin:audit_auditevent_export", args=["csv"]), {"q": "Canaryson"})
    form = {
        "username": "newcomer",
        "password1": "CANARY-PASSWORD-1",
        "password2": "CANARY-PASSWORD-1",
        "usable_password": "true",
    }
    signed_on.post(reverse("admin:apiauth_user_add"), form)
    sign_in(Client(), "newcomer", "CANARY-PASSWORD-1")
    sign_in(Client(), "CANARY-TOKEN", "CANARY-TOKEN")
    assert {
        "student.viewed",
        "student.changed",
        "audit_trail.exported",
        "user.created",
        "user.sign_in_failed",
    } <= set(actions())
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM audit_auditevent")
        kept = str(cursor.fetchall())
    assert [canary for canary in CANARIES if canary.lower() in kept.lower()] == []


# --- conventions ----------------------------------------------------------------------------------------------

# Admin pages that change nothing by hand, or whose changes are operations with events of their own.
WITHOUT_EVENTS = {"TermCodeAdmin"}
# Operations that leave no event of their own, and why.
NO_EVENT_OF_ITS_OWN = {
    "registration.operations.billing.open_account": "an empty account; what is posted to it is on the trail",
    "registration.operations.billing.apply_run_to_ledger": "the caller records the one event that stands for a run",
    "registration.operations.charging.lock_accounts": "changes nothing",
    "registration.operations.charging.move": "the caller records the one event that stands for an assessment",
    "registration.operations.charging.charge_newcomers": "the caller records the one event that stands for an assessment",
    "registration.operations.fee_changes.decision_detail": "changes nothing",
    "registration.operations.fee_changes.lines_by_student": "changes nothing",
    "registration.operations.fee_changes.put_before_a_person": "the caller's event says how many wait",
    "registration.operations.housing.lock_terms": "changes nothing",
    "registration.operations.housing_runs.fee_effects_of": "changes nothing",
    "registration.operations.library.accounts_ending": "changes nothing",
    "registration.operations.library.checksum_of": "changes nothing",
    "registration.operations.library.follow_library_access": "the change that it follows is on the trail, as is the sweep",
    "apiauth.operations.remove_expired_tokens": "each issuance is on the trail with its hour",
    "integrations.operations.ask_for_everything": "the run that then reads everything is on the trail",
    "integrations.operations.check_document": "changes nothing",
    "integrations.operations.reschedule": "part of an edit by hand, which is on the trail",
    "integrations.operations.ring": "changes nothing",
    "integrations.operations.try_mapping": "changes nothing",
    "integrations.decisions.pinned_by": "changes nothing",
}


def test_every_admin_page_is_read_only_or_leaves_events() -> None:
    pages = {type(page) for page in admin.site._registry.values()}
    assert len(pages) > 10
    silent = {page.__name__ for page in pages if not issubclass(page, ReadOnlyAdmin | AuditedAdmin)}
    assert silent == WITHOUT_EVENTS


def operations_of_all_rooms() -> Iterator[tuple[str, ast.FunctionDef]]:
    """Every function of the modules where operations live, private ones too, by its full name."""
    files = [
        *(ROOT / "registration/operations").glob("*.py"),
        *(ROOT / room / "operations.py" for room in ("apiauth", "integrations")),
        ROOT / "integrations/decisions.py",
    ]
    for file in files:
        name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.FunctionDef):
                yield f"{name}.{node.name}", node


def is_recording(node: ast.FunctionDef) -> bool:
    entries = ("audit.record", "audit.record_each", "audit.record_or_count")
    return any(isinstance(part, ast.Attribute) and ast.unparse(part) in entries for part in ast.walk(node))


def names_called(node: ast.FunctionDef) -> set[str]:
    return {
        part.func.id
        for part in ast.walk(node)
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Name)
    }


def test_every_operation_leaves_an_event_itself_or_through_another() -> None:
    functions = dict(operations_of_all_rooms())
    assert len(functions) > 40
    leaving = {name for name, node in functions.items() if is_recording(node)}
    while True:
        last_words = {(name.partition(".")[0], name.rpartition(".")[2]) for name in leaving}
        more = {
            name
            for name, node in functions.items()
            if any((name.partition(".")[0], called) in last_words for called in names_called(node))
        } - leaving
        if not more:
            break
        leaving |= more
    public = {name for name in functions if not name.rpartition(".")[2].startswith("_")}
    assert public - leaving == set(NO_EVENT_OF_ITS_OWN)
