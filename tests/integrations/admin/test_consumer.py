"""A consumer's page: its secret once, snippets that work as pasted, and buttons that are felt at once."""

from __future__ import annotations

import datetime
import html
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django.fixtures import Settings
from pytest_django.live_server_helper import LiveServer

from apiauth.models import Consumer, ConsumerUsage, User
from apiauth.operations import create_consumer
from audit.models import AuditEvent
from audit.trails import trail_of
from integrations.models import WebhookSubscription
from integrations.subscriptions import subscribe
from registration.disclosure import grant, students_named
from registration.models import StudentGrant
from tests.university import make_students, make_terms

pytestmark = pytest.mark.django_db

ADD = "admin:apiauth_consumer_add"
FORM = {"name": "Library", "contact": "keys@library.example.edu", "scopes": ["calendar:read"]}
HOOK = "https://hooks.example.org/matricula?key=4711"
Act = Callable[..., Any]


@pytest.fixture
def consumer(db: None) -> Consumer:
    return create_consumer("Housing office", scopes=["enrollment:read", "calendar:read"]).consumer


@pytest.fixture
def act(administrator: Client, consumer: Consumer) -> Act:
    """Press a button of the consumer's page, and return what is shown then."""

    def press(decision: str, **form: str) -> Any:
        url = reverse("admin:apiauth_consumer_decide", args=[consumer.pk, decision])
        return administrator.post(url, {"reason": "Because", **form}, follow=True)

    return press


def page_of(consumer: Consumer) -> str:
    return reverse("admin:apiauth_consumer_change", args=[consumer.pk])


def words(answer: Any) -> str:
    """The words of a page, without its markup."""
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode())))


def within(answer: Any, element: str) -> str:
    """The text of an element of a page."""
    found = re.search(rf'id="{element}"[^>]*>(.*?)</(?:code|pre)>', answer.content.decode(), re.DOTALL)
    assert found, element
    return html.unescape(found[1])


def secret_works(client_id: str, secret: str) -> bool:
    form = f"grant_type=client_credentials&client_id={client_id}&client_secret={secret}"
    answer = Client().post("/oauth/token/", form, content_type="application/x-www-form-urlencoded")
    return answer.status_code == 200


# --- a new consumer ---------------------------------------------------------------------------------------


def test_four_fields_make_a_consumer_and_show_its_secret_once(administrator: Client) -> None:
    make_students(2)
    given = {"students": "college:ENG", "purpose": "Assigning carrels"}
    answer = administrator.post(reverse(ADD), FORM | given)
    assert answer.status_code == 200
    assert "no-store" in answer.headers["Cache-Control"]
    made = Consumer.objects.get()
    secret = within(answer, "client-secret")
    assert within(answer, "client-id") == made.client_id
    assert secret_works(made.client_id, secret)
    assert secret not in administrator.get(page_of(made)).content.decode()
    [kept] = StudentGrant.objects.all()
    assert (kept.words, kept.purpose) == ("Engineering", "Assigning carrels")
    session = administrator.session
    assert secret not in str(dict(session))
    event = AuditEvent.objects.get(action="consumer.created")
    assert event.actor_kind == "user"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": ""}, "This field is required"),
        ({"name": "housing OFFICE"}, "Another consumer has this name"),
        ({"contact": "nobody"}, "valid email"),
        ({"scopes": []}, "This field is required"),
        ({"scopes": ["everything"]}, "not one of the available choices"),
        ({"students": "all"}, "Say what the partner needs these students for"),
        ({"students": "program:NONE", "purpose": "x"}, "not one of the available choices"),
    ],
)
def test_what_is_no_consumer_is_told_beside_its_field_and_makes_nothing(
    administrator: Client, consumer: Consumer, change: dict[str, Any], said: str
) -> None:
    answer = administrator.post(reverse(ADD), FORM | change)
    assert said in words(answer)
    assert Consumer.objects.count() == 1


def test_a_form_that_is_sent_twice_makes_one_consumer(administrator: Client) -> None:
    administrator.post(reverse(ADD), FORM)
    assert "Another consumer has this name" in words(administrator.post(reverse(ADD), FORM))
    assert Consumer.objects.count() == 1


# --- snippets, as pasted ----------------------------------------------------------------------------------


@pytest.fixture
def pasted(live_server: LiveServer, transactional_db: None, settings: Settings) -> Any:
    """The page with the secret, of a consumer that may read terms, at a server that runs."""
    settings.BASE_URL = live_server.url
    make_terms()
    client = Client()
    client.force_login(User.objects.create_superuser("boss"))
    return client.post(reverse(ADD), FORM)


