"""A pull asks again at most twice, only for what passes by itself, and waits as it is asked to, within a bound."""

from __future__ import annotations

import datetime
import json
from email.utils import format_datetime

import pytest
import time_machine
from django.db import connection as database
from hypothesis import given
from hypothesis import strategies as st
from pytest_httpserver import HTTPServer
from requests import PreparedRequest
from requests.auth import AuthBase
from werkzeug import Request as Received
from werkzeug import Response as Sent

from integrations.models import Connection
from integrations.operations import try_connection
from integrations.transports.errors import BrokenOff, TimedOut, TransportError, UnexpectedStatus, Unreachable
from integrations.transports.http import HttpTransport, Purpose, Request, Timeouts
from integrations.transports.retries import Retries, seconds_until
from tests.integrations.conftest import Load, Sync
from tests.integrations.feed import Feed, award, closed_port, may_reach, wire
from tests.integrations.test_transport import HEAD, Script, hangs, sends

NOW = datetime.datetime(2026, 9, 1, 12, tzinfo=datetime.UTC)


class Answers:
    """A server that gives these answers, one after the other, and the last of them for ever."""

    def __init__(self, server: HTTPServer, *answers: Sent) -> None:
        self.answers, self.asked = list(answers), 0
        server.expect_request("/").respond_with_handler(self._answer)

    def _answer(self, request: Received) -> Sent:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return Sent(answer.get_data(), answer.status_code, list(answer.headers))


def ask(server: HTTPServer, purpose: Purpose = Purpose.PULL, auth: AuthBase | None = None) -> bytes:
    with HttpTransport(Timeouts(), purpose=purpose) as transport:
        return transport.exchange(Request(server.url_for("/"), auth=auth)).body


FAILS, WORKS = Sent("", 503), Sent("[]", 200)


def test_a_pull_that_fails_twice_is_right_at_the_third_attempt(
    httpserver: HTTPServer, pauses: list[float]
) -> None:
    answers = Answers(httpserver, FAILS, FAILS, WORKS)
    assert ask(httpserver) == b"[]"
    assert answers.asked == 3
    assert len(pauses) == 2
    assert 0 <= pauses[0] <= 1
    assert 0 <= pauses[1] <= 2


def test_a_pull_gives_up_after_three_attempts(httpserver: HTTPServer) -> None:
    answers = Answers(httpserver, FAILS)
    with pytest.raises(UnexpectedStatus, match="503"):
        ask(httpserver)
    assert answers.asked == 3


def test_an_operation_is_one_try(httpserver: HTTPServer, pauses: list[float]) -> None:
    answers = Answers(httpserver, FAILS, WORKS)
    with pytest.raises(UnexpectedStatus):
        ask(httpserver, Purpose.DO)
    assert (answers.asked, pauses) == (1, [])


@pytest.mark.parametrize(
    "status", [300, 304, 400, 401, 403, 404, 405, 409, 410, 418, 422, 501, 505, 507, 520, 599]
)
def test_what_does_not_pass_by_itself_is_asked_once(httpserver: HTTPServer, status: int) -> None:
    answers = Answers(httpserver, Sent("", status))
    with pytest.raises(UnexpectedStatus):
        ask(httpserver)
    assert answers.asked == 1


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_passes_by_itself_is_asked_again(httpserver: HTTPServer, status: int) -> None:
    answers = Answers(httpserver, Sent("", status), WORKS)
    ask(httpserver)
    assert answers.asked == 2


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (sends(), Unreachable),
        (sends(HEAD + b"Content-Length: 10\r\n\r\n[1"), BrokenOff),
        (hangs(), TimedOut),
    ],
    ids=["hangs up", "breaks off", "says nothing"],
)
def test_failures_of_the_network_are_asked_again(
    script: Script, kind: type[TransportError], pauses: list[float]
) -> None:
    with (
        wire(script) as url,
        HttpTransport(Timeouts(1, 0.1, 0.2)) as transport,
        pytest.raises(kind),
    ):
        transport.exchange(Request(url))
    assert len(pauses) == 2


def test_a_system_that_is_down_is_asked_three_times(pauses: list[float]) -> None:
    port = closed_port()
    with (
        may_reach(f"127.0.0.1:{port}"),
        HttpTransport(Timeouts()) as transport,
        pytest.raises(Unreachable),
    ):
        transport.exchange(Request(f"http://127.0.0.1:{port}"))
    assert len(pauses) == 2


# --- how long -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["7", format_datetime(NOW + datetime.timedelta(seconds=7), usegmt=True)])
def test_retry_after_is_honoured_in_both_forms(
    httpserver: HTTPServer, pauses: list[float], form: str
) -> None:
    Answers(httpserver, Sent("", 429, {"Retry-After": form}), WORKS)
    with time_machine.travel(NOW, tick=False):
        ask(httpserver)
    assert pauses == [7]


def test_a_system_that_asks_for_a_longer_wait_than_a_run_has_is_left_to_the_next_run(
    httpserver: HTTPServer, pauses: list[float]
) -> None:
    answers = Answers(httpserver, Sent("", 429, {"Retry-After": "61"}), WORKS)
    with pytest.raises(UnexpectedStatus) as caught:
        ask(httpserver)
    assert (answers.asked, pauses, caught.value.retry_after) == (1, [], 61)


