"""What was asked of other systems can be read afterwards, and nobody's secret in it."""

from __future__ import annotations

import base64
import datetime
import json
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import time_machine
from django.db import DatabaseError
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from pytest_httpserver import HTTPServer
from werkzeug import Request as Received
from werkzeug import Response as Sent

from audit.models import AuditEvent
from integrations import tasks
from integrations.models import Connection, LoggedRequest, RejectedRecord
from integrations.models.request_log import ERROR_CLASSES, PURPOSES
from integrations.retention import prune
from integrations.transports import request_log
from integrations.transports.errors import ErrorClass, TransportError
from integrations.transports.http import HttpTransport, Purpose, Request, Timeouts
from integrations.transports.line import ConnectionLine
from integrations.transports.masking import MASK, Mask
from tests.integrations.conftest import Load, Sync
from tests.integrations.feed import TOKEN, Feed, award

CANARY = "canary-5ecret/with+signs&more"


def asked() -> list[LoggedRequest]:
    return list(LoggedRequest.objects.order_by("id"))


# --- what is kept --------------------------------------------------------------------------------------------


def test_every_attempt_of_a_run_is_a_row_of_that_run(feed: Feed, sync: Sync) -> None:
    feed.awards, feed.page_size = [award(1), award(2)], 1
    statuses = iter([503, 200, 200, 200])

    def answer(request: Received) -> Sent:
        status = next(statuses)
        return Sent("down", 503) if status == 503 else Sent(json.dumps(feed.page(request)))

    feed.answer = answer
    run = sync()
    rows = asked()
    assert [(row.attempt, row.status, row.error_class) for row in rows] == [
        (1, 503, "retry"),
        (2, 200, ""),
        (1, 200, ""),
        (1, 200, ""),
    ]
    assert {(row.run_id, row.connection_id, row.method, row.purpose) for row in rows} == {
        (run.pk, run.stream.connection_id, "GET", "pull")
    }
    assert rows[1].bytes_received == len(json.dumps(feed.page(feed.requests[1])))
    assert rows[0].error == "the other system answered 503: it is down or overloaded"


def test_a_request_outside_a_run_is_no_runs(connection: Connection, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/x", method="POST").respond_with_data("{}")
    with HttpTransport(Timeouts(), purpose=Purpose.DO, line=ConnectionLine(connection)) as transport:
        transport.exchange(Request(httpserver.url_for("/x"), "POST", body=b"12345"))
    (row,) = asked()
    assert (row.run, row.purpose, row.method, row.bytes_sent) == (None, "do", "POST", 5)


def test_only_a_failure_keeps_what_was_answered_and_no_more_than_its_beginning(
    feed: Feed, sync: Sync
) -> None:
    feed.status, feed.raw = 400, b"x" * 100_000
    sync()
    feed.status, feed.raw = 200, b'{"data": []}'
    sync()
    failed, *others = asked()
    assert failed.body == "x" * request_log.MAX_BODY_CHARACTERS
    assert others
    assert {row.body for row in others} == {""}


def test_an_attempt_without_an_answer_says_why(load: Load, sync: Sync) -> None:
    load(base_url="http://10.0.0.1")
    sync()
    (row,) = asked()
    assert (row.status, row.error_class, row.bytes_received) == (None, "config", 0)
    assert "10.0.0.1 is not on the public internet" in row.error


@pytest.mark.parametrize("body", [b"\x00", b"\xff\xfe", "\ud800".encode("utf-8", "surrogatepass"), b""])
def test_whatever_bytes_are_answered_the_row_is_written(feed: Feed, sync: Sync, body: bytes) -> None:
    feed.status, feed.raw = 400, body
    sync()
    assert len(asked()) == 1


def test_the_classes_of_a_row_are_those_of_the_wire() -> None:
    assert tuple(ErrorClass) == ERROR_CLASSES
    assert tuple(Purpose) == PURPOSES


# --- what is not ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "auth",
    [
        {"type": "bearer", "token": CANARY},
        {"type": "api_key", "key": CANARY},
        {"type": "api_key", "key": CANARY, "in": "query", "name": "key"},
        {"type": "basic", "username": "hub", "password": CANARY},
    ],
    ids=["bearer", "header", "query", "basic"],
)
def test_a_planted_secret_is_in_no_row_however_it_is_echoed(
    feed: Feed, load: Load, sync: Sync, auth: dict[str, str]
) -> None:
    load(auth=auth, headers={"X-Office": f"{CANARY}-2"}, datasets={"aid_awards": feed.dataset(params={"p": f"{CANARY}-3"})})  # fmt: skip
    # Another's credential would be nothing that anybody could recognise.
    basic = base64.b64encode(f"hub:{CANARY}".encode()).decode() if auth["type"] == "basic" else CANARY

    def answer(request: Received) -> Sent:
        echoes = [
            request.url,
            str(request.headers),
            CANARY,
            json.dumps(CANARY),
            quote(CANARY),
            quote_plus(CANARY),
        ]
        return Sent("\n".join([*echoes, basic, json.dumps(echoes)]), 400)

    feed.answer = answer
    sync()
    (row,) = asked()
    kept = repr(LoggedRequest.objects.values().get())
    for form in (CANARY, quote(CANARY), quote_plus(CANARY), quote(CANARY, safe=""), basic, "canary-5ecret"):
        assert form not in kept
    assert MASK in row.body
    assert row.url.startswith(f"{feed.base_url}/awards?")


