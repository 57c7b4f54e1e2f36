"""Consumers for tests, with their secrets, and a real server that counts."""

from __future__ import annotations

import subprocess
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as project
from django.http import HttpResponse
from django.test import Client
from pytest_django.fixtures import Settings

from apiauth.models import Consumer
from apiauth.operations import create_consumer
from apiauth.scopes import SCOPES
from integrations.management.broker import broker_answers, broker_command

DEADLINE_SECONDS = 20


@dataclass(frozen=True)
class Partner:
    """A consumer and its secret."""

    consumer: Consumer
    secret: str

    @property
    def basic(self) -> str:
        return basic(self.consumer.client_id, self.secret)


Ask = Callable[..., HttpResponse]
MakePartner = Callable[..., Partner]


def basic(client_id: str, secret: str) -> str:
    """An Authorization header with these credentials."""
    return "Basic " + b64encode(f"{client_id}:{secret}".encode()).decode()


@pytest.fixture(scope="session")
def counting_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that counts: the installation's own Redis or, embedded, a Valkey of these tests."""
    if project.REDIS_URL:
        yield project.REDIS_URL
        return
    folder = tmp_path_factory.mktemp("valkey")
    socket = Path("/tmp") / f"{folder.parent.name}-{folder.name}.sock"  # noqa: S108  a socket's path is short
    with subprocess.Popen(broker_command(socket, folder), stdout=subprocess.DEVNULL) as server:
        try:
            deadline = time.monotonic() + DEADLINE_SECONDS
            while not broker_answers(f"unix://{socket}"):
                assert time.monotonic() < deadline, "the Valkey of the tests does not answer"
            yield f"unix://{socket}"
        finally:
            server.terminate()


@pytest.fixture(autouse=True)
def counted(counting_server: str, settings: Settings) -> None:
    """Count on the real server."""
    settings.COUNTERS_URL = counting_server


@pytest.fixture
def partner(db: None) -> MakePartner:
    """Make a consumer; it has every scope unless some are named."""

    def make(name: str = "Housing office", *, scopes: list[str] | None = None, **columns: Any) -> Partner:
        made = create_consumer(name, scopes=list(SCOPES) if scopes is None else scopes)
        if columns:
            Consumer.objects.filter(pk=made.consumer.pk).update(**columns)
            made.consumer.refresh_from_db()
        return Partner(made.consumer, made.secret)

    return make


@pytest.fixture
def ask(client: Client) -> Ask:
    """POST a form to an OAuth endpoint, as somebody if `auth` is given."""

    def post(path: str, form: dict[str, str] | str, auth: str | None = None, **extra: Any) -> HttpResponse:
        body = form if isinstance(form, str) else "&".join(f"{name}={value}" for name, value in form.items())
        headers = {"Authorization": auth} if auth else {}
        kind = extra.pop("content_type", "application/x-www-form-urlencoded")
        answer: Any = client.post(path, body, content_type=kind, headers=headers, **extra)
        return answer  # type: ignore[no-any-return]

    return post


@pytest.fixture
def token_of(ask: Ask) -> Callable[..., str]:
    """A token for a partner, from the endpoint."""

    def get(who: Partner, scope: str = "") -> str:
        form = {"grant_type": "client_credentials", **({"scope": scope.replace(" ", "+")} if scope else {})}
        answer = ask("/oauth/token/", form, who.basic)
        assert answer.status_code == 200, answer.content
        token: str = answer.json()["access_token"]  # type: ignore[attr-defined]
        return token

    return get
