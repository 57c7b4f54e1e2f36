"""Addresses are told of alerts: signed, by severity and source, once each, and never about themselves."""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_httpserver import HTTPServer
from requests import PreparedRequest
from werkzeug import Request, Response

from integrations.alerts import close_incidents, open_incident
from integrations.connectors.authentication import authentication_of
from integrations.connectors.base import Connector
from integrations.connectors.registry import connector_for
from integrations.documents import DocumentRefused, document_of
from integrations.models import Alert, Breaker, Connection, OutboxMessage
from integrations.models.alert import CALM, Severity
from integrations.notices import send_alerts
from integrations.operations import save_connection
from integrations.outbox.worker import work_off
from tests.integrations.conftest import signed_in
from tests.integrations.feed import may_reach

KEY = bytes(range(32))
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"

pytestmark = pytest.mark.django_db


@dataclass
class Channel:
    """What listens at the address, and the connection that leads there."""

    server: HTTPServer
    connection: Connection

    @property
    def heard(self) -> list[tuple[Request, dict[str, Any]]]:
        return [(request, request.get_json()) for request, _ in self.server.log]

    @property
    def told(self) -> list[tuple[str, str]]:
        """What was told, by type and title."""
        return [(event["type"], event["data"]["title"]) for _, event in self.heard]


def document(server: HTTPServer, **changes: Any) -> dict[str, Any]:
    return {
        "slug": "on-call",
        "connector": "webhook",
        "base_url": server.url_for("/hooks/matricula").replace("localhost", "127.0.0.1"),
        "auth": {"type": "signature", "secret": SECRET},
        "schedule": "manual",
        **changes,
    }


@pytest.fixture
def address(httpserver: HTTPServer) -> Iterator[str]:
    with may_reach(f"127.0.0.1:{httpserver.port}"):
        yield httpserver.url_for("/")


@pytest.fixture
def channel(db: None, httpserver: HTTPServer, address: str) -> Channel:
    httpserver.expect_request("/hooks/matricula", method="POST").respond_with_response(Response(status=204))
    return Channel(httpserver, save_connection(document(httpserver))[0])


def something(severity: Severity = Severity.NORMAL, incident: str = "sync:aid", **values: Any) -> Alert:
    return open_incident(
        incident, severity=severity, title=f"{incident} failed", text="It answered 503.", **values
    )


def tell() -> None:
    send_alerts()
    work_off()


# --- what arrives ---------------------------------------------------------------------------------------------


