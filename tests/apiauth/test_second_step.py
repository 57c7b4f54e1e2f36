"""Whoever has a second step is not signed on by a password; whoever needs one sees nothing before it is set up."""

from __future__ import annotations

import re
from typing import Any

import pyotp
import pytest
import time_machine
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings

from apiauth.models import Authenticator, RecoveryCode, User
from apiauth.sealed import is_of_newest_key
from apiauth.sign_on.second_step import prepare_authenticator, secret_of
from audit.models import AuditEvent
from tests.apiauth.sign_on import PASSWORD, is_in, member, sign_on, with_second_step

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def cheap(settings: Settings) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def ada() -> User:
    return member()


def give(client: Client, code: str) -> Any:
    return client.post(reverse("admin:second_step"), {"code": code})


def test_the_password_alone_does_not_sign_on(client: Client, ada: User) -> None:
    with_second_step(ada)
    assert sign_on(client).url == reverse("admin:second_step")
    assert not is_in(client)
    assert not AuditEvent.objects.filter(action="user.signed_in").exists()


def test_the_code_of_the_app_signs_on_and_leads_to_where_one_was_going(client: Client, ada: User) -> None:
    app, _ = with_second_step(ada)
    client.post(
        reverse("admin:login"),
        {"username": "ada", "password": PASSWORD, "next": "/admin/password_change/"},
    )
    assert give(client, app.now()).url == "/admin/password_change/"
    assert is_in(client)


def test_no_code_is_taken_twice(client: Client, ada: User) -> None:
    app, _ = with_second_step(ada)
    with time_machine.travel(1_800_000_000, tick=False):
        sign_on(client)
        assert give(client, app.now()).status_code == 302
        other = Client()
        sign_on(other)
        assert b"was used already" in give(other, app.now()).content
    assert not is_in(other)


@pytest.mark.parametrize(
    ("seconds", "is_taken"), [(0, True), (30, True), (-30, True), (60, False), (-60, False)]
)
def test_a_clock_may_be_a_step_off_and_no_more(
    client: Client, ada: User, seconds: int, is_taken: bool
) -> None:
    app, _ = with_second_step(ada)
    with time_machine.travel(1_800_000_000, tick=False):
        sign_on(client)
        assert (give(client, app.at(1_800_000_000 + seconds)).status_code == 302) == is_taken


def test_a_recovery_code_signs_on_once_however_it_is_typed(client: Client, ada: User) -> None:
    _, codes = with_second_step(ada)
    sign_on(client)
    assert give(client, f" {codes[3].upper().replace('-', ' ')} ").status_code == 302
    assert is_in(client)
    other = Client()
    sign_on(other)
    assert give(other, codes[3]).status_code == 200
    assert not is_in(other)
    assert AuditEvent.objects.get(action="user.recovery_code_used").detail == {"left": 9}


def test_codes_are_not_guessed_at_any_speed(client: Client, ada: User) -> None:
    app, _ = with_second_step(ada)
    sign_on(client)
    for _ in range(5):
        assert b"This code is not right" in give(client, "000000").content
    assert b"Too many attempts" in give(client, app.now()).content
    assert not is_in(client)


def test_the_password_counts_for_ten_minutes(client: Client, ada: User) -> None:
    app, _ = with_second_step(ada)
    with time_machine.travel(1_800_000_000, tick=False) as clock:
        sign_on(client)
        clock.shift(601)
        assert give(client, app.now()).url == reverse("admin:login")
        assert not is_in(client)


@pytest.mark.parametrize("change", ["a new password", "switched off"])
def test_a_password_that_was_changed_meanwhile_counts_no_more(client: Client, ada: User, change: str) -> None:
    app, _ = with_second_step(ada)
    sign_on(client)
    if change == "a new password":
        ada.set_password("Another-Horse-11")
    else:
        ada.is_active = False
    ada.save()
    assert give(client, app.now()).url == reverse("admin:login")
    assert not is_in(client)


def test_nobody_reaches_the_code_without_the_password(client: Client, ada: User) -> None:
    app, _ = with_second_step(ada)
    assert give(client, app.now()).url == reverse("admin:login")


# --- setting it up ----------------------------------------------------------------------------------------


