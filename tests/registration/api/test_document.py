"""The document says what is served: it is current, breaks nothing, and outside judges find nothing against it."""

from __future__ import annotations

import copy
import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from pytest_django.live_server_helper import LiveServer

from apiauth.models import Consumer, User
from apiauth.scopes import SCOPES
from integrations.models import WebhookSubscription
from integrations.subscriptions import subscribe
from registration.api import published
from registration.api.compatibility import breaking_changes
from registration.api.docs import document
from registration.disclosure import grant, students_named
from registration.models import College, Course, Section
from tests.apiauth.conftest import MakePartner
from tests.bearers import make_token
from tests.partner_guide import GUIDE
from tests.university import make_section, make_students, make_terms

STATUSES = "/api/v1/enrollment-statuses/"


# --- what is published ------------------------------------------------------------------------------------


def test_the_published_document_is_what_the_code_says() -> None:
    assert published.what_breaks() == []
    assert published.DOCUMENT not in published.stale_files(), "run ./matricula api_document"


@pytest.mark.any_database
def test_a_published_file_that_is_not_current_is_named_and_then_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stale = tmp_path / "collection.json"
    stale.write_text("what was true once")
    monkeypatch.setattr(published, "_FILES", {stale: lambda: "what is true"})
    with pytest.raises(SystemExit) as ended:
        call_command("api_document", check=True)
    assert ended.value.code == 1
    assert "collection.json" in capsys.readouterr().err
    assert stale.read_text() == "what was true once"
    call_command("api_document")
    assert stale.read_text() == "what is true"
    call_command("api_document", check=True)


