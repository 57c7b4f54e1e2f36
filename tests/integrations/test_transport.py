"""What can go wrong on the wire, and that a run which meets it changes nothing and says what to do."""

from __future__ import annotations

import datetime
import gzip
import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import time_machine
from django.core.mail import EmailMessage
from django.utils import timezone
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from apiauth.models import User
from audit.models import AuditEvent
from integrations import tasks
from integrations.connectors.decoding import NotJson, decode
from integrations.models import Alert, RunLease, RunPage, SyncRun
from integrations.models.alert import CALM
from integrations.notices import send_alerts
from integrations.transports import http
from integrations.transports.errors import (
    NotUnderstood,
    TimedOut,
    TooLarge,
    TransportError,
    UnexpectedStatus,
    Unreachable,
)
from integrations.transports.http import HttpTransport, Timeouts
from integrations.transports.http import Response as Answer
from registration.models import LedgerEntry
from tests.integrations.conftest import Load, Sync
from tests.integrations.feed import TOKEN, Feed, award, closed_port, may_reach, wire

pytestmark = pytest.mark.any_database  # the wire has none

Script = Callable[[socket.socket, threading.Event], None]
QUICK = Timeouts(connect=1, read=0.2, total=0.4)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def get(url: str, timeouts: Timeouts = QUICK, **request: Any) -> Answer:
    with HttpTransport(timeouts) as transport:
        return transport.exchange(http.Request(url, **request))


def sends(*parts: bytes) -> Script:
    """Send these bytes and hang up."""

    def script(caller: socket.socket, is_over: threading.Event) -> None:
        for part in parts:
            caller.sendall(part)

    return script


def drips(start: bytes, part: bytes) -> Script:
    """Send `part` again and again, with less than a read's timeout between, until the caller has had enough."""

    def script(caller: socket.socket, is_over: threading.Event) -> None:
        caller.sendall(start)
        while not is_over.wait(0.02):
            caller.sendall(part)

    return script


def hangs(start: bytes = b"") -> Script:
    """Send `start` and then nothing more."""

    def script(caller: socket.socket, is_over: threading.Event) -> None:
        caller.sendall(start)
        is_over.wait()

    return script


# --- one exchange -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "script",
    [
        hangs(),
        hangs(HEAD),
        hangs(HEAD + b"Content-Length: 10\r\n\r\n[1,"),
        drips(HEAD + b"\r\n[", b" "),
        drips(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    ],
    ids=[
        "says nothing",
        "stops in the head",
        "stops in the body",
        "drips the body",
        "drips chunks",
    ],
)
def test_a_system_that_takes_too_long_is_given_up_within_the_total(script: Script) -> None:
    with wire(script) as url:
        start = time.monotonic()
        with pytest.raises(TimedOut):
            get(url)
        assert time.monotonic() - start < 2


def test_an_answer_larger_than_the_cap_is_not_read_on() -> None:
    cap = http.MAX_BODY_BYTES

    def script(caller: socket.socket, is_over: threading.Event) -> None:
        caller.sendall(HEAD + b"\r\n")
        while not is_over.is_set():
            caller.sendall(b" " * 2**20)

    with wire(script) as url, pytest.raises(TooLarge, match=f"larger than {cap // 2**20} MiB"):
        get(url, Timeouts(total=60))


def test_an_answer_that_unpacks_to_more_than_the_cap_is_not_unpacked_on() -> None:
    packed = gzip.compress(b" " * (http.MAX_BODY_BYTES + 1))
    assert len(packed) < 100_000
    head = HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    with wire(sends(head, packed)) as url, pytest.raises(TooLarge):
        get(url, Timeouts(total=60))


def test_a_packed_answer_is_unpacked_whole() -> None:
    body = json.dumps([award(number) for number in range(1, 2000)]).encode()
    packed = gzip.compress(body)
    head = HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    with wire(sends(head, packed)) as url:
        assert get(url).body == body