def test_a_url_keeps_its_path_and_the_names_of_its_parameters() -> None:
    mask = Mask(["s3cr3t-token"])
    url = "https://user:pass@sis.example.edu:8443/v1/s3cr3t-token/awards?page=2&q=Ana%20Ruiz&empty=#frag"
    assert mask.url(url) == "https://sis.example.edu:8443/v1/***/awards?page=***&q=***&empty=***"


@pytest.mark.parametrize(
    "text",
    [
        '{"access_token": "planted", "x": 1}',
        '{"client_secret":"planted"}',
        '{"Password" : "planted \\" planted"}',
        "Authorization: Bearer planted",
        "eyJwbGFudGVk.eyJwbGFudGVk.planted",
        "ask planted@example.edu",
        '{"ssn": "123-45-6789"}',
    ],
)
def test_what_looks_like_a_secret_or_a_persons_address_is_masked_whoever_owns_it(text: str) -> None:
    masked = Mask([]).text(text)
    assert MASK in masked
    assert "planted" not in masked
    assert "6789" not in masked
    assert "cGxhbnRlZ" not in masked


@given(secret=st.text(min_size=1, max_size=40), before=st.text(max_size=20), after=st.text(max_size=20))
def test_a_secret_of_six_characters_or_more_is_masked_wherever_it_stands(
    secret: str, before: str, after: str
) -> None:
    secret = secret.strip() + "a1b2c3"
    assert secret not in Mask([secret]).text(before + secret + after).replace(MASK, "")


@pytest.mark.parametrize(
    ("text", "masked"), [("year 2026", "year ***"), ("20261 2026-09", "20261 ***-09"), ("x2026", "x2026")]
)
def test_a_short_secret_is_masked_where_it_stands_alone(text: str, masked: str) -> None:
    assert Mask(["2026"]).text(text) == masked


@given(url=st.text(max_size=60))
def test_masking_takes_any_url(url: str) -> None:
    Mask(["abcdef"]).url("https://" + url)


def test_a_connection_whose_secrets_do_not_open_masks_everything(connection: Connection) -> None:
    Connection.objects.filter(pk=connection.pk).update(secrets=b"\x01broken")
    sealed = Connection.objects.get(pk=connection.pk)
    with (
        HttpTransport(Timeouts(), line=ConnectionLine(sealed)) as transport,
        pytest.raises(TransportError),
    ):
        transport.exchange(Request("http://10.0.0.1/x"))
    assert asked()[0].url == MASK


# --- at whose cost -------------------------------------------------------------------------------------------