def test_the_signature_is_the_one_of_the_standard(channel: Channel) -> None:
    """The example that implementations of Standard Webhooks are tested with."""
    channel.connection.secrets = {"auth": {"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}}
    request = PreparedRequest()
    request.prepare(
        "POST",
        "https://hooks.example.edu",
        headers={"webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek"},
        data=b'{"test": 2432232314}',
    )
    auth = authentication_of(channel.connection)
    assert auth is not None
    with time_machine.travel(datetime.datetime.fromtimestamp(1614265330, datetime.UTC), tick=False):
        signed = auth(request)
    assert signed.headers["webhook-timestamp"] == "1614265330"
    assert signed.headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_an_alert_arrives_signed_and_once_and_so_does_its_end(channel: Channel) -> None:
    alert = something(Severity.URGENT)
    tell()
    tell()
    [(request, event)] = channel.heard
    assert event["type"] == "alert.opened"
    assert event["data"]["severity"] == "urgent"
    assert event["data"]["url"].endswith(alert.page)
    assert event["data"]["resolved_at"] is None
    assert "503" not in request.get_data(as_text=True)  # what the alert says may quote a record
    signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode()
    digest = hmac.new(KEY, signed + request.get_data(), hashlib.sha256).digest()
    assert request.headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
    close_incidents(alert.incident)
    Alert.objects.update(resolved_at=timezone.now() - CALM)
    tell()
    tell()
    assert channel.told == [("alert.opened", alert.title), ("alert.resolved", alert.title)]
    assert channel.heard[1][1]["data"]["resolved_at"] is not None


def test_nobody_needs_a_letter_for_an_address_to_be_told(channel: Channel) -> None:
    alert = something()
    tell()
    alert.refresh_from_db()
    assert (alert.told_at is not None, len(channel.told)) == (True, 1)


def test_a_secret_is_shown_nowhere(channel: Channel, administrator: Client) -> None:
    something()
    tell()
    message = OutboxMessage.objects.get()
    pages = [administrator.get(message.get_absolute_url()), administrator.get(_page(channel.connection))]
    kept = str([*message.delivery_attempts.values(), document_of(channel.connection)])
    assert SECRET not in kept + "".join(page.content.decode() for page in pages)


# --- who is told of what --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("severity", "told"),
    [
        ("low", {Severity.LOW, Severity.NORMAL, Severity.URGENT}),
        ("normal", {Severity.NORMAL, Severity.URGENT}),
        ("urgent", {Severity.URGENT}),
    ],
)
def test_an_address_is_told_from_its_severity_on(
    severity: str, told: set[Severity], channel: Channel
) -> None:
    save_connection(document(channel.server, settings={"severity": severity}))
    for one in Severity:
        something(one, f"sync:{one.label}")
    tell()
    assert {event["data"]["severity"] for _, event in channel.heard} == {one.label.lower() for one in told}


def test_an_address_is_told_of_its_sources_and_of_the_installation(
    channel: Channel, connection: Connection
) -> None:
    other = save_connection(document(channel.server, slug="other-source", enabled=False))[0]
    Connection.objects.filter(pk=other.pk).update(connector="koha", auth_type="none")
    save_connection(document(channel.server, settings={"sources": [connection.slug]}))
    something(incident="sync:mine", stream=connection.streams.get())
    something(incident="breaker:other", connection=Connection.objects.get(pk=other.pk))
    something(incident="disk")
    tell()
    assert sorted(title for _, title in channel.told) == ["disk failed", "sync:mine failed"]


def test_one_that_is_switched_off_is_told_nothing_and_later_not_of_the_past(
    channel: Channel, administrator: Client
) -> None:
    save_connection(document(channel.server, enabled=False))
    something()
    tell()
    save_connection(document(channel.server))
    tell()
    assert channel.told == []


# --- failures -------------------------------------------------------------------------------------------------


def test_an_address_that_fails_is_tried_seven_times_and_becomes_one_alert_that_causes_no_message(
    channel: Channel,
) -> None:
    channel.server.clear_all_handlers()
    channel.server.expect_request("/hooks/matricula").respond_with_response(Response(status=500))
    something()
    waits = []
    with time_machine.travel(timezone.now(), tick=False) as clock:
        for _ in range(7):
            tell()
            Breaker.objects.all().delete()
            message = OutboxMessage.objects.get()
            waits.append((message.due_at - timezone.now()).total_seconds())
            clock.move_to(max(message.due_at, timezone.now()))
        for _ in range(3):
            clock.shift(datetime.timedelta(hours=1))
            tell()
    assert waits[:6] == [10, 60, 300, 1800, 7200, 28800]
    assert (message.status, message.attempts) == ("escalated", 7)
    # The webhook's own incident is there, once, and no message tells of it.
    assert Alert.objects.open().filter(connection=channel.connection).count() == 1
    assert OutboxMessage.objects.count() == 1


def test_two_addresses_that_fail_tell_each_other_nothing(channel: Channel, httpserver: HTTPServer) -> None:
    save_connection(document(httpserver, slug="second"))
    httpserver.clear_all_handlers()
    httpserver.expect_request("/hooks/matricula").respond_with_response(Response(status=410))
    something()
    for _ in range(4):
        tell()
    assert list(OutboxMessage.objects.values_list("status", flat=True)) == ["escalated"] * 2


def test_what_is_repeated_has_the_id_that_it_had(channel: Channel) -> None:
    channel.server.clear_all_handlers()
    channel.server.expect_ordered_request("/hooks/matricula").respond_with_response(Response(status=500))
    channel.server.expect_ordered_request("/hooks/matricula").respond_with_response(Response(status=204))
    something()
    tell()
    OutboxMessage.objects.update(due_at=timezone.now())
    work_off()
    [first, second] = [request.headers["webhook-id"] for request, _ in channel.heard]
    assert first == second
    assert "." not in first  # it would end the id where the signature joins its parts


# --- how it is set up -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"base_url": "http://hooks.example.edu"}, "over TLS alone"),
        ({"auth": {"type": "none"}}, "events are signed"),
        ({"auth": {"type": "signature", "secret": "whsec_c2hvcnQ="}}, "24 to 64 random bytes"),
        ({"auth": {"type": "signature", "secret": SECRET.removeprefix("whsec_")}}, "is whsec_ and"),
        ({"auth": {"type": "signature", "secret": "whsec_ß"}}, "is whsec_ and"),
        ({"settings": {"severity": "awful"}}, "settings.severity"),
        ({"settings": {"sources": ["nowhere"]}}, "there is no connection nowhere"),
        ({"connector": "rest"}, "signs no requests"),
    ],
)
def test_what_cannot_work_is_refused_in_words(
    changes: dict[str, Any], said: str, httpserver: HTTPServer, address: str
) -> None:
    with pytest.raises(DocumentRefused, match=said):
        save_connection(document(httpserver, **changes))


def test_without_a_secret_nothing_is_sent_unsigned(db: None, httpserver: HTTPServer, address: str) -> None:
    save_connection(document(httpserver, auth={"type": "signature"}))
    something()
    tell()
    assert "no credentials" in OutboxMessage.objects.get().reason
    assert httpserver.log == []


def test_an_address_inside_is_told_nothing(db: None, httpserver: HTTPServer) -> None:
    """The rules of every connection: only what an operator lists may be private."""
    save_connection(document(httpserver, base_url="https://127.0.0.1:1/hooks"))
    something()
    tell()
    message = OutboxMessage.objects.get()
    assert "not on the public internet" in message.reason
    assert httpserver.log == []


def test_its_settings_are_fields_of_its_page(channel: Channel, administrator: Client) -> None:
    page = administrator.get(_page(channel.connection)).content.decode()
    assert 'name="settings_severity"' in page
    assert 'name="settings_sources"' in page


def test_a_test_is_sent_by_a_button_on_the_road_of_all_others(
    channel: Channel, administrator: Client
) -> None:
    button = reverse("admin:integrations_connection_test", args=[channel.connection.pk])
    answer = administrator.post(button, follow=True)
    assert "A test is on its way" in answer.content.decode()
    work_off()
    [(event_type, title)] = channel.told
    assert event_type == "alert.test"
    assert "nothing is wrong" in title
    assert ">Delivered<" in administrator.get(OutboxMessage.objects.get().get_absolute_url()).content.decode()
    assert signed_in("vera", role="Advisor").post(button).status_code == 403


def test_an_alert_that_is_not_kept_any_more_is_put_before_a_person(channel: Channel) -> None:
    alert = something()
    send_alerts()
    alert.delete()
    work_off()
    assert OutboxMessage.objects.get().status == "escalated"


def test_it_does_what_its_kind_does_and_nothing_else(channel: Channel) -> None:
    connector: Connector = connector_for(channel.connection)
    assert (connector.datasets, connector.operations) == (frozenset(), frozenset({"deliver_event"}))


def _page(connection: Connection) -> str:
    return reverse("admin:integrations_connection_change", args=[connection.pk])
