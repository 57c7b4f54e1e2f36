"""Webhook subscriptions: made for what one may read, at an address outside, with a secret that is told once."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from django.conf import settings
from django.test import Client
from pytest_django.fixtures import Settings

from apiauth.models import Consumer
from audit.models import AuditEvent
from integrations import subscriptions
from integrations.models import WebhookSubscription
from integrations.rotation import rotate_credentials
from integrations.webhook_events import EVENT_TYPES
from tests.apiauth.conftest import MakePartner
from tests.bearers import make_token

pytestmark = pytest.mark.django_db

URL = "/api/v1/webhook-subscriptions/"
# This machine, which the tests let in by name: names outside are not looked up in a test.
HOOK = "https://localhost:8443/matricula"
Call = Callable[..., Any]


@pytest.fixture(autouse=True)
def reachable(settings: Settings) -> None:
    settings.ALLOW_PRIVATE_HOSTS = [f"localhost:{port}" for port in range(8443, 8470)]


@pytest.fixture
def hub(partner: MakePartner) -> Consumer:
    return partner("Hub", scopes=["webhooks:manage", "sections:read", "catalogue:read"]).consumer


@pytest.fixture
def call(client: Client, hub: Consumer) -> Call:
    return caller(client, hub)


def caller(client: Client, consumer: Consumer) -> Call:
    token = make_token(consumer)

    def ask(method: str, address: str = URL, body: object = None, **extra: Any) -> Any:
        headers = {"Authorization": f"Bearer {token}"}
        kind = extra.get("content_type", "application/json")
        return client.generic(method, address, as_json(body), kind, headers=headers)

    return ask


def as_json(body: object) -> bytes:
    """Bytes as they are, nothing as no body."""
    return body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)


def wish(url: str = HOOK, *event_types: str) -> dict[str, Any]:
    return {"url": url, "event_types": list(event_types or ("section.changed",))}


def test_a_subscription_is_made_told_of_and_ended(call: Call, hub: Consumer) -> None:
    made = call("POST", body=wish(HOOK, "section.changed", "course.changed", "section.changed"))
    assert made.status_code == 201
    shown = made.json()
    secret = shown.pop("secret")
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", secret)
    assert shown["state"] == "accepted, not yet delivering"
    assert shown["event_types"] == ["section.changed", "course.changed"]
    assert made["Location"] == f"{settings.BASE_URL}{URL}{shown['id']}/"
    assert made["Cache-Control"] == "no-store"
    one = call("GET", f"{URL}{shown['id']}/").json()
    assert {**one, "created_at": ""} == {**shown, "created_at": ""}
    assert call("GET").json()["results"] == [one]
    ended = call("DELETE", f"{URL}{shown['id']}/")
    assert (ended.status_code, ended.content) == (204, b"")
    assert call("GET").json()["results"] == []
    assert call("GET", f"{URL}{shown['id']}/").status_code == 404
    assert call("DELETE", f"{URL}{shown['id']}/").status_code == 404
    events = AuditEvent.objects.filter(action__startswith="webhook.").order_by("id")
    assert [(event.action, event.detail["host"], event.detail["consumer"]) for event in events] == [
        ("webhook.subscribed", "localhost", hub.pk),
        ("webhook.unsubscribed", "localhost", hub.pk),
    ]


def test_the_secret_is_sealed_while_it_is_needed_and_then_forgotten(call: Call) -> None:
    made = call("POST", body=wish()).json()
    kept = WebhookSubscription.objects.get()
    assert kept.secret == {"secret": made["secret"]}
    assert made["secret"].encode() not in kept.__dict__["secret"]
    assert rotate_credentials().unreadable == []
    everything = str(list(AuditEvent.objects.values())) + str(list(WebhookSubscription.objects.values()))
    assert made["secret"] not in everything
    call("DELETE", f"{URL}{made['id']}/")
    kept.refresh_from_db()
    assert kept.secret == {}


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_each_event_needs_the_scope_of_its_data(
    client: Client, partner: MakePartner, event_type: str
) -> None:
    scope = EVENT_TYPES[event_type].scope
    without = caller(client, partner("Without", scopes=["webhooks:manage"]).consumer)
    refused = without("POST", body=wish(HOOK, event_type))
    assert refused.status_code == 403
    assert f'error="insufficient_scope", scope="{scope}"' in refused["WWW-Authenticate"]
    assert not WebhookSubscription.objects.exists()
    having = caller(client, partner("With", scopes=["webhooks:manage", scope]).consumer)
    assert having("POST", body=wish(HOOK, event_type)).status_code == 201


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://localhost:8443/", "TLS alone"),
        ("ftp://localhost:8443/", "TLS alone"),
        ("localhost:8443", "no address"),
        ("https://", "no address"),
        ("https://localhost:99999/", "no address"),
        ("https://local host:8443/", "no address"),
        ("https://xn--/é", "no address"),
        ("https://[::1/", "no address"),
        ("https://user:word@localhost:8443/", "credentials"),
        ("https://localhost:8443/#part", "behind #"),
        ("https://127.0.0.1/", "public internet"),
        ("https://10.0.0.7/", "public internet"),
        ("https://169.254.169.254/latest/meta-data", "public internet"),
        ("https://[::1]/", "public internet"),
        ("https://localhost:9/", "public internet"),
        ("https://no-such-host.invalid/", "public internet"),
    ],
)
def test_an_address_that_leads_elsewhere_is_refused_in_words(call: Call, url: str, why: str) -> None:
    answer = call("POST", body=wish(url))
    assert answer.status_code == 400, answer.content
    assert why in answer.json()["errors"]["url"][0]
    assert not WebhookSubscription.objects.exists()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": HOOK}, "event_types"),
        (wish(""), "url"),
        (wish("https://x" * 100), "url"),
        ({"url": HOOK, "event_types": []}, "event_types"),
        ({"url": HOOK, "event_types": "section.changed"}, "event_types"),
        ({"url": HOOK, "event_types": ["grade.changed"]}, "event_types"),
        ({**wish(), "secret": "mine"}, "secret"),
        ([], "non_field_errors"),
        ("text", "non_field_errors"),
    ],
)
def test_what_is_wrong_in_the_body_is_named(call: Call, body: object, field: str) -> None:
    answer = call("POST", body=body)
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
    assert field in answer.json()["errors"]


def test_a_body_that_is_none(call: Call) -> None:
    assert call("POST", body=b"{").status_code == 400
    assert call("POST", body=b"url=x", content_type="application/x-www-form-urlencoded").status_code == 415
    assert call("POST", body=wish("https://" + "x" * 70_000)).status_code == 413
    refused = call("PUT", body=wish())
    assert (refused.status_code, refused["Allow"]) == (405, "GET, POST, HEAD, OPTIONS")


def test_one_subscription_an_address_and_no_more_than_the_most(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions, "MAX_SUBSCRIPTIONS", 2)
    first = call("POST", body=wish())
    again = call("POST", body=wish())
    assert again.status_code == 400
    assert "There is a subscription for this address" in again.json()["errors"]["url"][0]
    assert call("POST", body=wish("https://localhost:8444/")).status_code == 201
    assert (
        "which are the most" in call("POST", body=wish("https://localhost:8445/")).json()["errors"]["url"][0]
    )
    call("DELETE", f"{URL}{first.json()['id']}/")
    assert call("POST", body=wish()).status_code == 201


def test_another_consumer_s_subscription_is_not_found(
    call: Call, client: Client, partner: MakePartner
) -> None:
    made = call("POST", body=wish()).json()
    other = caller(client, partner("Other").consumer)
    for method in ("GET", "DELETE"):
        assert other(method, f"{URL}{made['id']}/").status_code == 404
    assert other("GET").json()["results"] == []
    assert (
        other("POST", body=wish()).status_code == 201
    )  # the same address is another subscription of another's
    assert WebhookSubscription.objects.present().count() == 2
