"""Every way in which a third party may fail, over real sockets: the run ends soon, says why, applies nothing wrong, and
the next good run is right."""

from __future__ import annotations

import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from integrations.models import Connection, LoggedRequest, RunPage, SyncRun
from integrations.operations import save_connection
from integrations.simulators.faults import FAULTS, Faults
from integrations.simulators.tokens import CLIENT_ID, CLIENT_SECRET
from integrations.sync.verification import verify_ledger
from integrations.transports import http
from integrations.transports.line import ConnectionLine
from registration.models import LedgerEntry, Student
from tests.integrations.conftest import sync_stream
from tests.integrations.simulated import Simulated, aid_document, simulated

RECORDS, PAGES = 30, 3
# A good run asks for each page once; a failing one for no page more than three times.
MOST_CALLS = 3 * PAGES
MOST_SECONDS = 20
QUICK = {"connect": 1, "read": 0.3, "total": 0.5}
PATIENT = {"connect": 1, "read": 5, "total": 15}


@dataclass(frozen=True)
class Expected:
    """What a run that meets a fault comes to: its status, words of its reason, and how often it asked."""

    status: str = "failed"
    words: tuple[str, ...] = ()
    calls: int = PAGES
    counts: dict[str, int] = field(default_factory=dict)
    timeouts: Mapping[str, float] = field(default_factory=lambda: QUICK)


