"""One exchange: its time, where it is sent on to, and through which proxy."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from integrations.transports.egress import EgressRefused
from integrations.transports.errors import NotUnderstood, TimedOut, UnexpectedStatus, Unreachable
from integrations.transports.http import (
    MAX_FAILURE_BYTES,
    HttpTransport,
    Purpose,
    Request,
    Response,
    Timeouts,
)
from tests.integrations.feed import closed_port, may_reach, wire
from tests.integrations.test_transport import HEAD, drips, sends

QUICK = Timeouts(connect=1, read=0.2, total=0.4)


def get(url: str, timeouts: Timeouts = QUICK, **request: Any) -> Response:
    with HttpTransport(timeouts, purpose=Purpose.DO) as transport:
        return transport.exchange(Request(url, **request))


# --- its time ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "part"),
    [
        (b"", b" "),
        (b"HTTP/1.1 200 O", b"K"),
        (b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x"),
        (b"HTTP/1.1 200 OK\r\n", b"X-Slow: x\r\n"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 500 Oops\r\n\r\n", b"x"),
    ],
    ids=["nothing yet", "the first line", "one header", "many headers", "ever to be continued", "a failure"],
)
def test_a_head_that_drips_is_given_up_within_the_total(start: bytes, part: bytes) -> None:
    with wire(drips(start, part)) as url:
        before = time.monotonic()
        with pytest.raises(TimedOut):
            get(url)
        assert time.monotonic() - before < 1


def test_each_attempt_has_its_own_time_and_all_of_them_are_bounded(pauses: list[float]) -> None:
    with wire(drips(HEAD, b"x")) as url, HttpTransport(QUICK) as transport:
        before = time.monotonic()
        with pytest.raises(TimedOut, match=r"longer than 0\.4 seconds"):
            transport.exchange(Request(url))
        assert 3 * 0.4 <= time.monotonic() - before < 3
    assert len(pauses) == 2


def test_a_second_exchange_over_the_same_socket_has_its_own_time(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/").respond_with_data("[]")
    with HttpTransport(Timeouts(total=0.3)) as transport:
        transport.exchange(Request(httpserver.url_for("/")))
        threading.Event().wait(0.35)  # the time of the first is over by then
        assert transport.exchange(Request(httpserver.url_for("/"))).status == 200


def test_a_name_that_nobody_answers_for_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    is_over = threading.Event()
    original = socket.getaddrinfo

    def slow(host: str, *args: Any, **kwargs: Any) -> Any:
        is_over.wait(10)
        return original("127.0.0.1", *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    before = time.monotonic()
    with pytest.raises(TimedOut):
        get("http://slow.example/", Timeouts(0.2, 0.2, 0.4))
    assert time.monotonic() - before < 2
    is_over.set()


# --- its size ------------------------------------------------------------------------------------------------


def test_of_a_failure_no_more_is_read_than_an_error_table_looks_at() -> None:
    def endless(caller: socket.socket, is_over: threading.Event) -> None:
        caller.sendall(b"HTTP/1.1 500 Oops\r\n\r\n")
        while not is_over.is_set():
            caller.sendall(b"x" * MAX_FAILURE_BYTES)

    with wire(endless) as url, pytest.raises(UnexpectedStatus, match="500"):
        get(url, Timeouts(total=20))


# --- where it is sent on to ----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "location", ["/awards/?year=2026", "awards/?year=2026", "{base}/awards/?year=2026&x=1"]
)
def test_a_redirect_within_the_origin_is_followed_with_the_credential(
    httpserver: HTTPServer, status: int, location: str
) -> None:
    target = location.format(base=httpserver.url_for("").rstrip("/"))
    httpserver.expect_request("/awards").respond_with_data(status=status, headers={"Location": target})
    httpserver.expect_request("/awards/").respond_with_data("[]")
    answer = get(
        httpserver.url_for("/awards"),
        Timeouts(),
        params={"year": "2026"},
        headers={"Authorization": "Bearer x"},
    )
    assert answer.body == b"[]"
    assert [request.headers["Authorization"] for request, _ in httpserver.log] == ["Bearer x"] * 2
    assert httpserver.log[1][0].args["year"] == "2026"


@pytest.mark.parametrize("location", ["/awards/", "/awards/?year=2025", "/awards/?YEAR=2026"])
def test_a_redirect_that_loses_a_parameter_is_not_followed(httpserver: HTTPServer, location: str) -> None:
    """The parameter may be the filter without which the feed is another one."""
    httpserver.expect_request("/awards").respond_with_data(status=301, headers={"Location": location})
    httpserver.expect_request("/awards/").respond_with_data("[]")
    with pytest.raises(UnexpectedStatus, match="301"):
        get(httpserver.url_for("/awards"), Timeouts(), params={"year": "2026"})
    assert len(httpserver.log) == 1


@pytest.mark.parametrize(
    "location",
    [
        "http://localhost:1/",
        "https://localhost:{port}/",
        "//evil.example/",
        "http://localhost:{port}@evil.example/",
        "file:///etc/passwd",
        "gopher://localhost:{port}/",
    ],
)
def test_a_redirect_to_anywhere_else_is_a_failure_and_nothing_is_sent_there(
    httpserver: HTTPServer, location: str
) -> None:
    target = location.format(port=httpserver.port)
    httpserver.expect_request("/").respond_with_data(status=302, headers={"Location": target})
    with pytest.raises(UnexpectedStatus, match="302"):
        get(httpserver.url_for("/"), Timeouts())
    assert len(httpserver.log) == 1


@pytest.mark.parametrize("location", [b"http://localhost:99999/", b"http://[/", b"http://localhost:x/"])
def test_a_redirect_to_what_is_no_address_is_a_failure(location: bytes) -> None:
    answer = b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n"
    with wire(sends(answer)) as url, pytest.raises(UnexpectedStatus, match="302"):
        get(url)


def test_a_redirect_that_goes_round_in_circles_ends(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/").respond_with_data(status=302, headers={"Location": "/"})
    with pytest.raises(NotUnderstood, match="without end"):
        get(httpserver.url_for("/"), Timeouts())
    assert len(httpserver.log) == 4


def test_what_changes_something_is_never_sent_on(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/").respond_with_data(status=307, headers={"Location": "/other"})
    with pytest.raises(UnexpectedStatus, match="307"):
        get(httpserver.url_for("/"), Timeouts(), method="POST", body=b"{}")
    assert len(httpserver.log) == 1


# --- through which proxy -------------------------------------------------------------------------------------


def test_a_proxy_is_used_when_the_settings_name_one(httpserver: HTTPServer, settings: Any) -> None:
    """It is asked for the whole address; what is public is left to it to look up."""
    settings.EGRESS_PROXY = httpserver.url_for("").rstrip("/")
    httpserver.expect_request("/awards").respond_with_data("[]")
    assert get("http://sis.example.edu/awards", Timeouts()).body == b"[]"
    assert httpserver.log[0][0].host == "sis.example.edu"


def test_a_proxy_that_is_down_is_said_to_be(settings: Any) -> None:
    settings.EGRESS_PROXY = f"http://127.0.0.1:{closed_port()}"
    with pytest.raises(Unreachable) as caught:
        get("http://sis.example.edu/awards", Timeouts())
    assert "EGRESS_PROXY" in caught.value.advice


def test_a_private_address_is_refused_before_a_proxy_is_asked(httpserver: HTTPServer, settings: Any) -> None:
    settings.EGRESS_PROXY = httpserver.url_for("").rstrip("/")
    settings.ALLOW_PRIVATE_HOSTS = []
    with pytest.raises(EgressRefused, match="not on the public internet"):
        get("http://169.254.169.254/latest/meta-data", Timeouts())
    assert httpserver.log == []


def test_it_is_one_request_over_the_wire() -> None:
    with wire(sends(HEAD + b"Content-Length: 2\r\n\r\n[]")) as url, may_reach():
        answer = get(url)
    assert (answer.body, answer.received) == (b"[]", 2)
