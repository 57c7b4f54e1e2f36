"""Sessions end by themselves, and people see theirs and end them."""

from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django.fixtures import Settings

from apiauth.models import StaffSession, User
from apiauth.sign_on.browser_words import browser_in_words
from apiauth.sign_on.sessions import remove_expired_sessions
from audit.models import AuditEvent
from tests.apiauth.sign_on import FIREFOX, is_in, member, sign_on

pytestmark = pytest.mark.django_db
START = 1_800_000_000


@pytest.fixture(autouse=True)
def cheap(settings: Settings) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def ada() -> User:
    return member()


def test_a_session_that_nobody_uses_for_an_hour_ends_and_says_so(client: Client, ada: User) -> None:
    with time_machine.travel(START, tick=False) as clock:
        sign_on(client)
        clock.shift(59 * 60)
        assert is_in(client)
        clock.shift(59 * 60)
        assert is_in(client)
        clock.shift(60 * 60)
        answer = client.get("/admin/", follow=True)
    assert "because nobody used this session" in answer.content.decode()
    assert AuditEvent.objects.filter(action="user.session_expired", subject_id=str(ada.pk)).count() == 1


def test_a_session_ends_after_twelve_hours_however_busy(client: Client, ada: User) -> None:
    with time_machine.travel(START, tick=False) as clock:
        sign_on(client)
        for _ in range(15):
            clock.shift(47 * 60)
            assert is_in(client)
        clock.shift(16 * 60)
        assert not is_in(client)


def test_a_page_that_asks_again_by_itself_keeps_no_session_alive(client: Client, ada: User) -> None:
    with time_machine.travel(START, tick=False) as clock:
        sign_on(client)
        clock.shift(50 * 60)
        assert is_in(client, headers={"HX-Request": "true"})
        clock.shift(11 * 60)
        assert not is_in(client)


def test_looks_within_a_minute_write_nothing(client: Client, ada: User) -> None:
    with time_machine.travel(START, tick=False) as clock:
        sign_on(client)
        client.get("/admin/sign-on/")
        before = StaffSession.objects.get().session_data
        clock.shift(59)
        client.get("/admin/sign-on/")
        assert StaffSession.objects.get().session_data == before
        clock.shift(2)
        client.get("/admin/sign-on/")
        assert StaffSession.objects.get().session_data != before


def test_people_see_where_they_are_signed_on_and_what_happened(client: Client, ada: User) -> None:
    sign_on(Client(), password="wrong", REMOTE_ADDR="198.51.100.9")
    sign_on(Client(), REMOTE_ADDR="192.0.2.44", HTTP_USER_AGENT=FIREFOX)
    sign_on(client)
    page = client.get(reverse("admin:sign_on")).content.decode()
    for shown in ("Firefox on Linux", "192.0.2.44", "Wrong password", "198.51.100.9", "This one"):
        assert shown in page
    for row in StaffSession.objects.all():
        assert row.session_key not in page


def test_one_other_session_is_ended_or_all_and_never_this_one_or_another_person_s(
    client: Client, ada: User
) -> None:
    member("bob")
    first, second, bob = Client(), Client(), Client()
    sign_on(first, HTTP_USER_AGENT=FIREFOX)
    sign_on(second), sign_on(client), sign_on(bob, "bob")
    ends = reverse("admin:end_session")
    name = next(
        each.name for each in client.get("/admin/sign-on/").context["sessions"] if "Firefox" in each.browser
    )
    assert client.get(ends).status_code == 405
    bob.post(ends, {"session": name})
    assert is_in(first)
    client.post(ends, {"session": name})
    assert [is_in(each) for each in (first, second, client, bob)] == [False, True, True, True]
    client.post(ends)
    assert [is_in(each) for each in (first, second, client, bob)] == [False, False, True, True]
    assert AuditEvent.objects.filter(action="user.session_ended", subject_id=str(ada.pk)).count() == 2


def test_a_new_password_ends_every_other_session(client: Client, ada: User) -> None:
    other = Client()
    sign_on(other), sign_on(client)
    ada.set_password("Another-Horse-11")
    ada.save()
    assert not is_in(other)


def test_sessions_that_are_over_are_forgotten(client: Client, ada: User) -> None:
    sign_on(client)
    StaffSession.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
    assert remove_expired_sessions() == 1
    assert not StaffSession.objects.exists()


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("agent", "words"),
    [
        (FIREFOX, "Firefox on Linux"),
        (
            "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0",
            "Edge on Windows",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Safari/604.1",
            "Safari on iPhone",
        ),
        ("curl/8.5.0", "A program"),
        ("", "An unknown browser"),
    ],
)
def test_a_browser_is_named_as_its_person_knows_it(agent: str, words: str) -> None:
    assert browser_in_words(agent) == words
