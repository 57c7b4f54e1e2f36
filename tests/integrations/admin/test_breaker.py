"""The circuit breaker on a connection's page and on the command line: who may override it, and what is said."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from audit.models import AuditEvent
from integrations.models import Breaker, Connection
from integrations.models.breaker import BreakerState
from tests.integrations.conftest import Sync
from tests.integrations.feed import Feed, award


def url(connection: Connection, verb: str) -> str:
    return f"/admin/integrations/connection/{connection.pk}/breaker/{verb}/"


def page(client: Client, connection: Connection) -> str:
    return client.get(f"/admin/integrations/connection/{connection.pk}/change/").content.decode()


def test_the_page_shows_rates_and_response_times(
    feed: Feed, sync: Sync, connection: Connection, administrator: Client
) -> None:
    assert "not asked anything" in page(administrator, connection)
    feed.awards = [award(1)]
    sync()
    feed.status = 404
    sync()
    shown = page(administrator, connection)
    assert "66.7 %" in shown
    assert "33.3 %" in shown
    assert "p50" in shown
    assert "p95" in shown


@pytest.mark.parametrize(
    ("verb", "hold", "words", "action"),
    [
        ("open", "open", "Held open by ada", "breaker.held_open"),
        ("close", "closed", "Held closed by ada", "breaker.held_closed"),
        ("reset", "", "Closed", "breaker.reset"),
    ],
)
def test_an_administrator_overrides_it_with_a_reason(
    connection: Connection, administrator: Client, verb: str, hold: str, words: str, action: str
) -> None:
    Breaker.objects.create(connection=connection, state="open", failures=5, opened_at=timezone.now())
    answer = administrator.post(url(connection, verb), {"reason": "They told us."}, follow=True)
    assert words in answer.content.decode()
    assert Breaker.objects.get().hold == hold
    event = AuditEvent.objects.get(action=action)
    assert (event.actor_name, event.reason) == ("ada", "They told us.")


def test_without_a_reason_nothing_is_changed(connection: Connection, administrator: Client) -> None:
    answer = administrator.post(url(connection, "open"), {"reason": "  "}, follow=True)
    assert "Nothing was changed" in answer.content.decode()
    assert not Breaker.objects.exists()


def test_it_is_overridden_by_post_and_by_administrators_alone(
    connection: Connection, administrator: Client, auditor: Client, advisor: Client
) -> None:
    assert administrator.get(url(connection, "open")).status_code == 405
    assert administrator.post(url(connection, "explode"), {"reason": "x"}).status_code == 404
    for client in (auditor, advisor):
        assert client.post(url(connection, "open"), {"reason": "x"}).status_code == 403
    assert "Hold open" in page(administrator, connection)
    shown = page(auditor, connection)
    assert "Circuit breaker" in shown
    assert "Hold open" not in shown
    assert not Breaker.objects.exists()


def test_an_open_breaker_says_since_when_and_until_when(
    connection: Connection, administrator: Client
) -> None:
    Breaker.objects.create(
        connection=connection, state="open", failures=5, opened_at=timezone.now(), reason="it answered 503"
    )
    shown = page(administrator, connection)
    assert "5 attempts in a row failed" in shown
    assert "One attempt is made after" in shown
    assert "it answered 503" in shown


# --- on the command line -------------------------------------------------------------------------------------


def manage(*arguments: str) -> tuple[int, Any]:
    out = StringIO()
    try:
        call_command("breaker", *arguments, "--json", stdout=out)
    except SystemExit as end:
        return int(str(end.code)), json.loads(out.getvalue())
    return 0, json.loads(out.getvalue())


def test_the_command_shows_and_overrides_it(connection: Connection) -> None:
    slug = connection.slug
    status, data = manage("status", slug)
    assert (status, data["state"], data["held"], data["failures"]) == (0, "CLOSED", None, 0)
    assert not Breaker.objects.exists()
    assert manage("open", slug, "--reason", "Maintenance")[1]["held"] == "open"
    assert manage("close", slug)[1]["held"] == "closed"
    assert manage("status", slug)[1]["changed_by"] == "command: breaker"
    Breaker.objects.update(hold="", state=BreakerState.OPEN, failures=5, opened_at=timezone.now())
    status, data = manage("status", slug)
    assert (data["state"], bool(data["tries_again_at"])) == ("OPEN", True)
    assert manage("reset", slug)[1]["state"] == "CLOSED"
    assert AuditEvent.objects.get(action="breaker.held_open").reason == "Maintenance"


def test_the_command_says_it_in_words(connection: Connection) -> None:
    out = StringIO()
    call_command("breaker", "status", connection.slug, stdout=out)
    call_command("breaker", "open", connection.slug, stdout=out)
    Breaker.objects.update(hold="", state=BreakerState.OPEN, failures=5, opened_at=timezone.now())
    call_command("breaker", "status", connection.slug, stdout=out)
    said = out.getvalue()
    assert "closed, 0 failed in a row" in said
    assert "held open by command: breaker" in said
    assert "open; it is tried again at" in said


def test_a_slug_that_is_none_is_refused_in_words(connection: Connection) -> None:
    status, data = manage("status", "nothing")
    assert status == 1
    assert "There is no connection 'nothing'. There are: financial-aid." in data["reason"]
