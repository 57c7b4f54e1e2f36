"""A client that a generator makes of the published document completes a tour: a token, and then every operation."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import requests
from pytest_django.fixtures import Settings
from pytest_django.live_server_helper import LiveServer

from registration.api import published
from registration.api.docs import document
from registration.disclosure import grant, students_named
from registration.models import CalendarEvent, Course, Section, Term
from tests.apiauth.conftest import MakePartner, Partner
from tests.university import make_section, make_students, make_terms

# The queries behind the paths have tests of their own; this is about what a generator makes of the document.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database]

HOOK = "https://localhost:8443/matricula"  # this machine, which the test lets in by name
NUMBER = "S0000001"
PACKAGE = "generated_partner_client"

# Calls an operation by its id, with what it takes, and returns what the client made of the answer.
Call = Callable[..., Any]


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The package that openapi-python-client writes; it may complain of nothing in the document."""
    folder = tmp_path_factory.mktemp("generated")
    (folder / "config.yaml").write_text("post_hooks: []\n")  # its code is run here, and read by nobody
    done = subprocess.run(
        [
            *(sys.executable, "-m", "openapi_python_client", "generate", "--fail-on-warning"),
            *("--path", published.DOCUMENT, "--meta", "none", "--config", folder / "config.yaml"),
            *("--output-path", folder / PACKAGE),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return str(folder)


@pytest.fixture
def call(
    generated: str, live_server: LiveServer, partner: MakePartner, settings: Settings, monkeypatch: Any
) -> Any:
    """The generated client, with a token."""
    settings.BASE_URL, settings.ALLOW_PRIVATE_HOSTS = live_server.url, ["localhost:8443"]
    monkeypatch.syspath_prepend(generated)
    made = partner()
    grant(made.consumer, students_named("all"), purpose="A tour")
    tags = {
        operation["operationId"]: operation["tags"][0].replace("-", "_")
        for operations in document()["paths"].values()
        for operation in operations.values()
    }
    client = importlib.import_module(PACKAGE).AuthenticatedClient(
        base_url=live_server.url, token=token_for(made, live_server.url), raise_on_unexpected_status=True
    )
    with client:

        def call(operation_id: str, *arguments: Any, **more: Any) -> Any:
            module = importlib.import_module(f"{PACKAGE}.api.{tags.pop(operation_id)}.{operation_id}")
            answer = module.sync_detailed(*arguments, client=client, **more)
            assert answer.status_code < 300, answer.content
            return answer.parsed

        yield call
    assert not tags, f"not on the tour: {', '.join(tags)}"


def token_for(made: Partner, base: str) -> str:
    """A token from where the document says that there are some."""
    flow = document()["components"]["securitySchemes"]["oauth2"]["flows"]["clientCredentials"]
    answer = requests.post(
        base + flow["tokenUrl"],
        data={"grant_type": "client_credentials"},
        auth=(made.consumer.client_id, made.secret),
        timeout=30,
    )
    token: str = answer.json()["access_token"]
    return token


@pytest.fixture
def term() -> Term:
    fall, _ = make_terms()
    make_section(fall)
    make_students(1)
    CalendarEvent.objects.create(
        term=fall, kind="holiday", name="Thanksgiving", starts_on="2026-11-26", ends_on="2026-11-27"
    )
    return fall


def test_a_generated_client_completes_the_tour(call: Call, term: Term) -> None:
    models: Any = importlib.import_module(f"{PACKAGE}.models")
    course, section = Course.objects.get(), Section.objects.get()

    assert [each.code for each in call("list_terms").results] == ["2027SP", "2026FA"]
    assert call("get_term", "2026FA").census_on == term.census_on
    assert [event.name for event in call("get_calendar", "2026FA").events] == ["Thanksgiving"]
    assert [each.title for each in call("list_courses").results] == [course.title]
    assert call("get_course", course.pk).credits_ == "3.00"
    assert [each.crn for each in call("list_sections", term="2026FA", page_size=1).results] == [section.crn]
    assert call("get_section", section.pk).seats_available == section.capacity

    statuses = call("list_enrollment_statuses", term="2026FA").results
    assert [(each.student_number, each.status, each.load) for each in statuses] == [(NUMBER, "none", None)]
    assert call("get_enrollment_status", NUMBER).student_number == NUMBER
    assert call("get_balance", NUMBER).balance == "0.00"

    wish = models.SubscriptionRequest(
        url=HOOK, event_types=[models.SubscriptionRequestEventTypesItem.SECTION_CHANGED]
    )
    made = call("create_webhook_subscription", body=wish)
    assert made.secret.startswith("whsec_")
    assert [each.id for each in call("list_webhook_subscriptions").results] == [made.id]
    assert call("get_webhook_subscription", made.id).state == "accepted, not yet delivering"
    call("delete_webhook_subscription", made.id)
