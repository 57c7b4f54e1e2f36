"""The limit of a consumer: exact over processes, felt by its consumer alone, told on every authenticated answer."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
import time_machine
from django.test import Client
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pytest_django.fixtures import Settings

from apiauth import rate_limit
from apiauth.counters import counters, key
from apiauth.models import Consumer
from apiauth.rate_limit import BUCKET_SECONDS, WINDOW_SECONDS, count_request
from apiauth.usage import requests_this_hour
from tests.apiauth.conftest import Ask, MakePartner, basic
from tests.bearers import make_token
from tests.processes import at_once
from tests.sockets import watch_sockets

URL = "/api/v1/terms/"
PROCESSES, LIMIT = 16, 1_000
START = 1_790_000_000

COUNT_IN_A_PROCESS = """
import django
from django.conf import settings
settings.COUNTERS_URL, settings.COUNTERS_PREFIX = {url!r}, {prefix!r}
from apiauth.rate_limit import count_request
"""


def test_sixteen_processes_let_exactly_as_many_through_as_the_limit_says(
    settings: Settings, counting_server: str
) -> None:
    setup = COUNT_IN_A_PROCESS.format(url=counting_server, prefix=settings.COUNTERS_PREFIX)
    each = LIMIT // PROCESSES + 20
    said = at_once(
        PROCESSES,
        setup=setup,
        act=f"print(sum(count_request(7, {LIMIT}).is_allowed for _ in range({each})))",
    )
    assert each * PROCESSES > LIMIT
    assert sum(map(int, said)) == LIMIT


def test_nobody_waits_for_the_counters_while_a_transaction_is_open(
    partner: MakePartner,
    token_of: Callable[..., str],
    ask: Ask,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    who = partner()
    sent = watch_sockets(monkeypatch)
    token = token_of(who)
    assert client.get(URL, headers={"Authorization": f"Bearer {token}"}).status_code == 200
    wrong = basic(who.consumer.client_id, "wrong")
    assert ask("/oauth/token/", {"grant_type": "client_credentials"}, wrong).status_code == 401
    assert sent
    assert not any(sent)


# --- the hour ---------------------------------------------------------------------------------------------


def test_no_hour_has_more_than_the_limit_whenever_it_begins() -> None:
    """What was spent comes back as it grows an hour old, and not all at once by the clock."""
    with time_machine.travel(START, tick=False) as clock:
        assert [count_request(1, 4).is_allowed for _ in range(2)] == [True, True]
        clock.shift(WINDOW_SECONDS // 2)
        assert [count_request(1, 4).is_allowed for _ in range(3)] == [True, True, False]
        clock.shift(WINDOW_SECONDS // 2 - 1)
        assert not count_request(1, 4).is_allowed
        clock.shift(BUCKET_SECONDS + 1)
        assert [count_request(1, 4).is_allowed for _ in range(3)] == [True, True, False]


def let_through(moments: list[int], limit: int, name: int) -> list[int]:
    """Which of some moments a request went through at."""
    through = []
    with time_machine.travel(START, tick=False) as clock:
        for moment in sorted(moments):
            clock.move_to(START + moment)
            if count_request(name, limit).is_allowed:
                through.append(moment)
    return through


@examples(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moments=st.lists(st.integers(0, 3 * WINDOW_SECONDS), max_size=40), limit=st.integers(1, 6))
def test_the_server_and_a_process_alone_keep_the_same_promise(
    moments: list[int], limit: int, counting_server: str, settings: Settings, tmp_path: Any
) -> None:
    name = _fresh()
    settings.COUNTERS_URL = counting_server
    through = let_through(moments, limit, name)
    settings.COUNTERS_URL = f"unix://{tmp_path}/none.sock"
    assert let_through(moments, limit, name) == through
    for start in through:
        assert sum(start <= moment < start + WINDOW_SECONDS for moment in through) <= limit
    refused = sorted(set(moments) - set(through))
    for moment in refused:  # nobody is refused who has spent less than the limit within the hour and a bucket
        earlier = [each for each in through if moment - WINDOW_SECONDS - BUCKET_SECONDS <= each <= moment]
        assert len(earlier) >= limit


_names = iter(range(1_000, 1_000_000))


def _fresh() -> int:
    return next(_names)


def test_who_waits_as_long_as_is_said_is_let_in() -> None:
    with time_machine.travel(START, tick=False) as clock:
        for shift in (0, 100, 200):
            clock.move_to(START + shift)
            assert count_request(1, 3).is_allowed
        refused = count_request(1, 3)
        assert (refused.is_allowed, refused.remaining) == (False, 0)
        clock.shift(refused.seconds - 1)
        assert not count_request(1, 3).is_allowed
        clock.shift(1)
        assert count_request(1, 3).is_allowed


def test_a_limit_that_was_lowered_says_how_long_until_that_one_lets_through() -> None:
    with time_machine.travel(START, tick=False) as clock:
        for shift in (0, 100, 200):
            clock.move_to(START + shift)
            count_request(1, 3)
        refused = count_request(1, 1)
        assert not refused.is_allowed
        clock.shift(refused.seconds)
        assert count_request(1, 1).is_allowed


def test_a_consumer_is_kept_in_a_bounded_place() -> None:
    with time_machine.travel(START, tick=False) as clock:
        for shift in range(0, 2 * WINDOW_SECONDS, BUCKET_SECONDS):
            clock.move_to(START + shift)
            count_request(1, 1_000_000)
    assert counters().hlen(key("limit", 1)) <= WINDOW_SECONDS / BUCKET_SECONDS + 5
    assert 0 < counters().ttl(key("limit", 1)) <= WINDOW_SECONDS + 3 * BUCKET_SECONDS


# --- what a consumer is told ------------------------------------------------------------------------------


def headers_of(consumer: Consumer) -> dict[str, str]:
    return {"Authorization": f"Bearer {make_token(consumer)}"}


@pytest.mark.django_db
def test_the_answer_past_the_limit_says_how_long_to_wait(client: Client, partner: MakePartner) -> None:
    housing = partner(hourly_limit=2).consumer
    headers = headers_of(housing)
    first, second, third = (client.get(URL, headers=headers) for _ in range(3))
    assert [first.status_code, second.status_code, third.status_code] == [200, 200, 429]
    assert third.headers["Content-Type"] == "application/problem+json"
    assert [answer.headers["RateLimit-Policy"] for answer in (first, third)] == ['"hour";q=2;w=3600'] * 2
    assert re.fullmatch(r'"hour";r=1;t=\d+', first.headers["RateLimit"])
    wait = int(third.headers["Retry-After"])
    assert WINDOW_SECONDS - BUCKET_SECONDS <= wait <= WINDOW_SECONDS + BUCKET_SECONDS
    assert third.headers["RateLimit"] == f'"hour";r=0;t={wait}'
    assert str(wait) in third.json()["detail"]
    assert requests_this_hour(housing.pk) == 3


@pytest.mark.django_db
def test_a_limit_belongs_to_its_consumer_and_to_no_address(client: Client, partner: MakePartner) -> None:
    housing, library = partner("Housing", hourly_limit=1), partner("Library", hourly_limit=1)
    headers = headers_of(housing.consumer)
    assert client.get(URL, headers=headers).status_code == 200
    another_token = headers_of(housing.consumer)
    assert client.get(URL, headers=another_token, REMOTE_ADDR="192.0.2.9").status_code == 429
    assert client.get(URL, headers=headers_of(library.consumer)).status_code == 200
    Consumer.objects.filter(pk=housing.consumer.pk).update(hourly_limit=2)
    assert client.get(URL, headers=headers).status_code == 200


@pytest.mark.django_db
def test_every_authenticated_answer_says_how_its_consumer_stands(
    client: Client, partner: MakePartner, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.raise_request_exception = False
    housing = partner(scopes=["calendar:read"]).consumer
    headers = headers_of(housing)

    def broken(*args: object) -> None:
        raise RuntimeError

    answers = {
        200: client.get(URL, headers=headers),
        400: client.get(f"{URL}?what=1", headers=headers),
        403: client.get("/api/v1/sections/", headers=headers),
        404: client.get(f"{URL}none/", headers=headers),
        405: client.post(URL, headers=headers),
        406: client.get(URL, headers={**headers, "Accept": "text/html"}),
        413: client.get(URL, headers=headers, CONTENT_LENGTH="70000"),
    }
    monkeypatch.setattr("registration.api.lists.views.page_of", broken)
    answers[500] = client.get(URL, headers=headers)
    assert {status: answer.status_code for status, answer in answers.items()} == {
        status: status for status in answers
    }
    remaining = [re.findall(r"r=(\d+)", answer.headers["RateLimit"]) for answer in answers.values()]
    assert remaining == [[str(999 - place)] for place in range(len(answers))]
    for status, answer in answers.items():
        if status != 200:
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert answer.json()["status"] == status
            assert answer.json()["detail"]
            assert b"Traceback" not in answer.content
    assert requests_this_hour(housing.pk) == len(answers)


@pytest.mark.django_db
def test_who_has_not_proved_who_they_are_is_told_nothing_and_not_counted(client: Client) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        answer = client.get(URL, headers=headers)
        assert answer.status_code == 401
        assert "RateLimit" not in answer.headers


# --- without a server -------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_without_a_server_partners_are_served_and_each_process_keeps_the_limit(
    client: Client, partner: MakePartner, settings: Settings, tmp_path: Any
) -> None:
    settings.COUNTERS_URL = f"unix://{tmp_path}/none.sock"
    headers = headers_of(partner(hourly_limit=2).consumer)
    assert [client.get(URL, headers=headers).status_code for _ in range(3)] == [200, 200, 429]


def test_a_server_that_is_away_is_left_alone_for_a_while_and_then_asked_again(
    settings: Settings, tmp_path: Any, counting_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    original = rate_limit._count_for_all

    def spy(*args: Any) -> Any:
        asked.append(1)
        return original(*args)

    monkeypatch.setattr(rate_limit, "_count_for_all", spy)
    settings.COUNTERS_URL = away = f"unix://{tmp_path}/none.sock"
    assert [count_request(1, 10).remaining for _ in range(3)] == [9, 8, 7]
    assert len(asked) == 1
    monkeypatch.setitem(rate_limit._pauses, away, time.monotonic())
    count_request(1, 10)
    assert len(asked) == 2
    settings.COUNTERS_URL = counting_server
    assert count_request(1, 10).remaining == 9