def test_it_counts_once_the_app_has_shown_a_code_and_the_codes_are_shown_once(
    client: Client, ada: User
) -> None:
    client.force_login(ada)
    page = reverse("admin:set_up_second_step")
    assert b"data:image/svg+xml" in client.get(page).content
    assert b"This code is not right" in client.post(page, {"code": "000000"}).content
    assert not Authenticator.objects.get(user=ada).confirmed_at

    answer = client.post(page, {"code": pyotp.TOTP(secret_of(prepare_authenticator(ada))).now()})
    shown = re.findall(
        r"^(?:<pre[^>]*>)?((?:[a-z2-7]{4}-){3}[a-z2-7]{4})$", answer.content.decode(), re.MULTILINE
    )
    assert len(shown) == 10
    assert "no-store" in answer["Cache-Control"]
    assert client.get(page).status_code == 302
    assert shown[0] not in client.get(reverse("admin:sign_on")).content.decode()


def test_neither_secret_nor_codes_are_in_the_database_as_they_are(ada: User) -> None:
    _, codes = with_second_step(ada)
    row = Authenticator.objects.get(user=ada)
    assert is_of_newest_key(bytes(row.__dict__["secret"]))
    assert secret_of(row).encode() not in bytes(row.__dict__["secret"])
    kept = set(RecoveryCode.objects.values_list("digest", flat=True))
    assert len(kept) == 10
    assert not kept & {code.replace("-", "") for code in codes} | (kept & set(codes))


def test_to_remove_it_or_to_make_new_codes_takes_the_password(client: Client, ada: User) -> None:
    _, codes = with_second_step(ada)
    client.force_login(ada)
    for name in ("remove_second_step", "make_recovery_codes"):
        assert (
            b"This is not your password"
            in client.post(reverse(f"admin:{name}"), {"password": "wrong"}).content
        )
    assert RecoveryCode.objects.filter(user=ada).count() == 10
    client.post(reverse("admin:make_recovery_codes"), {"password": PASSWORD})
    stranger = Client()
    sign_on(stranger)
    assert give(stranger, codes[0]).status_code == 200  # an old code opens nothing
    client.post(reverse("admin:remove_second_step"), {"password": PASSWORD})
    assert not Authenticator.objects.filter(user=ada).exists()


# --- who needs one ----------------------------------------------------------------------------------------


def principal() -> User:
    user = member("paul")
    user.groups.add(Group.objects.get(name="Principal"))
    return user


@pytest.mark.parametrize("who", ["principal", "superuser"])
def test_whoever_needs_one_sees_nothing_before_it_is_set_up(
    client: Client, settings: Settings, who: str
) -> None:
    settings.SECOND_STEP_ROLES = ["Principal", "Administrator"]
    user = principal() if who == "principal" else User.objects.create_superuser("root", password=PASSWORD)
    sign_on(client, user.username)
    for page in ("/admin/", "/admin/registration/student/", "/admin/sign-on/", "/admin/autocomplete/"):
        answer: Any = client.get(page)
        assert answer.url == reverse("admin:set_up_second_step")

    app = pyotp.TOTP(secret_of(prepare_authenticator(user)))
    client.post(reverse("admin:set_up_second_step"), {"code": app.now()})
    assert is_in(client)


def test_whoever_needs_one_cannot_remove_it(client: Client, settings: Settings) -> None:
    settings.SECOND_STEP_ROLES = ["Principal"]
    user = principal()
    with_second_step(user)
    client.force_login(user)
    client.post(reverse("admin:remove_second_step"), {"password": PASSWORD})
    assert Authenticator.objects.filter(user=user).exists()


def test_others_are_not_asked(client: Client, settings: Settings, ada: User) -> None:
    settings.SECOND_STEP_ROLES = ["Principal"]
    sign_on(client)
    assert is_in(client)


def test_an_administrator_resets_it_for_who_has_lost_everything(client: Client, ada: User) -> None:
    with_second_step(ada)
    client.force_login(User.objects.create_superuser("root", password=PASSWORD))
    chosen = {"action": "reset_second_step", "_selected_action": [ada.pk]}
    client.post(reverse("admin:apiauth_user_changelist"), chosen)
    other = Client()
    sign_on(other)
    assert is_in(other)
    event = AuditEvent.objects.get(action="user.second_step_removed")
    assert (event.actor_name, event.subject_id) == ("root", str(ada.pk))