EXPECTED: dict[str, Expected] = {
    "error500": Expected(words=("answered 500: it failed", "Try again"), calls=3),
    "error500_after": Expected(words=("answered 500: it failed", "Try again"), calls=3),
    "timeout": Expected(words=("did not answer in time", "too slow"), calls=3),
    "slow": Expected("applied", timeouts=PATIENT),
    "drip": Expected(words=("took longer than 0.5 seconds", "too slow"), calls=3),
    "truncated": Expected(words=("broke off", "Compare the connection's settings"), calls=3),
    "malformed": Expected(words=("not JSON", "Compare the connection's settings"), calls=1),
    "html": Expected(words=("a web page, where JSON was expected", "Compare the connection's settings"), calls=1),
    "rate_limit": Expected(words=("answered 429: we ask too often", "ask its owner for a higher limit"), calls=3),
    "missing_page": Expected(words=("announced 30 records and 10 came", "Sync again"), calls=2),
    "loop": Expected(words=("page 2 is the same as the page before it", "paging"), calls=2),
    "duplicate": Expected("applied", calls=2 * PAGES, counts={"copies": RECORDS, "read": 2 * RECORDS}),
    "empty": Expected("held", ("30",), calls=1),
    "wrong_types": Expected("applied"),
    "redirect": Expected(words=("answered 302: it sends us elsewhere", "a login page"), calls=1),
    "huge": Expected(words=("larger than 32 MiB", "smaller pages"), calls=1, timeouts=PATIENT),
    "gzip_bomb": Expected(words=("larger than 32 MiB", "smaller pages"), calls=1, timeouts=PATIENT),
    "expired_token": Expected(words=("answered 401", "Enter the connection's credentials"), calls=1),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a system asks for in one run (Retry-After, a second here) the next run really waits for."""
    monkeypatch.setattr(ConnectionLine, "wait", staticmethod(time.sleep))


@pytest.fixture
def office(students: Any) -> Iterator[Simulated]:
    """An aid office whose feed stands on bills; since then one award has changed there."""
    with simulated(records=RECORDS) as office:
        connect(office)
        first = sync()
        assert (first.status, first.read) == ("applied", RECORDS), first.reason
        assert_bills_say_what_the_source_says(office)
        office.edit(0, amount="123.45")
        yield office


def connect(office: Simulated, **changes: Any) -> Connection:
    guards = {"first_load": "apply", "max_void_share": 0.1, "max_void_count": 2}
    return save_connection(aid_document(office.url, **{"guards": guards, "timeouts": QUICK, **changes}))[0]


def sync() -> SyncRun:
    return sync_stream(Connection.objects.get().streams.get())


def bills() -> dict[str, int]:
    return {
        student.number: student.billing_account.totals().balance
        for student in Student.objects.select_related("billing_account")
    }


def assert_bills_say_what_the_source_says(office: Simulated) -> None:
    """What is paid there, and is no wage, stands on the bill here; nothing else does."""
    paid: Counter[str] = Counter(dict.fromkeys(bills(), 0))
    for award in office.source:
        if award["state"] == "PAID" and award["fund"]["type"] != "work_study":
            paid[award["student"]["number"]] -= round(float(award["amount"]) * 100)
    assert bills() == dict(paid)
    assert verify_ledger().faults == []


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_ends_the_run_soon_with_a_reason_and_applies_nothing_wrong(
    office: Simulated, kind: str
) -> None:
    expected = EXPECTED[kind]
    connect(office, timeouts=expected.timeouts)
    before, entries = bills(), list(LedgerEntry.objects.order_by("id").values())
    office.suffer(f"{kind}:0.2" if kind == "wrong_types" else kind)
    asked, start = office.calls, time.monotonic()
    run = sync()
    assert time.monotonic() - start < MOST_SECONDS
    assert run.status == expected.status, run.reason
    assert office.calls - asked == expected.calls <= MOST_CALLS
    assert {name: getattr(run, name) for name in expected.counts} == expected.counts
    for word in expected.words:
        assert word in run.reason
    if run.status == "failed":
        assert run.reason.startswith("Reading page ")
        assert "aid_awards from Financial aid office failed: " in run.reason
        assert "Nothing was applied." in run.reason
        assert not run.changes.exists()
        assert not RunPage.objects.filter(run=run).exists()
    if run.status != "applied":
        assert bills() == before
        assert list(LedgerEntry.objects.order_by("id").values()) == entries
    assert verify_ledger().faults == []

    office.suffer()
    good = sync()
    assert good.status == "applied", good.reason
    assert_bills_say_what_the_source_says(office)


def test_a_single_bad_record_is_rejected_and_the_rest_goes_on(office: Simulated) -> None:
    office.edit(0, amount=["123.45"])
    office.edit(1, amount="77.00", state="PAID", fund={"code": "PELL", "name": "Pell", "type": "grant"})
    run = sync()
    assert (run.status, run.rejected, run.modified, run.voided) == ("applied", 1, 1, 0), run.reason
    assert run.rejections.get().key == "A0000001#1"
    assert verify_ledger().faults == []
    office.edit(0, amount="123.45")
    assert sync().status == "applied"
    assert_bills_say_what_the_source_says(office)


def test_records_of_wrong_types_are_rejected_one_by_one_and_void_nothing(office: Simulated) -> None:
    office.suffer("wrong_types:0.3")
    run = sync()
    assert run.status == "applied", run.reason
    assert 0 < run.rejected < RECORDS
    assert (run.voided, run.absent) == (0, 0)
    assert run.read == RECORDS


def test_pauses_between_attempts_are_what_the_system_asks_for(office: Simulated, pauses: list[float]) -> None:
    office.suffer("rate_limit")
    sync()
    assert pauses == [1.0, 1.0]


def suffer_now_and_then(office: Simulated, kind: str, *, never_in_a_row: int) -> None:
    """Have a fault that strikes the next call and some of those after it, with dice that are thrown kindly."""
    for seed in range(1000):
        dice = Faults(((kind, 0.3),), seed)
        strikes = "".join("x" if dice.strikes() else "." for _ in range(12))
        if strikes.startswith("x") and "x" * never_in_a_row not in strikes:
            office.system.faults = Faults(((kind, 0.3),), seed)
            return
    raise AssertionError("No such dice.")


@pytest.mark.parametrize("kind", ["error500", "truncated", "timeout", "rate_limit"])
def test_a_fault_that_passes_is_ridden_out_by_asking_again(office: Simulated, kind: str) -> None:
    suffer_now_and_then(office, kind, never_in_a_row=3)
    run = sync()
    assert run.status == "applied", run.reason
    assert office.calls > PAGES
    assert_bills_say_what_the_source_says(office)


@pytest.mark.parametrize("kind", ["huge", "gzip_bomb"])
def test_what_is_too_large_takes_no_more_memory_than_the_cap(office: Simulated, kind: str) -> None:
    connect(office, timeouts=PATIENT)
    office.suffer(kind)
    tracemalloc.start()
    try:
        assert sync().status == "failed"
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * http.MAX_BODY_BYTES


def test_an_expired_token_of_the_token_endpoint_is_renewed_and_the_run_goes_on(office: Simulated) -> None:
    auth = {
        "type": "oauth2",
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "token_url": f"{office.url}/oauth/token",
    }
    connect(office, auth=auth)
    suffer_now_and_then(office, "expired_token", never_in_a_row=2)
    run = sync()
    assert run.status == "applied", run.reason
    assert office.system.tokens.given > 1
    assert_bills_say_what_the_source_says(office)


@pytest.mark.parametrize("seed", range(4))
def test_whatever_goes_wrong_together_bills_are_as_before_or_as_the_source_says(
    students: Any, seed: int
) -> None:
    with simulated(records=RECORDS, seed=seed) as office:
        connect(office)
        assert sync().status == "applied"
        kinds = [kind for kind in FAULTS if kind not in ("drip", "huge", "gzip_bomb", "wrong_types")]
        office.suffer(*(f"{kind}:0.05" for kind in kinds if kind != "duplicate"))
        for turn in range(6):
            before = bills()
            office.edit(0, amount=f"{100 + turn}.00")
            run = sync()
            assert run.status in ("applied", "failed", "held")
            if run.status == "applied":
                assert_bills_say_what_the_source_says(office)
            else:
                assert bills() == before
                assert run.reason
        office.suffer()
        assert sync().status == "applied"
        assert_bills_say_what_the_source_says(office)


def test_each_attempt_is_in_the_request_log(office: Simulated) -> None:
    LoggedRequest.objects.all().delete()
    office.suffer("error500")
    run = sync()
    rows = LoggedRequest.objects.order_by("id").values_list("run_id", "attempt", "status")
    assert list(rows) == [(run.pk, number, 500) for number in (1, 2, 3)]