@pytest.mark.parametrize(
    "script",
    [
        sends(HEAD + b"Content-Length: 10\r\n\r\n[1,2]"),
        sends(HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n[1,2]\r\n"),
        sends(HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n[1"),
        sends(HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
        sends(HEAD + b"Content-Encoding: gzip\r\n\r\nnot gzip"),
        sends(),
        sends(b"HTTP/1.1"),
        sends(b"220 ftp.example.edu ready\r\n"),
        sends(b"HTTP/1.1 OK\r\n\r\n"),
        sends(b"\x00\xff\r\n\r\n"),
    ],
    ids=[
        "shorter than announced",
        "chunks without an end",
        "a chunk cut short",
        "a chunk of no length",
        "no gzip",
        "nothing",
        "half a first line",
        "another protocol",
        "no status",
        "bytes",
    ],
)
def test_an_answer_that_breaks_off_or_is_no_http_is_never_taken_for_whole(script: Script) -> None:
    with wire(script) as url, pytest.raises((NotUnderstood, Unreachable)) as caught:
        get(url)
    assert caught.value.advice


def test_an_answer_of_no_readable_length_ends_with_the_line_and_is_no_json_then() -> None:
    with wire(sends(HEAD + b"Content-Length: many\r\n\r\n[1,2")) as url:
        body = get(url).body
    with pytest.raises(NotJson):
        decode(body)


@pytest.mark.parametrize(
    "status", [300, 301, 302, 303, 307, 308, 400, 401, 403, 404, 418, 429, 500, 503, 599]
)
def test_every_status_beyond_success_is_a_failure_with_advice(httpserver: HTTPServer, status: int) -> None:
    httpserver.expect_request("/").respond_with_data("[]", status=status)
    with pytest.raises(UnexpectedStatus, match=f"answered {status}: ") as caught:
        get(httpserver.url_for("/"))
    assert caught.value.status == status
    assert caught.value.advice


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_origin_is_not_followed_and_the_credential_goes_nowhere(
    httpserver: HTTPServer, status: int
) -> None:
    elsewhere = httpserver.url_for("/elsewhere").replace("localhost", "127.0.0.1")
    httpserver.expect_request("/").respond_with_data(status=status, headers={"Location": elsewhere})
    with may_reach(f"127.0.0.1:{httpserver.port}"), pytest.raises(UnexpectedStatus):
        get(httpserver.url_for("/"), headers={"Authorization": "Bearer x"})
    assert [request.path for request, _ in httpserver.log] == ["/"]


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:{port}", "http://no-such-host.invalid", "https://127.0.0.1:{port}"]
)
def test_a_system_that_is_not_there_is_unreachable(address: str) -> None:
    port = closed_port()
    with may_reach(f"127.0.0.1:{port}"), pytest.raises(Unreachable, match="cannot be reached"):
        get(address.format(port=port), Timeouts(connect=5, read=1, total=5))


def test_a_system_that_does_not_speak_tls_is_told_apart_from_one_that_is_down(httpserver: HTTPServer) -> None:
    with pytest.raises(Unreachable) as caught:
        get(httpserver.url_for("/").replace("http:", "https:"), Timeouts(read=1, total=2))
    assert caught.value.advice


@pytest.mark.parametrize(
    "headers",
    [{"X-Key": "two\nlines"}, {"X-Key": "…"}, {"X\r\nY": "x"}, {"X-Key": "x\r\nX-Other: y"}, {"": "x"}],
)
def test_a_header_that_cannot_be_sent_is_said_to_be_one(
    httpserver: HTTPServer, headers: dict[str, str]
) -> None:
    httpserver.expect_request("/").respond_with_data("[]")
    with pytest.raises(TransportError) as caught:
        get(httpserver.url_for("/"), headers=headers)
    assert "a header has characters that HTTP does not carry" in str(caught.value)
    assert "credentials and headers" in caught.value.advice
    assert httpserver.log == []


def test_no_proxy_or_netrc_of_the_machine_slips_in(
    httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {httpserver.host} login a password b\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port()}")
    monkeypatch.setenv("no_proxy", "")
    httpserver.expect_request("/").respond_with_data("[]")
    assert get(httpserver.url_for("/")).body == b"[]"
    assert "Authorization" not in httpserver.log[0][0].headers


# --- a run that meets it ----------------------------------------------------------------------------------


def make_user(name: str, **changes: Any) -> User:
    values = {"email": f"{name}@example.edu", "is_superuser": True, **changes}
    return User.objects.create(username=name, **values)


@pytest.fixture
def administrator(db: None) -> User:
    return make_user("ops")


@pytest.fixture
def live(feed: Feed, sync: Sync) -> Sync:
    """Two awards stand on bills; what comes next must not move them."""
    feed.awards = [award(1), award(2)]
    assert sync().status == "applied"
    return sync


def assert_nothing_happened(run: SyncRun) -> None:
    """A failed run leaves the ledger, the plan's table and the memory of records as they were."""
    assert run.status == "failed"
    assert run.finished_at is not None
    assert not run.changes.exists()
    assert not RunPage.objects.filter(run=run).exists()
    assert not RunLease.objects.filter(run=run).exists()
    assert (run.created, run.modified, run.voided) == (0, 0, 0)
    entries = LedgerEntry.objects.values_list("state", "amount_minor")
    assert list(entries) == [("posted", 10_000)] * 2
    assert run.stream.links.filter(live=True).count() == 2


BROKEN_FEEDS: dict[str, tuple[int, bytes, tuple[str, ...]]] = {
    "401": (401, b"{}", ("401", "credentials", "Enter the connection's credentials again.")),
    "403": (403, b"{}", ("403", "Ask the other system's owner")),
    "404": (404, b"{}", ("404", "Check the path of the dataset")),
    "429": (429, b"{}", ("429", "too often")),
    "500": (500, b"{}", ("500", "Try again")),
    "302": (302, b"", ("302", "not followed", "login page")),
    "a web page": (200, b"<!DOCTYPE html><title>Log in</title>", ("a web page, where JSON was expected",)),
    "no JSON": (200, b"id,amount\n1,2\n", ("not JSON, where JSON was expected",)),
    "nothing": (200, b"", ("not JSON",)),
    "no content": (204, b"", ("not JSON",)),
    "half of the JSON": (200, json.dumps({"data": [award(1)]}).encode()[:-9], ("not JSON",)),
    "bytes": (200, b"\xff\xfe\x00", ("not JSON",)),
    "an error with status 200": (200, b'{"error": "maintenance"}', ("no list of records", "Test shows it")),
}


@pytest.mark.parametrize(("status", "body", "words"), BROKEN_FEEDS.values(), ids=BROKEN_FEEDS.keys())
def test_a_failing_feed_changes_nothing_and_the_run_says_where_and_what_to_do(
    feed: Feed, live: Sync, status: int, body: bytes, words: tuple[str, ...]
) -> None:
    feed.status, feed.raw = status, body
    run = live()
    assert_nothing_happened(run)
    assert run.reason.startswith("Reading page 1 of aid_awards from Financial aid office failed: ")
    assert "Nothing was applied." in run.reason
    for word in words:
        assert word in run.reason
    assert TOKEN not in run.reason + run.technical


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (hangs(), "did not answer in time"),
        (drips(HEAD + b"\r\n[", b" "), "took longer than 0.4 seconds"),
        (sends(HEAD + b"Content-Length: 9999\r\n\r\n" + json.dumps({"data": []}).encode()), "broke off"),
    ],
    ids=["hangs", "drips", "breaks off"],
)
def test_a_failing_wire_changes_nothing_and_the_run_says_what_to_do(
    load: Load, live: Sync, script: Script, words: str
) -> None:
    with wire(script) as url:
        load(base_url=url, timeouts={"connect": 1, "read": 0.2, "total": 0.4, "slow_ms": 100})
        run = live()
    assert_nothing_happened(run)
    assert words in run.reason
    assert "Try again" in run.reason or "Test shows it" in run.reason


def test_a_system_that_is_down_changes_nothing(load: Load, live: Sync) -> None:
    port = closed_port()
    load(base_url=f"http://127.0.0.1:{port}")
    with may_reach(f"127.0.0.1:{port}"):
        run = live()
    assert_nothing_happened(run)
    assert "cannot be reached" in run.reason
    assert "whether the other system is up" in run.reason


def test_a_failure_after_pages_were_read_names_the_page_and_leaves_no_change(feed: Feed, live: Sync) -> None:
    feed.page_size = 1
    feed.awards = [award(1, amount="1.00"), award(2, amount="2.00")]

    def answer(request: Request) -> Response:
        if request.args["page"] == "2":
            return Response("", 500)
        return Response(json.dumps(feed.page(request)))

    feed.answer = answer
    run = live()
    assert_nothing_happened(run)
    assert run.reason.startswith("Reading page 2 of aid_awards")
    assert (run.pages, run.read) == (1, 1)


@pytest.mark.parametrize(
    "auth",
    [{"type": "bearer"}, {"type": "api_key"}, {"type": "basic"}, {"type": "basic", "username": "only"}],
)
def test_a_connection_without_its_credential_says_that_it_has_to_be_entered(
    load: Load, live: Sync, auth: dict[str, str]
) -> None:
    load(base_url="http://127.0.0.1:9", auth=auth)
    run = live()
    assert_nothing_happened(run)
    assert "credentials" in run.reason
    assert "unexpectedly" not in run.reason


@pytest.mark.parametrize("token", ["copied with its line end\n", "tok…en"])
def test_a_credential_that_no_header_can_carry_says_so(live: Sync, token: str) -> None:
    connection = live(dry_run=True).stream.connection
    connection.secrets = {"auth": {"token": token}}
    connection.save()
    run = live()
    assert_nothing_happened(run)
    assert "a header has characters that HTTP does not carry" in run.reason
    assert token not in run.reason + run.technical


def test_a_failed_run_is_in_the_trail(feed: Feed, live: Sync) -> None:
    feed.status, feed.raw = 500, b""
    run = live()
    events = AuditEvent.objects.about(run).order_by("id").values_list("action", flat=True)
    assert list(events) == ["sync_run.requested", "sync_run.failed"]


def test_a_run_that_breaks_for_an_unforeseen_reason_fails_without_quoting_anybody(
    feed: Feed, live: Sync
) -> None:
    stream = live(dry_run=True).stream
    stream.mapping["amount"] = {"path": "amount", "transforms": ["no-such-transform"]}
    stream.save()
    run = live()
    assert_nothing_happened(run)
    assert "broke off unexpectedly" in run.reason
    assert run.technical.startswith("ValidationError at ")
    assert "S0000001" not in run.technical + run.reason


# --- alerts -----------------------------------------------------------------------------------------------


@pytest.fixture
def broken(feed: Feed, live: Sync, administrator: User) -> Sync:
    feed.status, feed.raw = 403, b"{}"
    return live


def test_a_failure_raises_one_alert_and_an_email_with_a_link_to_the_run(
    broken: Sync, mailoutbox: list[EmailMessage], settings: Any
) -> None:
    settings.BASE_URL = "https://hub.example.edu"
    run = broken()
    assert send_alerts() == 1
    alert = Alert.objects.get()
    assert (alert.run, alert.times, alert.resolved_at) == (run, 1, None)
    assert alert.text == run.reason
    (mail,) = mailoutbox
    assert mail.to == ["ops@example.edu"]
    assert "Financial aid office: failed" in mail.subject
    assert run.reason in mail.body
    assert f"https://hub.example.edu{run.get_absolute_url()}" in mail.body
    assert TOKEN not in str(mail.message())


def test_an_email_is_sent_once_however_often_it_is_asked_for(
    broken: Sync, mailoutbox: list[EmailMessage]
) -> None:
    broken()
    assert [send_alerts(), send_alerts(), tasks.send_alerts()] == [1, 0, 0]
    assert len(mailoutbox) == 1


def test_a_failure_that_repeats_is_the_same_alert_with_a_count(
    feed: Feed, broken: Sync, mailoutbox: list[EmailMessage]
) -> None:
    for _ in range(3):
        broken()
        send_alerts()
    feed.status = 404
    run = broken()
    send_alerts()
    alert = Alert.objects.get()
    assert alert.times == 4
    assert alert.text == run.reason
    assert alert.last_seen_at > alert.raised_at
    assert len(mailoutbox) == 1


def test_success_resolves_the_alert_and_the_next_failure_is_a_new_one(
    feed: Feed, broken: Sync, mailoutbox: list[EmailMessage]
) -> None:
    broken()
    send_alerts()
    feed.raw, feed.status = None, 200
    assert broken().status == "applied"
    assert not Alert.objects.open().exists()
    with time_machine.travel(timezone.now() + CALM):
        send_alerts()
        feed.raw, feed.status = b"", 500
        broken()
        send_alerts()
    assert Alert.objects.open().count() == 1
    assert Alert.objects.count() == 2
    told = [mail.subject for mail in mailoutbox]
    assert told == [f"[Matricula] {moment}Financial aid office: failed" for moment in ("", "Over: ", "")]


def test_a_dry_run_that_succeeds_does_not_resolve_the_alert_of_a_sync(feed: Feed, broken: Sync) -> None:
    broken()
    feed.raw, feed.status = None, 200
    assert broken(dry_run=True).status == "previewed"
    assert Alert.objects.open().count() == 1


def test_only_active_administrators_with_an_address_are_told(
    broken: Sync, mailoutbox: list[EmailMessage]
) -> None:
    make_user("gone", is_active=False)
    make_user("mute", email="")
    make_user("advisor", is_superuser=False)
    broken()
    send_alerts()
    assert mailoutbox[0].to == ["ops@example.edu"]


def test_an_alert_that_nobody_can_be_told_of_stays_owed(
    broken: Sync, administrator: User, mailoutbox: list[EmailMessage]
) -> None:
    administrator.delete()
    broken()
    assert send_alerts() == 0
    make_user("new")
    with time_machine.travel(timezone.now() + datetime.timedelta(minutes=3)):
        assert send_alerts() == 1
    assert mailoutbox[0].to == ["new@example.edu"]


def test_a_name_with_a_line_break_does_not_stop_the_mail(
    feed: Feed, broken: Sync, mailoutbox: list[EmailMessage]
) -> None:
    connection = broken().stream.connection
    connection.name = "Aid\nBcc: everybody@example.edu"
    connection.save()
    Alert.objects.all().delete()
    broken()
    assert send_alerts() == 1
    assert "\n" not in mailoutbox[0].subject
    assert mailoutbox[0].recipients() == ["ops@example.edu"]
