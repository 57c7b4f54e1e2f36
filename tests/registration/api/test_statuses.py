"""Every status that the API answers with, over real HTTP, to a program that says nothing of what it takes and to a browser that
would rather have a page: each error is a problem that says what to do, and never HTML."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import pytest
import requests
from pytest_django.fixtures import Settings
from pytest_django.live_server_helper import LiveServer

from registration.api.docs import document
from registration.api.document import PROBLEMS
from tests.apiauth.conftest import MakePartner
from tests.bearers import make_token

pytestmark = pytest.mark.django_db(transaction=True)

TERMS: Final = "/api/v1/terms/"
HOOKS: Final = "/api/v1/webhook-subscriptions/"
HOOK: Final = "https://localhost:8443/matricula"  # this machine, which the test lets in by name
BROWSER: Final = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

Send = Callable[..., requests.Response]


@dataclass(frozen=True)
class Way:
    """How to come to a status: a request, and of an error what its detail says to do."""

    status: int
    address: str
    what_to_do: str = ""
    method: str = "GET"
    as_: str = "partner"
    headers: tuple[tuple[str, str], ...] = ()
    json: Any = None
    data: Any = None


WAYS: Final = [
    Way(200, TERMS),
    Way(201, HOOKS, method="POST", json={"url": HOOK, "event_types": ["term.changed"]}),
    Way(304, TERMS, headers=(("If-None-Match", "*"),)),
    Way(400, f"{TERMS}?page_size=0", "`errors` names each field"),
    Way(
        400, HOOKS, "not the JSON", method="POST", data=b"{", headers=(("Content-Type", "application/json"),)
    ),
    Way(401, TERMS, "/oauth/token/ gives one", as_="nobody"),
    Way(401, TERMS, "ask /oauth/token/ for a new one", as_="somebody with a wrong token"),
    Way(403, "/api/v1/courses/", "needs the scope catalogue:read"),
    Way(404, f"{TERMS}1066FA/", "nothing that you may see"),
    Way(404, "/api/v1/nothing-of-ours/", "/api/v1/docs/ shows what there is"),
    Way(405, TERMS, "`Allow` names those", method="DELETE"),
    Way(406, TERMS, "Send Accept: application/json", headers=(("Accept", "application/xml"),)),
    Way(413, HOOKS, "send less", method="POST", json={"url": "https://" + "x" * 70_000}),
    Way(415, HOOKS, "with Content-Type: application/json", method="POST", data={"url": HOOK}),
    Way(429, TERMS, "Wait", as_="one whose hour is used up"),
    Way(500, "/api/v1/sections/", "tell us the request_id"),
]


def _fail(view: Any) -> None:
    raise RuntimeError("something that nobody foresaw")


@pytest.fixture
def send(
    live_server: LiveServer, partner: MakePartner, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Send:
    """Go one of the ways. Sections are broken."""
    settings.ALLOW_PRIVATE_HOSTS = ["localhost:8443"]
    monkeypatch.setattr("registration.api.sections.SectionList.page", _fail)
    scopes = ["calendar:read", "sections:read", "webhooks:manage"]
    spent = make_token(partner("Spent", scopes=scopes, hourly_limit=1).consumer)
    tokens = {
        "partner": make_token(partner("Partner", scopes=scopes).consumer),
        "somebody with a wrong token": "wrong",
        "one whose hour is used up": spent,
    }
    requests.get(f"{live_server}{TERMS}", headers={"Authorization": f"Bearer {spent}"}, timeout=30)

    def go(way: Way, **headers: str) -> requests.Response:
        known = {"Authorization": f"Bearer {tokens[way.as_]}"} if way.as_ in tokens else {}
        return requests.request(
            way.method,
            f"{live_server}{way.address}",
            headers={**known, **headers, **dict(way.headers)},
            json=way.json,
            data=way.data,
            timeout=30,
        )

    return go


def test_each_status_is_reached_and_each_error_says_what_to_do(send: Send) -> None:
    for way in WAYS:
        for headers in ({}, {"Accept": BROWSER}) if way.what_to_do else ({},):
            answer = send(way, **headers)
            assert answer.status_code == way.status, (way, answer.text)
            assert "html" not in answer.headers.get("Content-Type", ""), way
            assert "Traceback" not in answer.text
            if way.what_to_do:
                assert_problem(answer, way)


def assert_problem(answer: requests.Response, way: Way) -> None:
    assert answer.headers["Content-Type"] == "application/problem+json"
    told = answer.json()
    assert (told["status"], told["type"]) == (way.status, "about:blank")
    assert way.what_to_do in told["detail"]
    assert told["request_id"]
    for status, header in {
        401: "WWW-Authenticate",
        403: "WWW-Authenticate",
        405: "Allow",
        429: "Retry-After",
    }.items():
        if way.status == status:
            assert answer.headers[header]


@pytest.mark.any_database
def test_every_status_that_the_document_names_has_its_way() -> None:
    documented = {
        int(status)
        for operations in document()["paths"].values()
        for operation in operations.values()
        for status in operation["responses"]
    }
    reached = {way.status for way in WAYS}
    # 204 is the end of a subscription: tests/integrations/api/test_subscriptions.py. 405 is of what is not documented.
    assert documented - {204} == reached - {405}
    assert set(PROBLEMS) <= reached