def test_the_bound_is_on_all_pauses_of_an_exchange_together(
    httpserver: HTTPServer, pauses: list[float]
) -> None:
    answers = Answers(httpserver, Sent("", 503, {"Retry-After": "31"}))
    with pytest.raises(UnexpectedStatus):
        ask(httpserver)
    assert (answers.asked, pauses) == (2, [31])


@given(attempt=st.integers(1, 40), waited=st.floats(0, 60))
def test_a_pause_is_never_longer_than_its_step_nor_than_five_seconds(attempt: int, waited: float) -> None:
    pause = Retries(attempts=100).pause_after(Unreachable("x"), attempt, waited)
    assert pause is None or 0 <= pause <= min(5, 2 ** (attempt - 1))
    assert pause is None or waited + pause <= 60


def test_pauses_are_spread_over_the_whole_step() -> None:
    pauses = [Retries().pause_after(Unreachable("x"), 2, 0) or 0 for _ in range(400)]
    assert min(pauses) < 0.3
    assert max(pauses) > 1.7


@given(seconds=st.integers(0, 10**6))
def test_a_moment_and_the_seconds_to_it_are_read_alike(seconds: int) -> None:
    with time_machine.travel(NOW, tick=False):
        moment = format_datetime(NOW + datetime.timedelta(seconds=seconds), usegmt=True)
        assert seconds_until(str(seconds)) == seconds_until(moment) == seconds


@given(text=st.text(max_size=40))
def test_whatever_stands_in_retry_after_is_a_wait_of_some_seconds_or_none(text: str) -> None:
    seconds = seconds_until(text)
    assert seconds is None or seconds >= 0


@pytest.mark.parametrize("text", ["", "soon", "-5", "1.5", "Tue, 99 Foo 2026", "٣"])
def test_what_is_no_retry_after_is_no_wait(text: str) -> None:
    assert seconds_until(text) is None


def test_a_moment_that_is_past_means_now() -> None:
    assert seconds_until("Tue, 01 Sep 2020 12:00:00 GMT") == 0


# --- a token that is renewed ---------------------------------------------------------------------------------


class Renewing(AuthBase):
    """Signs with token 1 until it is renewed; then with the next one."""

    def __init__(self, *, works: bool = True) -> None:
        self.token, self.works, self.renewals = 1, works, 0

    def renew(self) -> bool:
        self.renewals += 1
        self.token += self.works
        return self.works

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.token}"
        return request


@pytest.mark.parametrize("purpose", list(Purpose))
def test_a_refused_token_is_renewed_once_and_the_request_sent_again(
    httpserver: HTTPServer, purpose: Purpose, pauses: list[float]
) -> None:
    httpserver.expect_request("/", headers={"Authorization": "Bearer 1"}).respond_with_data("", 401)
    httpserver.expect_request("/", headers={"Authorization": "Bearer 2"}).respond_with_data("[]")
    auth = Renewing()
    assert ask(httpserver, purpose, auth) == b"[]"
    assert (auth.renewals, pauses) == (1, [])


def test_a_token_that_is_refused_again_is_not_renewed_again(httpserver: HTTPServer) -> None:
    answers, auth = Answers(httpserver, Sent("", 401)), Renewing()
    with pytest.raises(UnexpectedStatus, match="401"):
        ask(httpserver, auth=auth)
    assert (answers.asked, auth.renewals) == (2, 1)


def test_a_token_that_cannot_be_renewed_is_not_sent_again(httpserver: HTTPServer) -> None:
    answers, auth = Answers(httpserver, Sent("", 401)), Renewing(works=False)
    with pytest.raises(UnexpectedStatus, match="401"):
        ask(httpserver, auth=auth)
    assert (answers.asked, auth.renewals) == (1, 1)


def test_only_a_refused_token_is_renewed(httpserver: HTTPServer) -> None:
    Answers(httpserver, Sent("", 403))
    auth = Renewing()
    with pytest.raises(UnexpectedStatus):
        ask(httpserver, auth=auth)
    assert auth.renewals == 0


# --- in a run -----------------------------------------------------------------------------------------------


def test_a_run_over_a_stumbling_system_is_right(feed: Feed, sync: Sync, load: Load) -> None:
    feed.awards, feed.page_size = [award(number) for number in range(1, 7)], 2
    stumbles = iter([500, 503, 200, 429, 200, 502, 504, 200, 200])

    def answer(request: Received) -> Sent:
        status = next(stumbles)
        return Sent("", status) if status != 200 else Sent(json.dumps(feed.page(request)))

    feed.answer = answer
    run = sync()
    assert (run.status, run.read, run.created) == ("applied", 6, 6)


@pytest.mark.django_db(transaction=True)
def test_nobody_waits_inside_a_transaction(feed: Feed, sync: Sync, monkeypatch: pytest.MonkeyPatch) -> None:
    were_open: list[bool] = []
    monkeypatch.setattr(HttpTransport, "wait", lambda *_: were_open.append(database.in_atomic_block))
    feed.status, feed.raw = 503, b""
    assert sync().status == "failed"
    assert were_open == [False, False]


def test_somebody_who_tests_a_connection_is_not_kept_waiting(
    feed: Feed, connection: Connection, pauses: list[float]
) -> None:
    feed.status, feed.raw = 503, b""
    (trial,) = try_connection(connection)
    assert "answered 503" in trial.message
    assert (len(feed.requests), pauses) == (1, [])
