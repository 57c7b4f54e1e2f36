"""`manage.py consumers`: keys for partners from the command line, and one JSON value for programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command, load_command_class
from django.test import Client

from apiauth.models import Consumer
from audit.models import AuditEvent
from registration.models import Student, StudentGrant
from tests.university import make_students

pytestmark = pytest.mark.django_db

Consumers = Callable[..., tuple[int, Any]]


@pytest.fixture
def consumers(capsys: pytest.CaptureFixture[str]) -> Consumers:
    """Run `manage.py consumers ... --json` and return its exit status and the one value on its stdout."""

    def run(*arguments: str) -> tuple[int, Any]:
        capsys.readouterr()
        status = 0
        try:
            load_command_class("integrations", "consumers").run_from_argv(
                ["manage.py", "consumers", *arguments, "--json"]
            )
        except SystemExit as end:
            status = int(end.code or 0)
        return status, json.loads(capsys.readouterr().out)

    return run


def token(client: Client, client_id: str, secret: str) -> int:
    form = f"grant_type=client_credentials&client_id={client_id}&client_secret={secret}"
    return client.post("/oauth/token/", form, content_type="application/x-www-form-urlencoded").status_code


def test_what_is_created_can_ask_for_a_token_at_once(consumers: Consumers, client: Client) -> None:
    status, made = consumers(
        "create", "Housing office", "--scopes", "sections:read calendar:read", "--limit", "50"
    )
    assert status == 0
    assert token(client, made["client_id"], made["client_secret"]) == 200
    assert made["scopes"] == ["sections:read", "calendar:read"]
    assert (made["hourly_limit"], made["students"], made["status"]) == (50, [], "active")
    _, listed = consumers("list")
    assert [each["client_id"] for each in listed] == [made["client_id"]]
    assert "client_secret" not in listed[0]
    event = AuditEvent.objects.get(action="consumer.created")
    assert event.actor_kind == "command"


@pytest.mark.parametrize(
    ("named", "seen"),
    [("all", 2), ("program:BSCS", 2), ("college:ENG", 2), ("student:S0000002", 1), (None, 0)],
)
def test_students_are_those_that_are_named_and_none_without(
    consumers: Consumers, named: str | None, seen: int
) -> None:
    make_students(2)
    extra = ["--students", named, "--purpose", "Rooms"] if named else []
    status, made = consumers("create", "Housing office", "--scopes", "enrollment:read", *extra)
    assert (status, made["students"]) == (0, [named] if named else [])
    assert Student.objects.visible_to(Consumer.objects.get().pk).count() == seen
    assert [given.purpose for given in StudentGrant.objects.all()] == (["Rooms"] if named else [])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["create", "X", "--scopes", "everything"], "There is no scope everything"),
        (["create", "X", "--scopes", " "], "Grant one scope"),
        (["create", "", "--scopes", "calendar:read"], "name"),
        (["create", "X", "--scopes", "calendar:read", "--limit", "0"], "one request an hour"),
        (["create", "X", "--scopes", "calendar:read", "--limit", "many"], "invalid int"),
        (["create", "X", "--scopes", "calendar:read", "--contact", "nobody"], "contact"),
        (["create", "X", "--scopes", "calendar:read", "--students", "everyone"], "names no students"),
        (
            ["create", "X", "--scopes", "calendar:read", "--students", "program:NONE"],
            "no program with code NONE",
        ),
        (["create", "X"], "--scopes"),
        (["create", "library", "--scopes", "calendar:read"], "Another consumer has this name"),
        (["suspend", "nobody"], "There is no consumer"),
        (["resume", "Library"], "only what is suspended"),
        (["rotate", "Library", "--overlap-hours", "-1"], "90 days at most"),
        (["rotate", "Library", "--overlap-hours", "100000"], "90 days at most"),
        ([], "action"),
    ],
)
def test_what_cannot_be_done_is_told_in_words_and_changes_nothing(
    consumers: Consumers, arguments: list[str], words: str
) -> None:
    consumers("create", "Library", "--scopes", "calendar:read")
    before = list(Consumer.objects.values())
    status, said = consumers(*arguments)
    assert (status, said["status"]) == (1, "failed")
    assert words in said["reason"]
    assert list(Consumer.objects.values()) == before


def test_suspend_resume_rotate_and_revoke_by_name_and_by_client_id(
    consumers: Consumers, client: Client
) -> None:
    _, made = consumers("create", "Housing office", "--scopes", "calendar:read")
    client_id, secret = made["client_id"], made["client_secret"]
    assert consumers("suspend", "housing OFFICE", "--reason", "Odd calls")[1]["status"] == "suspended"
    assert token(client, client_id, secret) == 401
    assert AuditEvent.objects.get(action="consumer.suspended").reason == "Odd calls"
    assert consumers("resume", client_id)[1]["status"] == "active"
    assert token(client, client_id, secret) == 200
    _, rotated = consumers("rotate", client_id)
    assert rotated["previous_secret_ends_at"]
    assert token(client, client_id, secret) == token(client, client_id, rotated["client_secret"]) == 200
    _, again = consumers("rotate", client_id, "--overlap-hours", "0")
    assert again["previous_secret_ends_at"] is None
    assert token(client, client_id, rotated["client_secret"]) == 401
    assert consumers("revoke", "Housing office")[1]["status"] == "revoked"
    assert token(client, client_id, again["client_secret"]) == 401


def test_people_are_told_the_secret_and_that_it_is_the_only_time(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("consumers", "create", "Library", "--scopes", "calendar:read")
    said = capsys.readouterr().out
    assert Consumer.objects.get().client_id in said
    assert "client_secret: " in said
    assert "not shown again" in said