# What the lines ask of curl, for machines that have none.
CURL = """
import requests, sys
arguments, options = iter(sys.argv[1:]), {"-u": "", "-d": "", "-H": ""}
for argument in arguments:
    if argument in options:
        options[argument] = next(arguments)
    elif argument != "-s":
        url = argument
headers = dict([options["-H"].split(": ", 1)]) if options["-H"] else {}
form = dict([options["-d"].split("=", 1)]) if options["-d"] else None
auth = tuple(options["-u"].split(":", 1)) if options["-u"] else None
method = "POST" if form else "GET"
print(requests.request(method, url, data=form, headers=headers, auth=auth, timeout=30).text)
"""


@pytest.fixture
def with_curl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a curl on the PATH."""
    if shutil.which("curl") is None:
        (tmp_path / "curl.py").write_text(CURL)
        (tmp_path / "curl").write_text(f'#!/bin/sh\nexec {sys.executable} {tmp_path}/curl.py "$@"\n')
        (tmp_path / "curl").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


@pytest.mark.usefixtures("with_curl")
def test_the_curl_lines_work_in_a_shell(pasted: Any) -> None:
    lines = within(pasted, "snippet-1")
    done = subprocess.run(["sh", "-c", lines], capture_output=True, text=True, timeout=60, check=False)  # noqa: S607
    assert done.returncode == 0, done.stderr
    assert [term["code"] for term in json.loads(done.stdout)["results"]] == ["2027SP", "2026FA"]


def test_the_python_lines_work_as_a_program(pasted: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-c", within(pasted, "snippet-2")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "2027SP" in done.stdout


def test_the_postman_collection_does_as_it_says(pasted: Any) -> None:
    """Its two requests are made as Postman makes them: variables filled in, the first one's token kept."""
    collection = json.loads(within(pasted, "snippet-3"))
    assert collection["info"]["schema"].endswith("/v2.1.0/collection.json")
    variables = {each["key"]: each["value"] for each in collection["variable"]}

    def filled(text: str) -> str:
        return re.sub(r"{{(\w+)}}", lambda found: variables[found[1]], text)

    asking, calling = (each["request"] for each in collection["item"])
    basic = {each["key"]: filled(each["value"]) for each in asking["auth"]["basic"]}
    form = {each["key"]: each["value"] for each in asking["body"]["urlencoded"]}
    answer = requests.request(
        asking["method"],
        filled(asking["url"]),
        data=form,
        auth=(basic["username"], basic["password"]),
        timeout=30,
    )
    variables["token"] = answer.json()["access_token"]
    headers = {"Authorization": "Bearer " + filled(calling["auth"]["bearer"][0]["value"])}
    found = requests.request(calling["method"], filled(calling["url"]), headers=headers, timeout=30)
    assert len(found.json()["results"]) == 2


