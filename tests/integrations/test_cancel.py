"""A run that is cancelled stops within two seconds, whatever it waits for, leaves nothing behind, and says who stopped it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.db import connection as database
from werkzeug import Request, Response

from audit.context import Actor, acting
from audit.models import AuditEvent
from integrations.decisions import cancel_run
from integrations.models import (
    Alert,
    Breaker,
    Change,
    LoggedRequest,
    RejectedRecord,
    RunLease,
    RunPage,
    Stream,
    SyncRun,
)
from integrations.models.run import RunTrigger
from integrations.operations import request_run, save_connection
from integrations.sync.runner import execute_run
from integrations.transports.http import HttpTransport
from integrations.transports.interruption import pause
from integrations.transports.line import ConnectionLine
from registration.models import LedgerEntry
from tests.integrations.conftest import sync_stream
from tests.integrations.feed import Feed, award, may_reach
from tests.processes import ROOT, environment
from tests.university import make_students, make_terms

SECONDS_TO_STOP = 2.0
DEADLINE_SECONDS = 30
PERSON = Actor(kind="user", name="rita")


@dataclass
class Slow:
    """A feed whose second page does not come. `reached` is set when it has been asked for."""

    feed: Feed
    reached: threading.Event = field(default_factory=threading.Event)
    is_over: threading.Event = field(default_factory=threading.Event)

    def hold(self, request: Request) -> Response:
        """No answer at all."""
        if request.args.get("page") == "2":
            self.reached.set()
            self.is_over.wait(DEADLINE_SECONDS)
        return Response(json.dumps(self.feed.page(request)))

    def drip(self, request: Request) -> Response:
        """An answer that never ends: a byte now and then keeps every single read short."""
        if request.args.get("page") != "2":
            return Response(json.dumps(self.feed.page(request)))
        self.reached.set()
        return Response(self._bytes(), content_type="application/json")

    def _bytes(self) -> Iterator[bytes]:
        while not self.is_over.wait(0.1):
            yield b" "

    def ask_to_wait(self, request: Request) -> Response:
        """Asks to be left alone for half a minute."""
        if request.args.get("page") != "2":
            return Response(json.dumps(self.feed.page(request)))
        self.reached.set()
        return Response("", status=429, headers={"Retry-After": "30"})


WAITS: dict[str, Callable[[Slow], Callable[[Request], Response]]] = {
    "an answer that does not come": lambda slow: slow.hold,
    "an answer that does not end": lambda slow: slow.drip,
    "a Retry-After": lambda slow: slow.ask_to_wait,
}


@pytest.fixture
def slow(transactional_db: None, feed: Feed, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    """Two awards on bills; then the first of them changes, and a rejected one comes with it."""
    monkeypatch.setattr(HttpTransport, "wait", staticmethod(pause))
    monkeypatch.setattr(ConnectionLine, "wait", staticmethod(pause))
    make_terms()
    make_students(3)
    stream = save_connection(feed.document())[0].streams.get()
    feed.awards = [award(1), award(2)]
    assert sync_stream(stream).status == "applied"
    feed.page_size = 2
    feed.awards = [award(1, amount="1.00"), award(3, amount="odd"), award(2)]
    slow = Slow(feed)
    yield slow
    slow.is_over.set()


def cancelled_while(run: SyncRun, slow: Slow, is_running: Callable[[], bool]) -> float:
    """Cancel the run once it waits, and return how long it took until whoever ran it was done."""
    assert slow.reached.wait(DEADLINE_SECONDS)
    assert RunPage.objects.filter(run=run).count() == 1
    with acting(PERSON):
        cancel_run(run, reason="the wrong year")
    start = time.monotonic()
    while is_running() and time.monotonic() - start < DEADLINE_SECONDS:
        time.sleep(0.01)
    return time.monotonic() - start


def check_nothing_is_left(run: SyncRun) -> None:
    run.refresh_from_db()
    assert (run.status, run.reason) == ("cancelled", "Cancelled by rita: the wrong year")
    for model in (Change, RejectedRecord, RunPage, RunLease):
        assert not model._default_manager.filter(run=run).exists(), model
    assert list(LedgerEntry.objects.values_list("amount_minor", "state")) == [(10_000, "posted")] * 2
    assert Alert.objects.count() == 0
    event = AuditEvent.objects.get(action="sync_run.cancelled")
    assert (event.actor_name, event.reason) == ("rita", "the wrong year")
    assert not Breaker.objects.filter(failures__gt=0).exists()


def work_on(run: SyncRun) -> threading.Thread:
    """A thread that does the run, as a worker does."""

    def work() -> None:
        try:
            execute_run(run.pk)
        finally:
            database.close()

    worker = threading.Thread(target=work)
    worker.start()
    return worker


def wait_for(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("wait", WAITS)
def test_a_cancelled_run_stops_within_two_seconds_whatever_it_waits_for(slow: Slow, wait: str) -> None:
    slow.feed.answer = WAITS[wait](slow)
    run = request_run(Stream.objects.get(), RunTrigger.COMMAND)
    worker = work_on(run)
    assert cancelled_while(run, slow, worker.is_alive) < SECONDS_TO_STOP
    check_nothing_is_left(run)
    last = LoggedRequest.objects.filter(run=run).order_by("id").last()
    assert last is not None
    assert last.error == ("the run was stopped while it waited" if wait != "a Retry-After" else last.error)


def test_a_process_that_syncs_ends_within_two_seconds_of_being_cancelled(slow: Slow) -> None:
    slow.feed.answer = slow.hold
    process = subprocess.Popen(
        [sys.executable, "manage.py", "sync", "financial-aid", "--json"],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert slow.reached.wait(DEADLINE_SECONDS)
    run = SyncRun.objects.live().get()
    seconds = cancelled_while(run, slow, lambda: process.poll() is None)
    said: Any = json.loads(process.communicate(timeout=DEADLINE_SECONDS)[0])
    # Two seconds to stop; what is left of it is Python's own way out.
    assert seconds < SECONDS_TO_STOP + 1
    assert (process.returncode, said["run"], said["status"]) == (1, run.pk, "cancelled")
    assert "Cancelled by rita" in said["reason"]
    check_nothing_is_left(run)


def test_a_run_that_waits_for_its_turn_stops_too(slow: Slow) -> None:
    """Our own limit: one request a minute."""
    save_connection(slow.feed.document(limits={"per_minute": 1}))
    run = request_run(Stream.objects.get(), RunTrigger.COMMAND)
    slow.feed.awards = [award(1)]
    slow.feed.page_size = 1

    def answer(request: Request) -> Response:
        slow.reached.set()
        return Response(json.dumps(slow.feed.page(request)))

    slow.feed.answer = answer
    worker = work_on(run)
    assert slow.reached.wait(DEADLINE_SECONDS)
    wait_for(RunPage.objects.filter(run=run).exists)
    assert cancelled_while(run, slow, worker.is_alive) < SECONDS_TO_STOP
    check_nothing_is_left(run)


def connecting_to(port: int) -> int:
    """How many wait for this port to answer (proc(5), net/tcp: the third column is the other end; state 02 is SYN_SENT)."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[2].endswith(f":{port:04X}") and row[3] == "02" for row in rows)


def test_a_connection_that_is_not_answered_is_given_up_too(slow: Slow) -> None:
    """A listener whose queue is full: whoever connects waits."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        crowd = [socket.socket() for _ in range(3)]
        for one in crowd:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        crowded = connecting_to(port)
        with may_reach(f"127.0.0.1:{port}"):
            save_connection(slow.feed.document(base_url=f"http://127.0.0.1:{port}", timeouts={"connect": 20}))
            run = request_run(Stream.objects.get(), RunTrigger.COMMAND)
            worker = work_on(run)
            wait_for(lambda: connecting_to(port) > crowded)
            with acting(PERSON):
                cancel_run(run, reason="the wrong year")
            start = time.monotonic()
            worker.join(DEADLINE_SECONDS)
            assert time.monotonic() - start < SECONDS_TO_STOP
        for one in crowd:
            one.close()
