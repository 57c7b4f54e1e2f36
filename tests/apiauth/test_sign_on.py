"""Passwords cannot be guessed at any speed, and nobody is kept out by those who try."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import Client
from pytest_django.fixtures import Settings

from apiauth.models import User
from apiauth.sign_on import attempts
from audit.models import AuditEvent
from tests.apiauth.sign_on import PASSWORD, is_in, member, sign_on

pytestmark = pytest.mark.django_db

STRANGER: dict[str, Any] = {"REMOTE_ADDR": "198.51.100.7"}
# A cheap hash: these tests are about how often it is asked for.
FAST_HASH = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def cheap(settings: Settings) -> None:
    settings.PASSWORD_HASHERS = [*FAST_HASH, *settings.PASSWORD_HASHERS]


def fail(times: int, client: Client | None = None, *, name: str = "ada", **extra: Any) -> None:
    for _ in range(times):
        sign_on(client or Client(), name, "wrong", **extra)


def waits(answer: Any) -> bool:
    return b"Too many attempts were wrong. Try again in " in answer.content


def test_the_sixth_attempt_waits_though_it_is_right_and_says_how_long() -> None:
    member()
    fail(4)
    assert not waits(sign_on(Client(), "ada", "wrong"))
    answer = sign_on(Client())
    assert waits(answer)
    assert b"10 minutes" in answer.content
    assert b"an administrator can set a new one" in answer.content


def test_who_waited_is_in_and_asking_meanwhile_makes_it_no_longer() -> None:
    member()
    with time_machine.travel(1_800_000_000, tick=False) as clock:
        fail(5)
        clock.shift(300)
        fail(3)
        clock.shift(301)
        client = Client()
        assert sign_on(client).status_code == 302
        assert is_in(client)


def test_a_name_that_nobody_has_waits_in_the_same_words() -> None:
    fail(5, name="nobody")
    assert waits(sign_on(Client(), "nobody"))


def test_a_stranger_elsewhere_does_not_hold_up_the_person() -> None:
    member()
    fail(10, **STRANGER)
    client = Client()
    assert sign_on(client).status_code == 302
    assert is_in(client)


def test_guessing_through_many_names_from_one_address_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "OF_ADDRESS", (8, 600))
    for number in range(attempts.OF_ADDRESS[0]):
        fail(1, name=f"name-{number}", **STRANGER)
    member()
    assert waits(sign_on(Client(), **STRANGER))
    assert sign_on(Client()).status_code == 302


def test_guessing_one_password_from_many_addresses_closes_the_name_to_unknown_browsers_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attempts, "OF_NAME", (8, 3600))
    member()
    known = Client()
    sign_on(known)
    known.post("/admin/logout/")
    for number in range(attempts.OF_NAME[0]):
        fail(1, REMOTE_ADDR=f"203.0.113.{number}")
    assert waits(sign_on(Client(), REMOTE_ADDR="192.0.2.200"))
    assert sign_on(known).status_code == 302
    assert is_in(known)


def test_a_known_browser_is_held_up_by_its_own_failures_alone() -> None:
    member()
    known, colleague = Client(), Client()
    sign_on(known)
    known.post("/admin/logout/")
    fail(10, known)
    assert waits(sign_on(known))
    assert sign_on(colleague).status_code == 302


@pytest.mark.parametrize("forged", ["", "x", "eyJuYW1lIjogIngiLCAiYWNjb3VudHMiOiBbMV19:1abc:def"])
def test_a_cookie_that_is_not_ours_makes_no_browser_known(forged: str) -> None:
    member()
    client = Client()
    client.cookies["known_browser"] = forged
    fail(5, client)
    assert waits(sign_on(client))


def test_a_browser_is_known_for_those_only_who_signed_on_with_it() -> None:
    member(), member("bob")
    client = Client()
    sign_on(client)
    client.post("/admin/logout/")
    fail(5, client, name="bob")
    assert waits(sign_on(client, "bob"))


def test_right_passwords_do_not_count() -> None:
    member()
    for _ in range(8):
        client = Client()
        assert sign_on(client).status_code == 302


@pytest.mark.django_db(transaction=True)
def test_of_any_number_of_guesses_at_once_five_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    original: Callable[..., bool] = User.check_password

    def check(user: User, password: str) -> bool:
        looked.append(password)
        return original(user, password)

    monkeypatch.setattr(User, "check_password", check)
    member()

    def guess(number: int) -> None:
        sign_on(Client(), "ada", f"guess-{number}")
        connection.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(guess, range(24)))
    assert len(looked) == 5


def test_that_somebody_had_to_wait_is_on_the_trail_once_and_without_what_was_typed() -> None:
    ada = member()
    fail(9)
    event = AuditEvent.objects.get(action="user.sign_in_throttled")
    assert (event.subject_id, event.detail) == (str(ada.pk), {"account": "known"})
    assert "wrong" not in str(list(AuditEvent.objects.values()))


def test_the_cookies_of_an_installation_behind_https_are_secure(settings: Settings) -> None:
    settings.SESSION_COOKIE_SECURE = True
    member()
    client = Client()
    sign_on(client, secure=True)
    for name in ("sessionid", "known_browser"):
        cookie = client.cookies[name]
        assert cookie["secure"], name
        assert cookie["httponly"], name
        assert cookie["samesite"] == "Lax", name


@pytest.mark.parametrize(
    ("password", "says"),
    [("short-1", "too short"), ("password1234", "too common"), ("193847561029", "entirely numeric")],
)
def test_a_password_that_others_would_guess_is_refused_with_a_reason(password: str, says: str) -> None:
    client = Client()
    client.force_login(member())
    form = {"old_password": PASSWORD, "new_password1": password, "new_password2": password}
    assert says in client.post("/admin/password_change/", form).content.decode()
