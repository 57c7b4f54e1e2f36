"""What docs/partners.md shows works as it is pasted, against a server and with the keys of a consumer."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from pytest_django.fixtures import Settings
from pytest_django.live_server_helper import LiveServer

from integrations.models import WebhookSubscription
from registration.models import Course, Term
from tests.apiauth.conftest import MakePartner
from tests.partner_guide import GUIDE, blocks, paste_into_shell, run_python
from tests.university import make_section, make_terms

# The demo's test runs the quick start on every database (tests/integrations/management/test_up.py).
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database]


@pytest.fixture
def values(
    live_server: LiveServer, partner: MakePartner, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """The three values that are a partner's own. The page's receiver of webhooks stands on the public internet."""
    settings.BASE_URL = live_server.url
    public = (socket.AF_INET, ("93.184.216.34", 443))
    monkeypatch.setattr("integrations.subscriptions.look_up", lambda *_: [public])
    fall, _ = make_terms()
    make_section(fall)
    Course.objects.update(title="Biology")
    made = partner(scopes=["calendar:read", "sections:read", "webhooks:manage"])
    return {
        "BASE": live_server.url,
        "CLIENT_ID": made.consumer.client_id,
        "CLIENT_SECRET": made.secret,
    }


def test_each_block_for_a_shell_works_as_pasted(values: dict[str, str]) -> None:
    terms, hook, sections = printed(paste_into_shell(blocks("sh"), values))
    assert [term["code"] for term in terms["results"]] == ["2027SP", "2026FA"]
    assert hook["state"] == "accepted, not yet delivering"
    assert WebhookSubscription.objects.get().url == "https://hooks.example.org/matricula"
    assert sections["results"] == [{"crn": "10001", "title": "Biology", "seats_available": 2}]


def test_the_python_program_reads_every_section(values: dict[str, str]) -> None:
    (program,) = blocks("python")
    page_by_page = program.replace("term=2026FA", "term=2026FA&page_size=1")
    make_section(Term.objects.get(code="2026FA"), crn="10002")
    assert run_python(program, values) == "10001 Biology 2 seats left\n10002 Biology 2 seats left\n"
    assert run_python(page_by_page, values) == run_python(program, values)


def test_no_block_is_left_out() -> None:
    assert GUIDE.read_text().count("```") == 2 * (len(blocks("sh")) + len(blocks("python")))


def printed(text: str) -> list[Any]:
    """The JSON objects that were printed one after the other."""
    decoder = json.JSONDecoder()
    found: list[Any] = []
    while text:
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:].lstrip()
    return found