def test_a_log_that_cannot_be_written_is_no_reason_for_a_run_to_fail(
    feed: Feed, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        raise DatabaseError("the disk is full")

    feed.awards = [award(1)]
    monkeypatch.setattr(type(LoggedRequest.objects.all()), "bulk_create", broken)
    assert sync().status == "applied"
    assert asked() == []


def test_successes_are_written_in_handfuls_and_a_failure_at_once(
    connection: Connection, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/good").respond_with_data("{}")
    httpserver.expect_request("/bad").respond_with_data("", 404)
    with HttpTransport(Timeouts(), line=ConnectionLine(connection)) as transport:
        for _ in range(request_log.ROWS_A_WRITE - 1):
            transport.exchange(Request(httpserver.url_for("/good")))
        assert LoggedRequest.objects.count() == 0
        transport.exchange(Request(httpserver.url_for("/good")))
        assert LoggedRequest.objects.count() == request_log.ROWS_A_WRITE
        with pytest.raises(TransportError):
            transport.exchange(Request(httpserver.url_for("/bad")))
        assert LoggedRequest.objects.count() == request_log.ROWS_A_WRITE + 1
        transport.exchange(Request(httpserver.url_for("/good")))
    assert LoggedRequest.objects.count() == request_log.ROWS_A_WRITE + 2


# --- for how long --------------------------------------------------------------------------------------------


def test_requests_are_kept_fourteen_days_and_raw_records_ninety(feed: Feed, sync: Sync) -> None:
    feed.awards = [award(1), award(2, amount="much")]
    assert sync().rejected == 1
    raw = RejectedRecord.objects.get().raw_bytes
    for days, requests, has_raw in ((13, 2, True), (15, 0, True), (89, 0, True), (91, 0, False)):
        with time_machine.travel(timezone.now() + datetime.timedelta(days=days)):
            tasks.prune()
        assert LoggedRequest.objects.count() == requests
        assert bool(RejectedRecord.objects.get().raw) is has_raw
    rejected = RejectedRecord.objects.get()
    assert rejected.reason
    assert rejected.raw_text == f"No longer kept ({raw} bytes)."


def test_how_long_is_a_setting(feed: Feed, sync: Sync, settings: Any) -> None:
    settings.REQUEST_LOG_DAYS, settings.RAW_RECORD_DAYS = 1, 2
    feed.awards = [award(1, amount="much")]
    sync()
    with time_machine.travel(timezone.now() + datetime.timedelta(days=2, minutes=1)):
        pruned = prune()
        assert (pruned.requests, pruned.raw_records) == (2, 1)
        assert prune().requests == prune().raw_records == 0
        told = AuditEvent.objects.filter(action__in=["request_log.pruned", "rejected_records.emptied"])
        assert dict(told.values_list("action", "detail__rows")) == {
            "request_log.pruned": 2,
            "rejected_records.emptied": 1,
        }


# --- who sees it ---------------------------------------------------------------------------------------------


def test_figures_are_of_attempts_and_their_times(connection: Connection) -> None:
    def row(milliseconds: int, error_class: str = "") -> LoggedRequest:
        return LoggedRequest(
            connection=connection,
            purpose="pull",
            sent_at=timezone.now(),
            method="GET",
            url="https://a.example/",
            attempt=1,
            milliseconds=milliseconds,
            bytes_sent=0,
            bytes_received=0,
            error_class=error_class,
            error="it failed" if error_class else "",
        )

    assert LoggedRequest.objects.all().figures().p95 is None
    LoggedRequest.objects.bulk_create([row(n) for n in range(1, 96)] + [row(1000, "retry")] * 5)
    figures = LoggedRequest.objects.all().figures()
    assert (figures.attempts, figures.failed, figures.p50, figures.p95) == (100, 5, 50, 95)
    assert (figures.success_percent, figures.error_percent) == (95, 5)


def test_the_pages_of_a_run_and_of_a_connection_show_what_was_asked(
    feed: Feed, sync: Sync, administrator: Client
) -> None:
    feed.status, feed.raw = 400, b"no such year"
    run = sync()
    for url in (
        run.get_absolute_url(),
        f"/admin/integrations/connection/{run.stream.connection_id}/change/",
    ):
        page = administrator.get(url).content.decode()
        assert '<h2 id="requests">Requests</h2>' in page
        assert "no such year" in page
        assert TOKEN not in page
    rows = administrator.get("/admin/integrations/loggedrequest/").content.decode()
    assert "/awards?page=***" in rows
    one = administrator.get(f"/admin/integrations/loggedrequest/{asked()[0].pk}/change/")
    assert b"no such year" in one.content
    assert b'name="_save"' not in one.content


def test_nobody_else_sees_it(feed: Feed, sync: Sync, auditor: Client, advisor: Client) -> None:
    feed.status, feed.raw = 400, b"no such year"
    run = sync()
    page = auditor.get(run.get_absolute_url())
    assert page.status_code == 200
    assert b"no such year" not in page.content
    for client in (auditor, advisor):
        assert client.get("/admin/integrations/loggedrequest/").status_code == 403
        pk = asked()[0].pk
        assert client.get(f"/admin/integrations/loggedrequest/{pk}/change/").status_code == 403


def test_nobody_edits_it(feed: Feed, sync: Sync, administrator: Client) -> None:
    sync()
    pk = asked()[0].pk
    for path in (f"{pk}/delete/", "add/"):
        assert administrator.get(f"/admin/integrations/loggedrequest/{path}").status_code == 403
    assert (
        administrator.post(f"/admin/integrations/loggedrequest/{pk}/change/", {"url": "x"}).status_code == 403
    )