def fields(made: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = made["components"]["schemas"]["EnrollmentStatus"]["properties"]
    return found


def operation(made: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = made["paths"][STATUSES]["get"]
    return found


BREAKING: dict[str, Callable[[dict[str, Any]], object]] = {
    "is gone": lambda made: made["paths"].pop(STATUSES),
    "needs another scope": lambda made: operation(made).update(security=[{"oauth2": ["billing:read"]}]),
    "the parameter term is gone": lambda made: operation(made)["parameters"].pop(0),
    "load is gone": lambda made: fields(made).pop("load"),
    "credits is something else": lambda made: fields(made).update(credits={"type": "number"}),
    "status may be null now": lambda made: fields(made)["status"].update(nullable=True),
    "no answer 304": lambda made: operation(made)["responses"].pop("304"),
    "campus is newly asked for": lambda made: operation(made)["parameters"].append(
        {"name": "campus", "required": True, "schema": {"type": "string"}}
    ),
    "secret is newly asked for in the body": lambda made: made["components"]["schemas"][
        "SubscriptionRequest"
    ]["required"].append("secret"),
}


@pytest.mark.parametrize("words", BREAKING)
def test_a_change_that_breaks_a_program_is_found(words: str) -> None:
    before, after = document(), copy.deepcopy(document())
    BREAKING[words](after)
    assert any(words in each for each in breaking_changes(before, after))


def test_what_is_added_breaks_nothing() -> None:
    before, after = document(), copy.deepcopy(document())
    fields(after)["campus"] = {"type": "string"}
    operation(after)["parameters"].append({"name": "campus", "required": False, "schema": {"type": "string"}})
    after["paths"]["/api/v1/rooms/"] = after["paths"][STATUSES]
    assert breaking_changes(before, after) == []


def test_each_operation_says_its_scope_and_its_errors() -> None:
    flow = document()["components"]["securitySchemes"]["oauth2"]["flows"]["clientCredentials"]
    assert flow == {
        "tokenUrl": "/oauth/token/",
        "scopes": {name: each.words for name, each in SCOPES.items()},
    }
    for path, operations in document()["paths"].items():
        for each in operations.values():
            ((scope,),) = (needed["oauth2"] for needed in each["security"])
            assert scope in SCOPES
            assert scope in each["description"]
            assert each["summary"]
            problems = {status for status in each["responses"] if status >= "400"}
            assert {"400", "401", "403", "429", "500"} <= problems
            assert ("{" in path) == ("404" in problems)


@pytest.mark.any_database
def test_no_host_in_what_partners_read_is_somebody_s() -> None:
    """Examples are pasted: they may lead to nobody (RFC 2606, and example.edu, which is kept for the same)."""
    texts = [
        *(file.read_text() for file in (published.DOCUMENT, published.COLLECTION, GUIDE)),
        *(scope.example for scope in SCOPES.values()),
    ]
    hosts = {host for text in texts for host in re.findall(r"https?://([\w.-]+)", text)}
    made_up = {host for host in hosts if host.endswith(("example.edu", "example.org"))}
    assert made_up
    assert hosts - made_up == {"schema.getpostman.com"}  # the name of the collection's format


@pytest.mark.django_db
def test_each_operation_takes_the_parameters_that_the_document_names_and_no_other(
    client: Client, partner: MakePartner
) -> None:
    consumer = partner().consumer
    _be_there_under_the_examples_names(consumer)
    headers = {"Authorization": f"Bearer {make_token(consumer)}"}
    for path, operations in document()["paths"].items():
        parameters = operations["get"]["parameters"] if "get" in operations else []
        of_path = {each["name"]: each["example"] for each in parameters if each["in"] == "path"}
        in_query = {each["name"]: each for each in parameters if each["in"] == "query"}
        address = path.format(**of_path)
        for name, each in in_query.items():
            if "example" in each:
                value = str(each["example"]).replace("True", "true")
                answer = client.get(address, {name: value}, headers=headers)
                assert answer.status_code == 200, (path, name, answer.content)
        refused = client.get(address, {"nonsense": 1}, headers=headers)
        (told,) = refused.json()["errors"]["nonsense"]
        assert told == f"There is no such parameter here. Known: {', '.join(in_query)}."


# --- who may read it --------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["/api/v1/openapi.json", "/api/v1/docs/"])
def test_the_document_is_for_consumers_and_staff(client: Client, partner: MakePartner, address: str) -> None:
    refused = client.get(address)
    assert (refused.status_code, refused["WWW-Authenticate"]) == (401, 'Bearer realm="api"')
    token = make_token(partner(scopes=["calendar:read"]).consumer)
    assert client.get(address, headers={"Authorization": f"Bearer {token}"}).status_code == 200
    client.force_login(User.objects.create_user("visitor", "v@example.edu", "x"))
    assert client.get(address).status_code == 403
    client.force_login(User.objects.create_user("clerk", "c@example.edu", "x", is_staff=True))
    assert client.get(address).status_code == 200


@pytest.mark.django_db
def test_a_person_is_asked_to_sign_in_first(client: Client) -> None:
    answer = client.get("/api/v1/docs/", headers={"Accept": "text/html"})
    assert (answer.status_code, answer["Location"]) == (302, "/admin/login/?next=/api/v1/docs/")


# --- outside judges ---------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.any_database  # the queries behind the paths have tests of their own; this judges what goes out
def test_schemathesis_asks_of_every_operation_and_finds_nothing(
    live_server: LiveServer, partner: MakePartner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer = partner(hourly_limit=1_000_000).consumer
    _be_there_under_the_examples_names(consumer)
    # Its receivers of webhooks stand on the public internet, where a test looks up no name.
    monkeypatch.setattr(
        "integrations.subscriptions.look_up", lambda *_: [(socket.AF_INET, ("93.184.216.34", 443))]
    )
    report = tmp_path / "report.json"
    done = subprocess.run(
        [
            Path(sys.executable).with_name("st"), "run", f"{live_server.url}/api/v1/openapi.json",
            "--header", f"Authorization: Bearer {make_token(consumer)}", "--url", live_server.url,
            # The tests' server sends head and body apart, and a connection that is kept waits 40 ms in between.
            "--header", "Connection: close",
            "--exclude-checks", "positive_data_acceptance", "--max-examples", "6", "--seed", "1",
            "--no-color", "--suppress-health-check", "all", "--report", "json", "--report-json-path", report,
        ],
        capture_output=True, text=True, timeout=110, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    told = json.loads(report.read_text())
    operations = sum(len(operations) for operations in document()["paths"].values())
    assert told["operations"] | {"skip_reasons": []} == {
        "total": operations,
        "selected": operations,
        "tested": operations,
        "errored": 0,
        "skipped": 0,
        "skip_reasons": [],
    }
    assert {phase["status"] for phase in told["phases"].values()} == {"success"}
    assert told["failures"] == told["errors"] == []
    # What is asked for as the document says reaches the operation's own answer: it is more than refusals that were judged.
    accepted = {
        name: sum(rates["accepted"] for rates in phases.values())
        for name, phases in told["valid_rates"].items()
    }
    assert len(accepted) == operations
    assert min(accepted.values()) > 0, accepted


def _be_there_under_the_examples_names(consumer: Consumer) -> None:
    """A university that the consumer may see, and a subscription of it, under the ids that the document's examples have."""
    engineering = College.objects.create(code="ENG", name="Engineering")
    Course.objects.create(pk=1, code="CS 101", title="Introduction", credits=3, college=engineering)
    make_section(make_terms()[0])
    Section.objects.update(id=1)
    make_students(3)
    grant(consumer, students_named("all"), purpose="Judging")
    subscribe(consumer, url="https://hooks.example.org/first", event_types=["term.changed"])
    WebhookSubscription.objects.update(id=1)
