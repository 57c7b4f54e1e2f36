"""No more attempts are made than a system allows: a minute, at once, and by whatever its own headers say."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from typing import Any

import pytest
import time_machine
from django.utils import timezone
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_httpserver import HTTPServer
from werkzeug import Request as Received
from werkzeug import Response as Sent

from integrations.documents import DocumentRefused, parse_document
from integrations.models import Allowance, Breaker, Connection, Passage
from integrations.operations import save_connection
from integrations.transports.breaker import BreakerOpen
from integrations.transports.http import HttpTransport, Purpose, Request, Timeouts
from integrations.transports.limits import Limit, LimitReached, end_turn, limits_of, take_turn
from integrations.transports.line import ConnectionLine
from integrations.transports.quota import QuotaHeaders
from tests.integrations.conftest import Load, Sync
from tests.integrations.feed import Feed, award
from tests.processes import at_once

NOW = datetime.datetime(2026, 9, 1, 12, tzinfo=datetime.UTC)


@pytest.fixture
def clock() -> Iterator[Any]:
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


def make_system(slug: str = "aid", url: str = "https://a.example", **limits: int) -> Connection:
    return Connection.objects.create(slug=slug, name=slug, connector="rest", base_url=url, limits=limits)


def turns(system: Connection, times: int) -> int:
    """How many of so many attempts pass at this moment."""
    limits = limits_of(system)
    return sum(take_turn(limits, 10).again_at is None for _ in range(times))


# --- a minute ------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_in_any_minute_no_more_pass_than_the_limit(clock: Any) -> None:
    system = make_system(per_minute=6)
    assert turns(system, 10) == 6
    clock.shift(30)
    assert turns(system, 10) == 0
    clock.shift(30)
    assert turns(system, 3) == 3
    clock.shift(59)
    assert turns(system, 10) == 3


@pytest.mark.django_db
def test_whoever_has_to_wait_is_told_until_when(clock: Any) -> None:
    limits = limits_of(make_system(per_minute=2))
    take_turn(limits, 10)
    clock.shift(10)
    take_turn(limits, 10)
    turn = take_turn(limits, 10)
    assert turn.again_at == NOW + datetime.timedelta(seconds=60)
    assert turn.why == "our limit is 2 requests a minute"


@pytest.mark.django_db
@hypothesis_settings(deadline=None, max_examples=40)
@given(steps=st.lists(st.tuples(st.integers(0, 40), st.integers(1, 6)), max_size=12), limit=st.integers(1, 5))
def test_through_any_history_no_minute_has_more_than_the_limit(
    steps: list[tuple[int, int]], limit: int
) -> None:
    Passage.objects.all().delete()
    limits = [Limit("property", limit, None)]
    passed: list[datetime.datetime] = []
    with time_machine.travel(NOW, tick=False) as clock:
        for seconds, times in steps:
            clock.shift(seconds)
            passed += [timezone.now() for _ in range(times) if take_turn(limits, 1).again_at is None]
    minute = datetime.timedelta(minutes=1)
    for moment in passed:
        assert sum(moment - minute < other <= moment for other in passed) <= limit


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("limits", [{"per_minute": 10}, {"host_per_minute": 10}, {"concurrent": 10}])
def test_of_sixteen_processes_at_a_limit_of_ten_exactly_ten_ask(
    httpserver: HTTPServer, limits: dict[str, int]
) -> None:
    httpserver.expect_request("/").respond_with_data("[]")
    Connection.objects.create(
        slug="aid", name="aid", connector="rest", base_url=httpserver.url_for("/").rstrip("/"), limits=limits
    )
    said = at_once(
        16,
        setup="""
            from integrations.models import Connection
            from integrations.transports import limits
            from integrations.transports.http import HttpTransport, Purpose, Request, Timeouts
            from integrations.transports.limits import LimitReached
            from integrations.transports.line import ConnectionLine
            limits.PATIENCE[Purpose.DO] = 0
            system = Connection.objects.get(slug="aid")
            line = ConnectionLine(system)
            line._end_turn = lambda attempt: None  # each seat stays taken until all have asked
            transport = HttpTransport(Timeouts(), purpose=Purpose.DO, line=line)
        """,
        act="""
            try:
                transport.exchange(Request(system.base_url + "/"))
            except LimitReached:
                print("waits")
            else:
                print("asked")
        """,
    )
    assert sorted(said) == ["asked\n"] * 10 + ["waits\n"] * 6
    assert len(httpserver.log) == 10


# --- at once -------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_no_more_are_under_way_than_the_limit_and_who_ends_makes_room(clock: Any) -> None:
    limits = limits_of(make_system(concurrent=2))
    first = take_turn(limits, 10)
    take_turn(limits, 10)
    assert take_turn(limits, 10).why == "our limit is 2 at once"
    end_turn(first)
    assert take_turn(limits, 10).again_at is None
    assert take_turn(limits, 10).again_at is not None


@pytest.mark.django_db
def test_a_seat_whose_process_died_is_free_when_its_time_is_over(clock: Any) -> None:
    limits = limits_of(make_system(concurrent=1))
    take_turn(limits, 10)
    clock.shift(19.9)
    assert take_turn(limits, 10).again_at is not None
    clock.shift(0.1)
    assert take_turn(limits, 10).again_at is None


# --- of a host -----------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_connections_of_one_host_share_its_limit_and_the_strictest_holds(clock: Any) -> None:
    one = make_system("one", "https://api.example/a", host_per_minute=4)
    two = make_system("two", "https://api.example/b", host_per_minute=9)
    silent = make_system("three", "https://api.example/c")
    other = make_system("four", "https://other.example", per_minute=50)
    assert turns(one, 3) + turns(two, 9) + turns(silent, 9) == 4
    assert turns(other, 9) == 9
    one.archived_at = NOW
    one.save()
    assert turns(two, 9) == 5


@pytest.mark.django_db
def test_an_attempt_that_one_limit_refuses_counts_against_none(clock: Any) -> None:
    system = make_system(per_minute=9, host_per_minute=1)
    assert turns(system, 5) == 1
    assert Passage.objects.filter(allowance__key=f"connection:{system.pk}").count() == 1


@pytest.mark.django_db
def test_a_connection_without_limits_writes_nothing(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/").respond_with_data("[]")
    with HttpTransport(Timeouts(), line=ConnectionLine(make_system())) as transport:
        transport.exchange(Request(httpserver.url_for("/")))
    assert not Allowance.objects.exists()
    assert not Passage.objects.exists()


@pytest.mark.django_db
def test_what_no_limit_looks_at_any_more_is_let_go(clock: Any) -> None:
    system = make_system(per_minute=3)
    for _ in range(5):
        turns(system, 3)
        clock.shift(61)
    assert Passage.objects.count() <= 6


# --- waiting -------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_pull_waits_for_its_turn_and_goes_on(
    httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    httpserver.expect_request("/").respond_with_data("[]")
    system = make_system(per_minute=2)
    with time_machine.travel(NOW, tick=False) as clock:
        monkeypatch.setattr(ConnectionLine, "wait", clock.shift)
        with HttpTransport(Timeouts(), line=ConnectionLine(system)) as transport:
            for _ in range(5):
                transport.exchange(Request(httpserver.url_for("/")))
        assert timezone.now() == NOW + datetime.timedelta(minutes=2)


@pytest.mark.django_db
def test_an_operation_waits_a_moment_only_and_says_until_when(httpserver: HTTPServer, clock: Any) -> None:
    httpserver.expect_request("/").respond_with_data("[]")
    system = make_system(per_minute=1)
    with HttpTransport(Timeouts(), purpose=Purpose.DO, line=ConnectionLine(system)) as transport:
        transport.exchange(Request(httpserver.url_for("/")))
        with pytest.raises(
            LimitReached, match=r"until 12:01:00 UTC: our limit is 1 requests a minute"
        ) as caught:
            transport.exchange(Request(httpserver.url_for("/")))
    assert caught.value.retry_after == 60
    assert len(httpserver.log) == 1
    assert not Breaker.objects.exists()


@pytest.mark.django_db
def test_who_may_not_call_does_not_wait_for_a_turn_nor_use_one_up(clock: Any, pauses: list[float]) -> None:
    system = make_system(per_minute=1)
    Breaker.objects.create(connection=system, state="open", failures=5, opened_at=NOW)
    turns(system, 1)
    with HttpTransport(Timeouts(), line=ConnectionLine(system)) as transport, pytest.raises(BreakerOpen):
        transport.exchange(Request("https://a.example/"))
    assert pauses == []
    assert Passage.objects.count() == 1


# --- what the system says ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "30"}, 30),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(NOW.timestamp()) + 45)}, 45),
        ({"RateLimit-Remaining": "0", "RateLimit-Reset": "12"}, 12),
        ({"RateLimit": "limit=100, remaining=0, reset=20"}, 20),
        ({"RateLimit": '"default";r=0;t=25'}, 25),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "999999"}, 86_400),
        ({"X-RateLimit-Remaining": "1", "X-RateLimit-Reset": "30"}, None),
        ({"X-RateLimit-Remaining": "0"}, None),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "0"}, None),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "soon"}, None),
        ({"X-RateLimit-Remaining": "-1", "X-RateLimit-Reset": "30"}, None),
        ({"RateLimit": '"default";r=5;t=25'}, None),
        ({}, None),
    ],
)
def test_a_used_up_quota_is_read_in_each_of_its_forms(
    clock: Any, headers: dict[str, str], seconds: int | None
) -> None:
    until = QuotaHeaders().pause_until(headers)
    assert until == (NOW + datetime.timedelta(seconds=seconds) if seconds is not None else None)


def test_a_vendors_own_headers_and_floor_are_facts_of_its_connector(clock: Any) -> None:
    alma = QuotaHeaders(remaining=("X-Exl-Api-Remaining",), reset=("X-Reset",), floor=1000)
    assert alma.pause_until({"X-Exl-Api-Remaining": "1000", "X-Reset": "9"}) is not None
    assert alma.pause_until({"X-Exl-Api-Remaining": "1001", "X-Reset": "9"}) is None


@given(text=st.text(max_size=40))
def test_whatever_stands_in_the_headers_no_pause_is_longer_than_a_day(text: str) -> None:
    until = QuotaHeaders().pause_until(
        {"RateLimit": text, "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": text}
    )
    assert until is None or until <= timezone.now() + datetime.timedelta(hours=24, seconds=1)


def test_a_run_waits_where_the_quota_is_used_up_and_is_right(
    feed: Feed, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed.awards, feed.page_size = [award(1), award(2)], 1
    sent_at: list[datetime.datetime] = []

    def answer(request: Received) -> Sent:
        sent_at.append(timezone.now())
        headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "40"}
        return Sent(json.dumps(feed.page(request)), headers=headers if len(sent_at) == 1 else {})

    feed.answer = answer
    with time_machine.travel(NOW, tick=False) as clock:
        monkeypatch.setattr(ConnectionLine, "wait", clock.shift)
        assert sync().status == "applied"
    assert [moment - NOW for moment in sent_at] == [datetime.timedelta(seconds=s) for s in (0, 40, 40)]


def test_what_one_process_is_told_holds_for_every_other(feed: Feed, sync: Sync, clock: Any) -> None:
    feed.answer = lambda _: Sent("", 429, {"Retry-After": "3600"})
    run = sync()
    assert "answered 429" in run.reason
    assert len(feed.requests) == 1
    again = sync()
    assert "it is not called until 13:00:00 UTC: it asked to be left alone" in again.reason
    assert len(feed.requests) == 1
    clock.shift(3601)
    feed.answer = None
    feed.awards = [award(1)]
    assert sync().status == "applied"


# --- in the document -----------------------------------------------------------------------------------------


def test_limits_are_part_of_the_document(feed: Feed, load: Load) -> None:
    limits = {"per_minute": 60, "concurrent": 2, "host_per_minute": 90, "host_concurrent": 4}
    connection = load(limits=limits)
    assert connection.limits == limits
    assert save_connection(feed.document(limits=limits))[1] is False
    assert load().limits == {}


@pytest.mark.parametrize(
    "limits", [{"per_minute": 0}, {"concurrent": -1}, {"per_hour": 5}, {"per_minute": "many"}]
)
def test_limits_that_are_none_are_told(feed: Feed, limits: dict[str, Any]) -> None:
    with pytest.raises(DocumentRefused, match=r"limits\."):
        parse_document(feed.document(limits=limits))
