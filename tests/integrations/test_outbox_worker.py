"""A real worker, with a broker of its own: an enrollment is an account within five seconds, also when a worker is killed
between sending and keeping what came of it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from celery import current_app
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from integrations.management.broker import broker_answers, broker_command
from integrations.models import DeliveryAttempt, OutboxMessage
from integrations.outbox import doorbell
from registration import operations
from registration.models import LibraryAccount
from tests.integrations.library import Library, library
from tests.outbox_invariants import assert_outbox_is_sound
from tests.processes import ROOT, environment
from tests.university import make_section, make_students, make_terms

pytestmark = pytest.mark.django_db(transaction=True)
PROMISED_SECONDS = 5
START_SECONDS = 60


@contextmanager
def process(command: list[str], log: Path, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        started = subprocess.Popen(
            command, cwd=ROOT, env=environment(**variables), stdout=output, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    try:
        yield started
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.wait()


def until(is_so: Callable[[], bool], seconds: float, what: str) -> float:
    """Wait until it is so, and return how long that took."""
    start = time.monotonic()
    while not is_so():
        assert time.monotonic() - start < seconds, what
        time.sleep(0.02)
    return time.monotonic() - start


@pytest.fixture
def broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A broker of the test's own, that this process rings at and the worker listens to."""
    path = tmp_path / "b.sock"
    url = f"redis+socket://{path}"
    with process(broker_command(path, tmp_path), tmp_path / "broker.log"):
        until(lambda: broker_answers(url), START_SECONDS, "the broker does not answer")
        monkeypatch.undo()  # the doorbell is the real one here
        monkeypatch.setattr(current_app.conf, "broker_url", url)
        monkeypatch.setattr(current_app.conf, "broker_write_url", url)
        monkeypatch.setattr(current_app.amqp, "_producer_pool", None)
        yield url


def worker(
    folder: Path, url: str, **variables: str
) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    script = (
        "import django; django.setup(); from config.celery import app; "
        f"app.conf.broker_url = {url!r}; "
        "app.worker_main(['worker', '--concurrency', '1', '--without-gossip', '--without-mingle', '--loglevel', 'INFO'])"
    )
    return process(
        [sys.executable, "-c", script],
        folder / "worker.log",
        SECRET_KEY=settings.SECRET_KEY,
        CREDENTIAL_KEYS=",".join(settings.CREDENTIAL_KEYS),
        **variables,
    )


@pytest.fixture
def books() -> Iterator[Library]:
    with library(timeouts={"connect": 5, "read": 60, "total": 60}) as books:
        yield books


def test_an_enrollment_is_an_account_within_five_seconds_of_its_commit(
    broker: str, tmp_path: Path, books: Library
) -> None:
    terms = make_terms()
    first, second = make_students(2)
    section = make_section(terms[0])
    with worker(tmp_path, broker):
        log = tmp_path / "worker.log"
        until(lambda: b"ready." in log.read_bytes(), START_SECONDS, "the worker does not start")
        operations.enroll(first, section)  # whoever comes first pays for what is loaded once
        until(lambda: len(books.cards) == 1, START_SECONDS, log.read_text()[-2000:])
        with transaction.atomic():
            operations.enroll(second, section)
        took = until(
            lambda: LibraryAccount.objects.filter(student=second, status="provisioned").exists(),
            PROMISED_SECONDS,
            log.read_text()[-2000:],
        )
        assert took < PROMISED_SECONDS
        assert books.cards == [first.number, second.number]


def test_a_worker_that_is_killed_between_sending_and_keeping_it_leaves_nothing_undone_or_doubled(
    broker: str, tmp_path: Path, books: Library
) -> None:
    """The library has made the account and never answers; the worker is killed -9 while it waits. Another one finds out."""
    terms = make_terms()
    [student] = make_students(1)
    section = make_section(terms[0])
    books.office.suffer("timeout")
    with worker(tmp_path, broker, RUN_LEASE_SECONDS="2") as killed:
        operations.enroll(student, section)
        until(lambda: books.cards == [student.number], START_SECONDS, "the account was not asked for")
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait()
    books.office.suffer()
    message = OutboxMessage.objects.get()
    assert (message.status, message.attempts) == ("waiting", 1)
    until(
        lambda: OutboxMessage.objects.filter(lease_ends_at__lte=timezone.now()).exists(),
        10,
        "the lease does not end",
    )
    with worker(tmp_path, broker):
        doorbell.ring()
        until(
            lambda: LibraryAccount.objects.filter(student=student, status="provisioned").exists(),
            START_SECONDS,
            (tmp_path / "worker.log").read_text()[-2000:],
        )
    assert books.cards == [student.number]
    assert [attempt.outcome for attempt in DeliveryAttempt.objects.order_by("number")] == [
        "uncertain",
        "delivered",
    ]
    assert_outbox_is_sound()
