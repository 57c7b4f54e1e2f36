"""More than 10 failed client authentications a minute: 429, for that client at that address and for that address."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.test import Client
from pytest_django.fixtures import Settings

from apiauth.counters import counters, key
from apiauth.throttle import LIMIT, Attempt, count_failure, seconds_to_wait
from tests.apiauth.conftest import Ask, MakePartner, basic

pytestmark = pytest.mark.django_db

URL = "/oauth/token/"
ROOT = Path(__file__).resolve().parents[2]
GRANT = {"grant_type": "client_credentials"}
SERVERS = ["counting", "away"]


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, settings: Settings, tmp_path: Any) -> str:
    """A server that counts for everybody, and none: then each process counts for itself."""
    if request.param == "away":
        settings.COUNTERS_URL = f"unix://{tmp_path}/none.sock"
    return str(request.param)


def statuses(ask: Ask, times: int, auth: str, **extra: Any) -> Counter[int]:
    return Counter(ask(URL, GRANT, auth, **extra).status_code for _ in range(times))


def test_the_eleventh_failure_waits_and_so_does_the_right_secret(
    ask: Ask, partner: MakePartner, server: str
) -> None:
    housing = partner()
    wrong = basic(housing.consumer.client_id, "wrong")
    assert statuses(ask, 10, wrong) == {401: 10}
    assert ask(URL, GRANT, housing.basic).status_code == 200  # 10 are not more than 10
    answer: Any = ask(URL, GRANT, wrong)
    assert (answer.status_code, answer.json()["error"]) == (429, "temporarily_unavailable")
    assert 0 < int(answer.headers["Retry-After"]) <= 60
    assert answer.headers["Cache-Control"] == "no-store"
    assert ask(URL, GRANT, housing.basic).status_code == 429


def test_the_same_client_at_another_address_is_untouched(ask: Ask, partner: MakePartner, server: str) -> None:
    housing = partner()
    assert statuses(ask, 15, basic(housing.consumer.client_id, "wrong"), REMOTE_ADDR="192.0.2.1")[429] == 5
    assert ask(URL, GRANT, housing.basic, REMOTE_ADDR="192.0.2.2").status_code == 200


def test_guessing_through_many_clients_from_one_address_waits_too(
    ask: Ask, partner: MakePartner, server: str
) -> None:
    clients = [basic(f"guess-{number}", "wrong") for number in range(11)]
    assert [ask(URL, GRANT, auth).status_code for auth in clients] == [401] * 10 + [429]
    assert ask(URL, GRANT, partner().basic).status_code == 429
    assert ask(URL, GRANT, partner("Library").basic, REMOTE_ADDR="192.0.2.2").status_code == 200


def test_the_wait_that_is_told_is_long_enough_and_no_longer(
    ask: Ask, partner: MakePartner, server: str
) -> None:
    housing = partner()
    with time_machine.travel(1_800_000_000, tick=False) as clock:
        for _ in range(11):
            refusal = ask(URL, GRANT, basic(housing.consumer.client_id, "wrong"))
            clock.shift(1)
        wait = int(refusal.headers["Retry-After"])
        assert wait == 50  # the first of the eleven leaves the minute then
        clock.shift(wait - 2)
        assert ask(URL, GRANT, housing.basic).status_code == 429
        clock.shift(1)
        assert ask(URL, GRANT, housing.basic).status_code == 200


def test_whoever_waits_does_not_wait_longer_for_asking_again(server: str) -> None:
    attempt = Attempt(URL, "housing", "192.0.2.1")
    with time_machine.travel(1_800_000_000, tick=False) as clock:
        for _ in range(11):
            count_failure(attempt)
        for _ in range(5):
            clock.shift(10)
            seconds_to_wait(attempt)
        assert seconds_to_wait(attempt) == 10
        clock.shift(10)
        assert seconds_to_wait(attempt) == 0


def test_an_ipv6_customer_is_one_source_however_often_it_changes_its_address(ask: Ask, db: None) -> None:
    wrong = basic("nobody", "wrong")
    found = [ask(URL, GRANT, wrong, REMOTE_ADDR=f"2001:db8:1:1::{n:x}").status_code for n in range(1, 12)]
    assert found == [401] * 10 + [429]
    assert ask(URL, GRANT, wrong, REMOTE_ADDR="2001:db8:1:2::1").status_code == 401


def test_what_is_no_guess_is_not_counted(ask: Ask, partner: MakePartner, server: str) -> None:
    housing, suspended = partner(), partner("Library", status="suspended")
    for _ in range(20):
        assert ask(URL, GRANT).status_code == 401
        assert ask(URL, {}, housing.basic).status_code == 400
        assert ask(URL, GRANT | {"scope": "x"}, housing.basic).status_code == 400
        assert ask(URL, GRANT, suspended.basic).status_code == 401
    assert ask(URL, GRANT, housing.basic).status_code == 200


def test_no_other_endpoint_is_a_way_around_and_none_uses_up_another_s_tries(
    ask: Ask, partner: MakePartner
) -> None:
    housing = partner()
    wrong = basic(housing.consumer.client_id, "wrong")
    for url in ("/oauth/introspect/", "/oauth/revoke_token/"):
        assert [ask(url, {"token": "x"}, wrong).status_code for _ in range(12)] == [401] * 10 + [429] * 2
    assert ask(URL, GRANT, housing.basic).status_code == 200


# --- addresses --------------------------------------------------------------------------------------------


def test_a_header_that_the_caller_writes_is_no_way_around(ask: Ask, partner: MakePartner) -> None:
    wrong = basic(partner().consumer.client_id, "wrong")
    found = [ask(URL, GRANT, wrong, HTTP_X_FORWARDED_FOR=f"198.51.100.{n}").status_code for n in range(11)]
    assert found == [401] * 10 + [429]


def test_behind_a_proxy_of_ours_its_word_counts_and_the_caller_s_does_not(
    ask: Ask, partner: MakePartner, settings: Settings
) -> None:
    settings.TRUSTED_PROXY_COUNT = 1
    housing = partner()
    wrong = basic(housing.consumer.client_id, "wrong")
    found = [
        ask(URL, GRANT, wrong, HTTP_X_FORWARDED_FOR=f"198.51.100.{n}, 192.0.2.1").status_code
        for n in range(11)
    ]
    assert found == [401] * 10 + [429]
    assert ask(URL, GRANT, housing.basic, HTTP_X_FORWARDED_FOR="192.0.2.2").status_code == 200


# --- exactly ----------------------------------------------------------------------------------------------


def test_of_any_number_at_once_ten_are_told_wrong_and_the_others_to_wait() -> None:
    def fail(number: int) -> bool:
        return count_failure(Attempt(URL, "housing", "192.0.2.1")) > 0

    with ThreadPoolExecutor(16) as pool:
        waits = Counter(pool.map(fail, range(100)))
    assert waits == {False: LIMIT, True: 90}


# Fails as often as it is told, and prints how often it was told to wait.
FAILING = """
import django, sys
django.setup()
from django.conf import settings
from apiauth.throttle import Attempt, count_failure
settings.COUNTERS_URL, settings.COUNTERS_PREFIX = sys.argv[1:3]
attempts = [count_failure(Attempt("/oauth/token/", "housing", "192.0.2.1")) for _ in range(25)]
print(sum(wait > 0 for wait in attempts))
"""


def test_processes_share_one_count(counting_server: str, settings: Settings) -> None:
    command = [sys.executable, "-c", FAILING, counting_server, settings.COUNTERS_PREFIX]
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings"}
    started = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, cwd=ROOT) for _ in range(4)]
    told_to_wait = sum(int(process.communicate(timeout=60)[0]) for process in started)
    assert told_to_wait == 4 * 25 - LIMIT


def test_a_count_is_gone_after_its_minute(counting_server: str, settings: Settings) -> None:
    count_failure(Attempt(URL, "housing", "192.0.2.1"))
    left = counters().keys(f"{key()}*")
    assert len(left) == 2
    assert all(0 < counters().ttl(name) <= 60 for name in left)


def test_bearer_tokens_are_no_client_authentication(client: Client, ask: Ask, partner: MakePartner) -> None:
    for _ in range(15):
        assert client.get("/api/v1/terms/", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert ask(URL, GRANT, partner().basic).status_code == 200
