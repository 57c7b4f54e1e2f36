"""Nobody waits for another system while a transaction is open: its locks would last as long as that system likes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core import mail
from django.db import transaction
from werkzeug import Response

from apiauth.models import User
from integrations import operations
from integrations.connectors.registry import connector_for
from integrations.models import Alert, Connection, Stream
from integrations.models.run import RunTrigger
from integrations.notices import send_alerts
from integrations.transports.http import InTransaction
from tests.integrations.conftest import Sync, sync_stream
from tests.integrations.feed import Feed, award
from tests.sockets import in_transaction, watch_sockets


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For whatever this process opens or sends over a socket: whether a transaction was open."""
    return watch_sockets(monkeypatch)


def test_the_transport_refuses_to_ask_inside_a_transaction(feed: Feed, stream: Stream) -> None:
    with transaction.atomic(), pytest.raises(InTransaction):
        next(connector_for(stream.connection).pull(stream))
    assert feed.requests == []


@pytest.mark.parametrize("pagination", [{"type": "page"}, {"type": "cursor", "cursor": "cursor"}])
def test_no_step_of_the_road_asks_inside_a_transaction(
    feed: Feed, load: Callable[..., Connection], sent: list[bool], pagination: dict[str, str]
) -> None:
    """With rejections, absences that are confirmed, and a run that fails and is told of."""
    dataset = feed.dataset(pagination=pagination)
    stream = load(datasets={"aid_awards": dataset}).streams.get()
    feed.page_size = 2
    feed.awards = [award(number) for number in range(1, 8)]
    assert sync_stream(stream).status == "applied"
    feed.awards = [award(1, amount="1.00"), award(2, amount="odd"), *feed.awards[3:]]
    assert sync_stream(stream).absent == 1
    feed.status = 404
    assert sync_stream(stream).status == "failed"
    assert len(feed.requests) >= 8
    assert not any(sent)


def test_a_renewed_token_is_not_fetched_inside_a_transaction(
    feed: Feed, load: Callable[..., Connection], sent: list[bool]
) -> None:
    fetched: list[str] = []

    def token(_: Any) -> Any:
        fetched.append("token")
        return Response('{"access_token": "a-token-of-the-feed", "expires_in": 3600, "token_type": "Bearer"}')

    feed.server.expect_request("/token").respond_with_handler(token)
    auth = {
        "type": "oauth2",
        "client_id": "us",
        "client_secret": "made-up",
        "token_url": f"{feed.base_url}/token",
    }
    stream = load(auth=auth).streams.get()
    feed.awards = [award(1)]
    assert sync_stream(stream).status == "applied"
    assert fetched == ["token"]
    assert not any(sent)


def test_trying_a_connection_and_sending_alerts_hold_no_transaction(
    feed: Feed, stream: Stream, sync: Sync, sent: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent_inside: list[bool] = []
    original = mail.EmailMessage.send

    def send(self: mail.EmailMessage) -> int:
        sent_inside.append(in_transaction())
        return original(self)

    monkeypatch.setattr(mail.EmailMessage, "send", send)
    User.objects.create_superuser("boss", "boss@example.edu", None)
    feed.status = 404
    assert sync().status == "failed"
    assert Alert.objects.open().exists()
    operations.try_connection(stream.connection)
    assert send_alerts() == 1
    assert sent_inside == [False]
    assert not any(sent)


def test_the_ring_for_a_worker_waits_for_the_commit(
    stream: Stream,
    sent: list[bool],
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Any,
) -> None:
    rung: list[bool] = []
    monkeypatch.setattr(operations, "ring", lambda _: rung.append(in_transaction()))
    with django_capture_on_commit_callbacks(execute=True):
        operations.request_run(stream, RunTrigger.ADMIN)
        assert rung == []
    assert rung == [False]
