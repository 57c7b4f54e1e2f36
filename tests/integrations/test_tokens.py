"""Access tokens by client credentials: one for all processes, renewed in time, and never one of other credentials."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from django.db import connection as database
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from apiauth.sealed import SealBroken
from integrations.connectors.authentication import authentication_of
from integrations.documents import DocumentRefused, parse_document
from integrations.models import Connection, ConnectionToken, SyncRun
from integrations.operations import save_connection
from integrations.simulators.tokens import CLIENT_ID, CLIENT_SECRET
from integrations.transports.errors import TransportError
from integrations.transports.tokens import LONGEST_SECONDS, UNSAID_SECONDS, _seconds
from tests.integrations.conftest import sync_stream
from tests.integrations.simulated import Simulated, aid_document, simulated


def oauth2(address: str, **changes: Any) -> dict[str, Any]:
    """A connection to a system whose token endpoint is beside its records."""
    auth = {
        "type": "oauth2",
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "token_url": f"{address}/oauth/token",
    }
    return aid_document(address, auth={**auth, **changes})


@pytest.fixture
def office(students: Any) -> Iterator[Simulated]:
    with simulated() as office:
        yield office


def sync(connection: Connection) -> SyncRun:
    return sync_stream(connection.streams.get())


def kept() -> ConnectionToken:
    return ConnectionToken.objects.get()


def margin() -> datetime.timedelta:
    """How long before its end the kept token is renewed."""
    token = kept()
    assert token.expires_at is not None
    assert token.renew_at is not None
    return token.expires_at - token.renew_at


def signed(connection: Connection) -> str:
    """What a request of this connection is signed with."""
    auth = authentication_of(Connection.objects.get(pk=connection.pk))
    assert auth is not None
    request = requests.Request("GET", "http://x.example", auth=auth).prepare()
    return str(request.headers["Authorization"])


# --- on the road ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes", [{}, {"client_auth": "basic"}, {"client_auth": "body"}, {"scope": "records.read profile"}]
)
def test_a_feed_is_read_with_a_token_that_is_fetched_once_for_all_runs(
    office: Simulated, changes: dict[str, str]
) -> None:
    connection, _ = save_connection(oauth2(office.url, **changes))
    first = sync(connection)
    assert (first.status, first.read) == ("applied", 30), first.reason
    assert sync(connection).unchanged == 30
    assert office.system.tokens.given == 1
    assert margin() > datetime.timedelta(0)


def test_the_token_is_sealed_to_its_row(office: Simulated) -> None:
    connection, _ = save_connection(oauth2(office.url))
    token = signed(connection).removeprefix("Bearer ")
    with database.cursor() as cursor:
        cursor.execute("SELECT sealed FROM integrations_connectiontoken")
        sealed = bytes(cursor.fetchone()[0])
    assert token.encode() not in sealed
    row = kept()
    row.uid = connection.uid
    with pytest.raises(SealBroken):
        row.token_for("any")


def test_a_token_that_is_refused_is_renewed_once_and_the_run_goes_on(office: Simulated) -> None:
    connection, _ = save_connection(oauth2(office.url))
    office.system.tokens.revoke(signed(connection).removeprefix("Bearer "))
    run = sync(connection)
    assert (run.status, office.system.tokens.given) == ("applied", 2), run.reason


def test_tokens_that_are_always_refused_are_not_asked_for_for_ever(office: Simulated) -> None:
    connection, _ = save_connection(oauth2(office.url))
    office.suffer("expired_token")
    run = sync(connection)
    assert run.status == "failed"
    assert "401: it does not accept our credentials" in run.reason
    assert (office.calls, office.system.tokens.given) == (2, 2)


def test_a_token_is_renewed_before_it_ends(office: Simulated) -> None:
    connection, _ = save_connection(oauth2(office.url))
    first = signed(connection)
    assert signed(connection) == first
    now = timezone.now()
    ConnectionToken.objects.update(fetched_at=now - datetime.timedelta(hours=1), renew_at=now)
    assert signed(connection) != first
    assert office.system.tokens.given == 2


def test_the_margin_is_a_minute_or_a_tenth_of_a_short_life(office: Simulated) -> None:
    connection, _ = save_connection(oauth2(office.url))
    signed(connection)
    assert margin() == datetime.timedelta(seconds=60)
    with simulated(token_seconds=100) as brief:
        save_connection(oauth2(brief.url))
        signed(connection)
    assert margin() == datetime.timedelta(seconds=10)


@given(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.lists(st.integers(), max_size=1)
)
def test_whatever_an_endpoint_says_of_its_tokens_life_it_is_bounded(expires_in: object) -> None:
    assert 0 < _seconds(expires_in) <= LONGEST_SECONDS


@pytest.mark.parametrize(
    ("expires_in", "seconds"),
    [
        (300, 300), (300.5, 300.5), ("300", 300), (None, UNSAID_SECONDS), (0, UNSAID_SECONDS), (-5, UNSAID_SECONDS),
        ("soon", UNSAID_SECONDS), (True, UNSAID_SECONDS), (10**12, LONGEST_SECONDS), (float("nan"), UNSAID_SECONDS),
        (float("inf"), LONGEST_SECONDS), ("9" * 30, LONGEST_SECONDS),
    ],
)  # fmt: skip
def test_a_life_that_is_not_said_is_an_hour(expires_in: object, seconds: float) -> None:
    assert _seconds(expires_in) == seconds


# --- whose token it is ------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [{"scope": "profile"}, {"client_auth": "body"}])
def test_a_token_of_an_edited_connection_is_not_used_again(office: Simulated, change: dict[str, str]) -> None:
    connection, _ = save_connection(oauth2(office.url))
    first = signed(connection)
    assert save_connection(oauth2(office.url, **change))[1]
    assert not ConnectionToken.objects.exists()
    assert signed(connection) != first


def test_a_token_is_known_by_what_it_was_given_for_even_where_its_row_stayed(office: Simulated) -> None:
    connection, _ = save_connection(oauth2(office.url))
    first = signed(connection)
    fresh = Connection.objects.get()
    fresh.secrets = {"auth": {**fresh.secrets["auth"], "scope": "profile"}}
    fresh.save()
    assert signed(connection) != first


def test_a_document_that_changes_nothing_of_it_leaves_the_token(office: Simulated) -> None:
    connection, _ = save_connection(oauth2(office.url))
    first = signed(connection)
    document = oauth2(office.url) | {"name": "Another name"}
    del document["auth"]["client_secret"]
    assert save_connection(document)[1]
    assert signed(connection) == first
    save_connection(
        oauth2(office.url) | {"name": "Another name"}
    )  # the secret is entered again: from the start
    assert signed(connection) != first


def test_another_origin_takes_away_secret_and_token(office: Simulated) -> None:
    connection, _ = save_connection(oauth2(office.url))
    signed(connection)
    document = oauth2(office.url) | {"base_url": "https://elsewhere.example.edu"}
    del document["auth"]["client_secret"]
    save_connection(document)
    assert "client_secret" not in Connection.objects.get().secrets["auth"]
    assert not ConnectionToken.objects.exists()
    with pytest.raises(TransportError, match="has no credentials"):
        signed(connection)


def test_a_token_endpoint_at_another_origin_takes_away_the_secret_too(office: Simulated) -> None:
    connection, _ = save_connection(oauth2(office.url))
    signed(connection)
    document = oauth2(office.url, token_url="https://evil.example/oauth/token")
    del document["auth"]["client_secret"]
    save_connection(document)
    assert Connection.objects.get().secrets["auth"] == {
        "client_id": CLIENT_ID,
        "token_url": "https://evil.example/oauth/token",
        "client_auth": "basic",
    }
    assert not ConnectionToken.objects.exists()


def test_another_path_at_the_same_origin_keeps_the_secret(office: Simulated) -> None:
    save_connection(oauth2(office.url))
    document = oauth2(office.url, token_url=f"{office.url}/v2/token")
    del document["auth"]["client_secret"]
    save_connection(document)
    assert Connection.objects.get().secrets["auth"]["client_secret"] == CLIENT_SECRET


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("token_url", "/oauth/token"),
        ("token_url", "ftp://x.example/token"),
        ("token_url", "https://u:p@x.example/token"),
        ("token_url", "https://x.example/token?a=1"),
        ("token_url", None),
        ("client_id", ""),
        ("client_id", "id\n"),
        ("client_id", None),
        ("client_secret", ""),
        ("scope", ""),
        ("scope", "a  b"),
        ("scope", 'a"b'),
        ("client_auth", "query"),
    ],
)
def test_a_fault_in_the_declaration_is_told_with_its_place(place: str, value: object) -> None:
    with pytest.raises(DocumentRefused, match=rf"auth\.(oauth2\.)?{place}") as caught:
        parse_document(oauth2("https://aid.example.edu", **{place: value}))
    assert CLIENT_SECRET not in str(caught.value)


# --- when there is no token -------------------------------------------------------------------------------

JSON = "application/json"
NO_TOKEN: dict[str, tuple[int, str, str]] = {
    "invalid_client": (401, '{"error": "invalid_client", "error_description": "ECHO"}', "does not accept our client_id and client_secret"),
    "400 invalid_client": (400, '{"error": "invalid_client"}', "does not accept our client_id and client_secret"),
    "invalid_scope": (400, '{"error": "invalid_scope"}', "does not grant, the scope"),
    "unauthorized_client": (400, '{"error": "unauthorized_client"}', "may not use client credentials"),
    "unsupported_grant_type": (400, '{"error": "unsupported_grant_type"}', "does not know client credentials"),
    "invalid_request": (400, '{"error": "invalid_request"}', "client_auth"),
    "401": (401, "ECHO", "does not accept our client_id and client_secret"),
    "403": (403, "", "Enter the connection's client_id"),
    "404": (404, "<html>", "no token endpoint at this address"),
    "302": (302, "", "sends us elsewhere"),
    "an error with status 200": (200, '{"error": "invalid_client"}', "does not accept our client_id"),
    "a page": (200, "<html>ECHO", "not a JSON object"),
    "a list": (200, "[1]", "not a JSON object"),
    "no token": (200, '{"token": "x"}', "no access_token"),
    "a token that is no text": (200, '{"access_token": 5}', "no access_token"),
    "a token that no header carries": (200, '{"access_token": "a\\r\\nX: y"}', "no access_token"),
    "a token of another type": (200, '{"access_token": "x", "token_type": "mac"}', "another type than bearer"),
}  # fmt: skip


@pytest.mark.parametrize(("status", "body", "words"), NO_TOKEN.values(), ids=NO_TOKEN.keys())
def test_an_endpoint_that_gives_no_token_is_told_in_words_and_asked_once(
    office: Simulated, httpserver: HTTPServer, status: int, body: str, words: str
) -> None:
    httpserver.expect_request("/token").respond_with_data(body, status=status, content_type=JSON)
    connection, _ = save_connection(oauth2(office.url, token_url=httpserver.url_for("/token")))
    run = sync(connection)
    assert run.status == "failed"
    assert run.reason.startswith("Reading page 1 of aid_awards from Financial aid office failed: ")
    assert words in run.reason
    for secret in (CLIENT_SECRET, "demo%2Bsecret", "ECHO"):
        assert secret not in run.reason + run.technical
    assert (len(httpserver.log), office.calls) == (1, 0)
    assert kept().claim_ends_at is None


def test_an_endpoint_that_fails_for_a_while_is_asked_three_times_in_all(
    office: Simulated, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/token").respond_with_data("", status=503)
    connection, _ = save_connection(oauth2(office.url, token_url=httpserver.url_for("/token")))
    assert sync(connection).status == "failed"
    assert len(httpserver.log) == 3


def test_the_client_proves_itself_as_the_rfc_says(office: Simulated, httpserver: HTTPServer) -> None:
    def answer(request: Request) -> Response:
        assert request.authorization is not None
        assert request.form.to_dict() == {"grant_type": "client_credentials", "scope": "a b"}
        assert request.authorization.username == "an+id%3A"
        assert request.authorization.password == "a%2Bb+%25%C3%A4"
        return Response('{"access_token": "T", "token_type": "BEARER"}')

    httpserver.expect_request("/token", method="POST").respond_with_handler(answer)
    auth = {
        "client_id": "an id:",
        "client_secret": "a+b %ä",
        "scope": "a b",
        "token_url": httpserver.url_for("/token"),
    }
    connection, _ = save_connection(oauth2(office.url, **auth))
    assert signed(connection) == "Bearer T"


# --- many at once -----------------------------------------------------------------------------------------


class HeldEndpoint:
    """A token endpoint that answers when it is told to."""

    def __init__(self, server: HTTPServer) -> None:
        self.may_answer, self.is_asked, self.given = threading.Event(), threading.Event(), 0
        server.expect_request("/token").respond_with_handler(self._answer)

    def _answer(self, request: Request) -> Response:
        self.given += 1
        self.is_asked.set()
        self.may_answer.wait(20)
        return Response(f'{{"access_token": "T{self.given}", "expires_in": 3600}}')


@pytest.mark.django_db(transaction=True)
def test_of_many_that_need_a_token_one_fetches_it_and_the_others_wait_for_it(httpserver: HTTPServer) -> None:
    endpoint = HeldEndpoint(httpserver)
    document = oauth2("https://aid.example.edu", token_url=httpserver.url_for("/token"))
    connection, _ = save_connection(document | {"timeouts": {"read": 20, "total": 20}})

    def sign(_: int) -> str:
        try:
            return signed(connection)
        finally:
            database.close()

    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(sign, number) for number in range(8)]
        assert endpoint.is_asked.wait(20)
        assert not database.in_atomic_block
        # Nobody holds a row while the endpoint is asked: the connection can be written.
        Connection.objects.update(name="Another name")
        endpoint.may_answer.set()
        assert {future.result(timeout=30) for future in waiting} == {"Bearer T1"}
    assert endpoint.given == 1


@pytest.mark.django_db(transaction=True)
def test_while_one_renews_the_others_use_what_is_there(httpserver: HTTPServer) -> None:
    endpoint = HeldEndpoint(httpserver)
    document = oauth2("https://aid.example.edu", token_url=httpserver.url_for("/token"))
    connection, _ = save_connection(document | {"timeouts": {"read": 20, "total": 20}})
    endpoint.may_answer.set()
    assert signed(connection) == "Bearer T1"
    endpoint.may_answer.clear()
    endpoint.is_asked.clear()
    now = timezone.now()
    ConnectionToken.objects.update(fetched_at=now - datetime.timedelta(hours=1), renew_at=now)

    def sign() -> str:
        try:
            return signed(connection)
        finally:
            database.close()

    with ThreadPoolExecutor(1) as pool:
        renewing = pool.submit(sign)
        assert endpoint.is_asked.wait(20)
        assert signed(connection) == "Bearer T1"
        endpoint.may_answer.set()
        assert renewing.result(timeout=30) == "Bearer T2"
    assert signed(connection) == "Bearer T2"


def test_the_claim_of_a_process_that_died_runs_out(office: Simulated) -> None:
    connection, _ = save_connection(oauth2(office.url))
    ConnectionToken.objects.create(
        connection=connection, claim_ends_at=timezone.now() + datetime.timedelta(seconds=0.2)
    )
    assert signed(connection).startswith("Bearer sim-token")
    assert office.system.tokens.given == 1


def test_whoever_waits_for_a_claim_that_does_not_end_gives_up_in_time(
    office: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("integrations.transports.tokens._CLAIM_GRACE_SECONDS", 0.0)
    connection, _ = save_connection(oauth2(office.url) | {"timeouts": {"total": 0.2}})
    ConnectionToken.objects.create(
        connection=connection, claim_ends_at=timezone.now() + datetime.timedelta(hours=1)
    )
    with pytest.raises(TransportError, match="still waiting for the token endpoint"):
        signed(connection)
    assert office.system.tokens.given == 0