def test_a_consumer_whose_scopes_open_nothing_yet_is_shown_how_to_get_its_token(
    live_server: LiveServer, transactional_db: None, settings: Settings
) -> None:
    settings.BASE_URL = live_server.url
    client = Client()
    client.force_login(User.objects.create_superuser("boss"))
    answer = client.post(reverse(ADD), FORM | {"scopes": ["integrations:read"]})
    done = subprocess.run(
        [sys.executable, "-c", within(answer, "snippet-2")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "A token of 43 characters" in done.stdout
    assert len(json.loads(within(answer, "snippet-3"))["item"]) == 1


# --- buttons ----------------------------------------------------------------------------------------------


def test_suspend_resume_and_revoke_say_what_they_did(act: Act, consumer: Consumer) -> None:
    for decision, form, status, said in (
        ("suspend", {}, "suspended", "its very next request is refused"),
        ("resume", {}, "active", "may call again"),
        ("revoke", {"sure": "yes"}, "revoked", "revoked, for good"),
    ):
        assert said in words(act(decision, **form))
        consumer.refresh_from_db()
        assert consumer.status == status
    assert {event.reason for event in AuditEvent.objects.about(consumer)} == {"", "Because"}


def test_a_rotation_shows_the_new_secret_and_the_old_one_goes_on_as_long_as_was_chosen(
    act: Act, consumer: Consumer
) -> None:
    answer = act("rotate", overlap_hours="24", seen=consumer.secret_changed_at.isoformat())
    assert secret_works(consumer.client_id, within(answer, "client-secret"))
    consumer.refresh_from_db()
    ends_at = consumer.previous_secret_ends_at
    assert ends_at is not None
    assert ends_at - timezone.now() == pytest.approx(
        datetime.timedelta(hours=24), abs=datetime.timedelta(minutes=1)
    )
    again = act("rotate", overlap_hours="24", seen="2020-01-01T00:00:00+00:00")
    assert "rotated in the meantime" in words(again)


@pytest.mark.parametrize(
    ("decision", "form", "said"),
    [
        ("suspend", {"reason": " "}, "Say why"),
        ("revoke", {}, "Tick that it is for good"),
        ("resume", {}, "only what is suspended"),
        ("rotate", {"overlap_hours": "9999"}, "Choose how long"),
        ("rotate", {}, "Choose how long"),
        ("grant", {"students": "everyone", "purpose": "x"}, "names no students"),
        ("grant", {"number": "S9999999", "purpose": "x"}, "There is no student with number S9999999"),
        ("grant", {"students": "all", "purpose": ""}, "Say what the partner needs"),
    ],
)
def test_what_is_not_done_is_told_and_changes_nothing(
    act: Act, consumer: Consumer, decision: str, form: dict[str, str], said: str
) -> None:
    before = Consumer.objects.values().get()
    assert said in words(act(decision, **form))
    assert Consumer.objects.values().get() == before
    assert not StudentGrant.objects.exists()


def test_students_are_granted_by_group_and_by_name_and_withdrawn(act: Act, consumer: Consumer) -> None:
    make_students(2)
    assert "may see: All students" in words(act("grant", students="all", purpose="Rooms"))
    shown = words(act("grant", number="S0000002", students="all", purpose="Ticket 4411"))
    assert "by name: a disclosure hold does not hide this student" in shown
    given = StudentGrant.objects.get(audience="all")
    shown = words(act("withdraw", grant=str(given.pk)))
    assert "The grant stays on record" in shown
    assert "Withdrawn (1)" in shown
    assert act("withdraw", grant="9" * 30).status_code == 404
    assert act("withdraw", grant="x").status_code == 404


def test_webhooks_are_shown_as_they_stand_and_removed_with_a_reason(
    administrator: Client, act: Act, consumer: Consumer
) -> None:
    assert "Webhooks" not in words(administrator.get(page_of(consumer)))
    made = subscribe(consumer, url=HOOK, event_types=["term.changed", "enrollment.changed"])
    shown = administrator.get(page_of(consumer))
    for told in (
        "https://hooks.example.org/matricula?…",
        "term.changed",
        "enrollment.changed",
        "accepted, not yet delivering",
        made.subscription.created_at.strftime("%Y-%m-%d"),
    ):
        assert told in words(shown)
    for secret in ("key=4711", made.secret):
        assert secret not in shown.content.decode()

    number = str(made.subscription.pk)
    assert "its secret forgotten" in words(act("unsubscribe", subscription=number, reason="It leaks"))
    made.subscription.refresh_from_db()
    assert made.subscription.ended_at is not None
    assert made.subscription.secret == {}
    event = AuditEvent.objects.get(action="webhook.unsubscribed")
    assert (event.actor_kind, event.reason, event.detail["host"]) == ("user", "It leaks", "hooks.example.org")
    assert event in AuditEvent.objects.filter(trail_of(consumer))
    ended = words(act("unsubscribe", subscription=number))
    assert "was ended in the meantime" in ended
    assert "Ended (1)" in ended


@pytest.mark.parametrize(
    ("subscription", "reason", "said"),
    [
        ("own", " ", "Say why"),
        ("another's", "x", "was ended in the meantime"),
        ("9" * 30, "x", "was ended in the meantime"),
        ("x", "x", "was ended in the meantime"),
    ],
)
def test_no_webhook_is_removed_without_a_reason_or_by_another_s_page(
    act: Act, consumer: Consumer, subscription: str, reason: str, said: str
) -> None:
    library = create_consumer("Library", scopes=["webhooks:manage"]).consumer
    own, other = (
        subscribe(each, url=HOOK, event_types=["term.changed"]).subscription for each in (consumer, library)
    )
    number = {"own": str(own.pk), "another's": str(other.pk)}.get(subscription, subscription)
    assert said in words(act("unsubscribe", subscription=number, reason=reason))
    assert WebhookSubscription.objects.present().count() == 2


def test_the_webhooks_of_a_revoked_consumer_can_still_be_removed(act: Act, consumer: Consumer) -> None:
    made = subscribe(consumer, url=HOOK, event_types=["term.changed"])
    assert "Why remove" in act("revoke", sure="yes").content.decode()
    act("unsubscribe", subscription=str(made.subscription.pk))
    assert not WebhookSubscription.objects.present().exists()


def test_no_button_works_by_get_or_under_another_name(administrator: Client, consumer: Consumer) -> None:
    for decision in ("suspend", "revoke", "rotate", "grant", "unsubscribe"):
        url = reverse("admin:apiauth_consumer_decide", args=[consumer.pk, decision])
        assert administrator.get(url).status_code == 405
    assert (
        administrator.post(reverse("admin:apiauth_consumer_decide", args=[consumer.pk, "delete"])).status_code
        == 404
    )


@pytest.mark.parametrize("role", ["Auditor", "Advisor", "Principal"])
def test_whoever_only_reads_presses_no_button(client: Client, consumer: Consumer, role: str) -> None:
    subscribe(consumer, url=HOOK, event_types=["term.changed"])
    user = User.objects.create_user(role.lower(), is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client.force_login(user)
    for decision in ("suspend", "resume", "revoke", "rotate", "grant", "withdraw", "unsubscribe"):
        url = reverse("admin:apiauth_consumer_decide", args=[consumer.pk, decision])
        assert client.post(url, {"reason": "x", "sure": "yes"}).status_code == 403
    assert client.post(reverse(ADD), FORM).status_code == 403
    shown = client.get(page_of(consumer))
    assert shown.status_code == (200 if role == "Auditor" else 403)
    assert "Rotate the secret" not in shown.content.decode()
    assert "Why remove" not in shown.content.decode()


def test_nobody_deletes_a_consumer(administrator: Client, consumer: Consumer) -> None:
    url = reverse("admin:apiauth_consumer_delete", args=[consumer.pk])
    assert administrator.post(url, {"post": "yes"}).status_code == 403
    assert Consumer.objects.exists()


# --- the page ---------------------------------------------------------------------------------------------


def settings_of(**change: Any) -> dict[str, Any]:
    return {
        "name": "Housing office",
        "contact": "",
        "scopes": ["calendar:read"],
        "hourly_limit": "1000",
        "expires_on": "",
        "networks": "",
        "_save": "Save",
    } | change


def test_settings_are_saved_and_on_the_trail_by_their_fields(
    administrator: Client, consumer: Consumer
) -> None:
    change = {"hourly_limit": "20", "networks": "192.0.2.0/24\n2001:db8::1", "expires_on": "2027-06-30"}
    administrator.post(page_of(consumer), settings_of(**change))
    consumer.refresh_from_db()
    assert (consumer.scope, consumer.hourly_limit) == ("calendar:read", 20)
    assert consumer.expires_on == datetime.date(2027, 6, 30)
    event = AuditEvent.objects.get(action="consumer.changed")
    assert {"Scopes", "Requests an hour", "Allowed networks", "Works until"} <= set(event.detail["fields"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"networks": "192.0.2.1/24"}, "write 192.0.2.0/24 for the network"),
        ({"networks": "the campus"}, "is no address or network"),
        ({"networks": "10.0.0.1 " * 101}, "100 are the most"),
        ({"hourly_limit": "0"}, "One request an hour at least"),
        ({"hourly_limit": "-5"}, "greater than or equal to 0"),
        ({"expires_on": "soon"}, "Enter a valid date"),
        ({"name": "library"}, "Another consumer has this name"),
        ({"scopes": []}, "This field is required"),
    ],
)
def test_what_is_no_setting_is_told_and_changes_nothing(
    administrator: Client, consumer: Consumer, change: dict[str, Any], said: str
) -> None:
    create_consumer("Library", scopes=["calendar:read"])
    before = list(Consumer.objects.order_by("id").values())
    assert said in words(administrator.post(page_of(consumer), settings_of(**change)))
    assert list(Consumer.objects.order_by("id").values()) == before


def test_the_page_shows_usage_as_a_drawing_and_as_a_table(administrator: Client, consumer: Consumer) -> None:
    now = timezone.now()
    for back, count in ((0, 12), (1, 2400), (13, 1), (14, 99_999)):
        ConsumerUsage.objects.create(
            consumer=consumer, hour_at=now - datetime.timedelta(days=back), requests=count
        )
    shown = administrator.get(page_of(consumer))
    assert shown.content.decode().count("<rect ") == 14
    assert "2,413 requests in 14 days, 2,400 on the busiest" in words(shown)
    assert 'height="2"' in shown.content.decode()  # one request beside 2,400 shows
    assert "style=" not in re.sub(r"<textarea.*?</textarea>", "", shown.content.decode(), flags=re.DOTALL)


def test_the_page_warns_when_a_scope_about_students_shows_nobody(
    administrator: Client, consumer: Consumer
) -> None:
    warning = "has a scope about students and may see no student"
    assert warning in words(administrator.get(page_of(consumer)))
    grant(consumer, students_named("all"), purpose="Rooms")
    assert warning not in words(administrator.get(page_of(consumer)))


def test_the_list_says_how_each_stands(administrator: Client, consumer: Consumer) -> None:
    Consumer.objects.update(expires_on=timezone.localdate() - datetime.timedelta(days=1))
    listed = words(administrator.get(reverse("admin:apiauth_consumer_changelist")))
    assert "Expired" in listed
    assert "Housing office" in listed


def test_a_revoked_consumer_has_no_buttons_and_no_form(
    administrator: Client, act: Act, consumer: Consumer
) -> None:
    act("revoke", sure="yes")
    shown = administrator.get(page_of(consumer)).content.decode()
    assert "Rotate the secret" not in shown
    assert 'name="_save"' not in shown
