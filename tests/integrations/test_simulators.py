"""The simulated systems: what they serve, what they refuse, and every way in which they fail, over real HTTP."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
import urllib3
from django.core.management import call_command
from django.core.management.base import CommandError
from hypothesis import given
from hypothesis import strategies as st

from integrations.connectors.links import next_target
from integrations.simulators import FEEDS, SYSTEMS
from integrations.simulators.aid import TOKEN
from integrations.simulators.faults import FAULTS, Faults, NotAFault, parse_fault
from integrations.simulators.housing import PASSWORD, USERNAME
from integrations.simulators.server import Load, Pace, serve
from integrations.simulators.tokens import CLIENT_ID, CLIENT_SECRET, MAX_TOKENS, TokenEndpoint
from tests.integrations.simulated import Simulated, simulated

pytestmark = pytest.mark.any_database  # systems outside have none of ours

ROOT = Path(__file__).resolve().parents[2]
# Those that are read by GET; StarRez has tests of its own.
PATHS = {"aid": "/awards", "housing": "/api/assignments"}
CREDENTIALS: dict[str, dict[str, Any]] = {
    "aid": {"headers": {"Authorization": f"Bearer {TOKEN}"}},
    "housing": {"auth": (USERNAME, PASSWORD)},
}

HEAD_OF_A_CALL = f"GET /awards HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()


def ask(office: Simulated, query: str = "", **changes: Any) -> requests.Response:
    """One answer to a caller who has a credential."""
    url = f"{office.url}{PATHS[office.system.name]}{query}"
    asked = {"allow_redirects": False, **CREDENTIALS[office.system.name], **changes}
    return requests.get(url, timeout=asked.pop("timeout", 5), **asked)


def records_in(answer: requests.Response) -> list[dict[str, Any]]:
    body = answer.json()
    records: list[dict[str, Any]] = body["items"] if "items" in body else body["data"]
    return records


# --- data -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("how", ["offset", "link"])
def test_every_record_is_in_the_pages_once(name: str, how: str) -> None:
    with simulated(name, records=25) as office:
        found, query = [], "?limit=7"
        while True:
            answer = ask(office, query)
            found += records_in(answer)
            target = next_target(answer.headers["Link"])
            if not target:
                break
            query = f"?limit=7&offset={len(found)}" if how == "offset" else f"?{target.partition('?')[2]}"
        assert found == office.records
        assert len({json.dumps(record, sort_keys=True) for record in found}) == 25


@pytest.mark.parametrize("name", PATHS)
def test_the_same_seed_makes_the_same_records_and_another_one_others(name: str) -> None:
    def made(seed: int) -> list[dict[str, Any]]:
        return FEEDS[name](records=40, seed=seed, students=12).records

    assert made(3) == made(3) != made(4)


def test_housing_filters_by_term_state_and_moment() -> None:
    with simulated("housing", records=60) as office:
        everything = office.records
        filters: dict[str, Callable[[dict[str, Any]], bool]] = {
            "?term=2026FA": lambda booking: booking["term"] == "2026FA",
            "?status=InRoom": lambda booking: booking["status"] == "InRoom",
            "?modified_since=2026-06-01T00:00:00Z": lambda booking: booking["modified_at"] >= "2026-06",
        }
        for query, fits in filters.items():
            answer = ask(office, query)
            expected = [booking for booking in everything if fits(booking)]
            assert 0 < len(expected) < 60
            assert records_in(answer) == expected
            assert answer.json()["count"] == len(expected)


def test_aid_filters_by_year_term_and_moment() -> None:
    with simulated(records=60) as office:
        assert len(records_in(ask(office, "?year=2026"))) == 60
        assert records_in(ask(office, "?year=2025")) == []
        fall = records_in(ask(office, "?term=2026FA"))
        assert {award["term"] for award in fall} == {"2026FA"}
        since = records_in(ask(office, "?updated_since=2026-10-01T00:00:00%2B00:00"))
        assert 0 < len(since) < 60
        assert min(award["updated_at"] for award in since) >= "2026-10-01"


# --- what they refuse -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("?colour=red", "no parameter 'colour'"),
        ("?limit=0", "limit is a whole number from 1"),
        ("?limit=ten", "limit is a whole number"),
        ("?limit=100000", "limit is a whole number"),
        ("?offset=-1", "offset is a whole number"),
        ("?limit=5&limit=6", "limit is given twice"),
        ("?term=1999XX", "term is one of 2026FA"),
    ],
)
def test_a_parameter_that_is_unknown_or_of_another_type_is_refused(name: str, query: str, words: str) -> None:
    with simulated(name) as office:
        answer = ask(office, query)
    assert (answer.status_code, words in answer.json()["error"]) == (400, True), answer.text


@pytest.mark.parametrize(
    "query",
    ["?page=1&offset=0", "?cursor=10&page=2", "?updated_since=yesterday", "?updated_since=2026-01-01"],
)
def test_a_page_is_asked_for_in_one_way_and_a_moment_says_its_offset(query: str) -> None:
    with simulated() as office:
        assert ask(office, query).status_code == 400


@pytest.mark.parametrize("name", PATHS)
def test_nobody_is_let_in_without_a_credential(name: str) -> None:
    nobody: dict[str, Any] = {"headers": {}, "auth": None}
    others: list[dict[str, Any]] = [{}, {"headers": {"Authorization": "Bearer x"}}, {"auth": ("a", "b")}]
    with simulated(name) as office:
        for wrong in others:
            answer = ask(office, **{**nobody, **wrong})
            assert answer.status_code == 401
            assert "WWW-Authenticate" in answer.headers


@pytest.mark.parametrize("name", PATHS)
def test_other_paths_methods_and_sizes_are_refused(name: str) -> None:
    with simulated(name) as office:
        assert requests.get(f"{office.url}/nothing", timeout=5).status_code == 404
        url = f"{office.url}{PATHS[name]}"
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            answer = requests.request(method, url, timeout=5, **CREDENTIALS[name])
            assert (answer.status_code, answer.headers["Allow"]) == (405, "GET")
        assert requests.post(url, headers={"Content-Length": "9999999"}, timeout=5).status_code == 413


# --- the token endpoint -----------------------------------------------------------------------------------


def ask_for_token(office: Simulated, form: dict[str, str] | None = None, **changes: Any) -> requests.Response:
    form = {"grant_type": "client_credentials"} if form is None else form
    return requests.post(f"{office.url}/oauth/token", data=form, timeout=5, **changes)


def in_body(**changes: str) -> dict[str, str]:
    return {
        "grant_type": "client_credentials",
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        **changes,
    }


@pytest.mark.parametrize("name", PATHS)
def test_a_token_of_the_endpoint_is_good_until_it_is_revoked(name: str) -> None:
    with simulated(name) as office:
        answer = ask_for_token(office, in_body(scope="records.read"))
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "no-store"
        token = answer.json()["access_token"]
        assert (answer.json()["expires_in"], answer.json()["scope"]) == (3600, "records.read")
        assert ask(office, headers={"Authorization": f"Bearer {token}"}, auth=None).status_code == 200
        office.system.tokens.revoke(token)
        refused = ask(office, headers={"Authorization": f"Bearer {token}"}, auth=None)
        assert (refused.status_code, "invalid_token" in refused.headers["WWW-Authenticate"]) == (401, True)


@pytest.mark.parametrize(
    ("form", "changes", "status", "error"),
    [
        (in_body(client_secret="wrong"), {}, 401, "invalid_client"),
        (in_body(client_id="wrong"), {}, 401, "invalid_client"),
        ({"grant_type": "client_credentials"}, {}, 401, "invalid_client"),
        ({"grant_type": "client_credentials"}, {"auth": (CLIENT_ID, "wrong")}, 401, "invalid_client"),
        # requests does not encode the parts, as RFC 6749 section 2.3.1 wants it: then it is another secret.
        (
            {"grant_type": "client_credentials"},
            {"auth": (CLIENT_ID, CLIENT_SECRET.encode())},
            401,
            "invalid_client",
        ),
        (
            {"grant_type": "client_credentials"},
            {"headers": {"Authorization": "Basic !"}},
            401,
            "invalid_client",
        ),
        (
            {"grant_type": "client_credentials"},
            {"headers": {"Authorization": "Digest x"}},
            401,
            "invalid_client",
        ),
        (in_body(), {"headers": {"Authorization": "Basic eDp5"}}, 400, "invalid_request"),
        (in_body(grant_type="password"), {}, 400, "unsupported_grant_type"),
        (in_body(scope="everything"), {}, 400, "invalid_scope"),
        (in_body(colour="red"), {}, 400, "invalid_request"),
        (in_body(), {"headers": {"Content-Type": "application/json"}}, 400, "invalid_request"),
    ],
)
def test_the_token_endpoint_checks_client_and_request(
    form: dict[str, str], changes: Any, status: int, error: str
) -> None:
    with simulated() as office:
        answer = ask_for_token(office, form, **changes)
    assert (answer.status_code, answer.json()["error"]) == (status, error)


def test_a_token_ends_when_it_said_and_no_more_are_kept_than_fit() -> None:
    now = [0.0]
    endpoint = TokenEndpoint(1, 60, clock=lambda: now[0])
    head = {"content-type": "application/x-www-form-urlencoded"}
    body = requests.Request("POST", "http://x", data=in_body()).prepare().body
    assert isinstance(body, str)
    given = [endpoint.answer("POST", head, body.encode())[1]["access_token"] for _ in range(MAX_TOKENS + 1)]
    assert [endpoint.is_good(token) for token in (given[0], given[1], given[-1])] == [False, True, True]
    now[0] = 60.0
    assert not endpoint.is_good(given[-1])


# --- faults -----------------------------------------------------------------------------------------------


def _answers_500(office: Simulated) -> None:
    assert ask(office).status_code == 500


def _never_answers(office: Simulated) -> None:
    with pytest.raises(requests.ReadTimeout):
        ask(office, timeout=0.3)


def _answers_late(office: Simulated) -> None:
    start = time.monotonic()
    assert len(records_in(ask(office))) == 30
    assert time.monotonic() - start >= office.server.pace.slow


def _drips(office: Simulated) -> None:
    start = time.monotonic()
    answer = ask(office, stream=True)
    assert answer.status_code == 200
    assert len(answer.raw.read(5)) == 5
    assert time.monotonic() - start >= 4 * office.server.pace.drip
    answer.close()


def _breaks_off(office: Simulated) -> None:
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        ask(office)


def _ends_in_the_middle(office: Simulated) -> None:
    answer = ask(office)
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    with pytest.raises(requests.exceptions.JSONDecodeError):
        answer.json()


def _is_a_page(office: Simulated) -> None:
    answer = ask(office)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert answer.text.startswith("<!DOCTYPE html>")


def _is_throttled(office: Simulated) -> None:
    answer = ask(office)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")


def _lacks_a_page(office: Simulated) -> None:
    first = ask(office, "?limit=10")
    assert records_in(first) == office.records[10:20]
    assert 30 in first.json().values()  # which is what it announces


def _goes_round(office: Simulated) -> None:
    first = ask(office, "?limit=10")
    second = ask(office, f"?{next_target(first.headers['Link']).partition('?')[2]}")
    assert records_in(first) == records_in(second) == office.records[:10]
    assert next_target(second.headers["Link"]) == next_target(first.headers["Link"])


def _has_all_twice(office: Simulated) -> None:
    found = records_in(ask(office))
    assert len(found) == 60
    assert found[0::2] == found[1::2]


def _has_nothing(office: Simulated) -> None:
    answer = ask(office)
    assert (answer.status_code, records_in(answer), next_target(answer.headers["Link"])) == (200, [], "")


def _has_wrong_types(office: Simulated) -> None:
    right = FEEDS[office.system.name](records=30, seed=1, students=12).records
    for spoiled, record in zip(records_in(ask(office)), right, strict=True):
        (name,) = [name for name in record if spoiled[name] != record[name]]
        assert type(spoiled[name]) is not type(record[name])


def _leads_elsewhere(office: Simulated) -> None:
    answer = ask(office)
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("https://login.example.edu/")


def _is_huge(office: Simulated) -> None:
    answer = ask(office, stream=True)
    assert len(answer.raw.read(40 * 2**20)) == 40 * 2**20
    answer.close()


def _unpacks_to_much(office: Simulated) -> None:
    answer = ask(office, stream=True)
    unpacked = sum(len(answer.raw.read(2**20, decode_content=True)) for _ in range(40))
    assert (answer.headers["Content-Encoding"], unpacked) == ("gzip", 40 * 2**20)
    assert answer.raw.tell() <= 2**20
    answer.close()


def _says_that_the_token_has_expired(office: Simulated) -> None:
    token = ask_for_token(office, in_body()).json()["access_token"]
    answer = ask(office, headers={"Authorization": f"Bearer {token}"}, auth=None)
    assert (answer.status_code, office.system.tokens.is_good(token)) == (401, False)


SEEN: dict[str, Callable[[Simulated], None]] = {
    "error500": _answers_500,
    "error500_after": _answers_500,
    "timeout": _never_answers,
    "slow": _answers_late,
    "drip": _drips,
    "truncated": _breaks_off,
    "malformed": _ends_in_the_middle,
    "html": _is_a_page,
    "rate_limit": _is_throttled,
    "missing_page": _lacks_a_page,
    "loop": _goes_round,
    "duplicate": _has_all_twice,
    "empty": _has_nothing,
    "wrong_types": _has_wrong_types,
    "redirect": _leads_elsewhere,
    "huge": _is_huge,
    "gzip_bomb": _unpacks_to_much,
    "expired_token": _says_that_the_token_has_expired,
}


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("kind", FAULTS)
def test_each_fault_is_seen_by_whoever_asks(name: str, kind: str) -> None:
    with simulated(name, kind) as office:
        SEEN[kind](office)


@pytest.mark.parametrize("kind", ["huge", "gzip_bomb"])
def test_no_fault_makes_the_simulator_grow(kind: str) -> None:
    with (
        simulated("aid", kind, records=1) as office,
        socket.create_connection(("127.0.0.1", office.server.server_port), timeout=10) as caller,
    ):
        caller.sendall(HEAD_OF_A_CALL)
        caller.recv(1)
        tracemalloc.start()
        for _ in range(20):
            caller.recv(2**16)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 8 * 2**20


def test_a_held_answer_is_let_go_when_the_simulator_stops() -> None:
    with simulated("aid", "timeout", pace=Pace(hold=3600)) as office:
        caller = socket.create_connection(("127.0.0.1", office.server.server_port), timeout=10)
        caller.sendall(HEAD_OF_A_CALL)
        while not office.calls:
            time.sleep(0.005)
        start = time.monotonic()
    assert caller.recv(1) == b""
    caller.close()
    assert time.monotonic() - start < 2


def test_a_fault_strikes_the_same_calls_for_the_same_seed() -> None:
    def struck(seed: int) -> list[bool]:
        faults = Faults((("error500", 0.3),), seed)
        return [bool(faults.strikes()) for _ in range(1000)]

    assert struck(1) == struck(1) != struck(2)
    assert 250 < sum(struck(1)) < 350


def test_several_faults_strike_by_themselves_and_one_that_strikes_records_spoils_their_share() -> None:
    with simulated("aid", "error500:0.2", "wrong_types:0.1", records=1000) as office:
        right = FEEDS["aid"](records=1000, seed=1, students=12).records
        answers = [ask(office, "?limit=1000") for _ in range(40)]
        assert {answer.status_code for answer in answers} == {200, 500}
        good = next(answer for answer in answers if answer.ok)
        spoiled = sum(one != other for one, other in zip(records_in(good), right, strict=True))
        assert 60 < spoiled < 140


@given(st.sampled_from(sorted(FAULTS)), st.floats(0, 1, exclude_min=True))
def test_a_fault_is_written_as_kind_and_rate(kind: str, rate: float) -> None:
    assert parse_fault(kind) == (kind, 1.0)
    assert parse_fault(f"{kind}:{rate!r}") == (kind, rate)


@pytest.mark.parametrize(
    "text", ["", "fire", "slow:", "slow:0", "slow:1.1", "slow:-1", "slow:nan", "slow:x", "slow:0.1:2"]
)
def test_what_is_no_fault_is_refused_in_words(text: str) -> None:
    with pytest.raises(NotAFault, match=r"There is no fault|The rate of slow is a number"):
        parse_fault(text)
    with pytest.raises(CommandError, match=r"There is no fault|The rate of slow is a number"):
        call_command("simulate", "--fault", text)


# --- as a process, with latency and under load ------------------------------------------------------------


def start(*arguments: str) -> tuple[subprocess.Popen[str], str]:
    child = subprocess.Popen(
        [sys.executable, "manage.py", "simulate", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    word, address = child.stdout.readline().split()
    assert word == "ready"
    return child, address


def test_a_process_with_faults_latency_and_load_stops_at_once_and_says_what_it_served() -> None:
    child, address = start(
        "--system", "housing", "--fault", "timeout:0.0001", "--fault", "slow:0.0001", "--latency", "20",
        "--load", "--records", "300", "--seed", "7",
    )  # fmt: skip
    begin = time.monotonic()
    for _ in range(5):
        answer = requests.get(f"{address}/api/assignments?limit=300", auth=(USERNAME, PASSWORD), timeout=10)
        assert len(answer.json()["items"]) == 300
    assert time.monotonic() - begin >= 5 * 0.01
    child.send_signal(signal.SIGTERM)
    out, err = child.communicate(timeout=15)
    assert (child.returncode, err) == (0, "")
    assert out.startswith("served 5 answers, ")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--latency", "-1"),
        ("--latency", "soon"),
        ("--records", "-1"),
        ("--students", "0"),
        ("--token-seconds", "0"),
    ],
)
def test_a_number_that_is_none_is_refused(arguments: tuple[str, str]) -> None:
    with pytest.raises(CommandError, match="a whole number from"):
        call_command("simulate", *arguments)


def test_in_load_mode_answers_are_kept_for_whoever_is_let_in() -> None:
    system, load = SYSTEMS["aid"](records=10, seed=1, students=12), Load(is_keeping=True)
    pool = urllib3.PoolManager()
    server = serve(system, 0, load=load)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/awards"
        good = {"Authorization": f"Bearer {TOKEN}"}
        first, second = (pool.request("GET", url, headers=good) for _ in range(2))
        assert first.data == second.data
        assert len(load._kept) == 1
        assert pool.request("GET", url).status == 401
        assert load.requests == 3
    finally:
        server.stop()
        thread.join()
        server.server_close()
