"""The outbox: nothing is lost, nothing happens twice, and a person can stop it and start it again."""

from __future__ import annotations

import datetime
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import time_machine
from celery import current_app
from django.db import IntegrityError, transaction
from django.utils import timezone

from audit.models import AuditEvent
from integrations.effects import EFFECTS
from integrations.models import Breaker, DeliveryAttempt, DeliveryPause, OutboxMessage
from integrations.outbox import doorbell
from integrations.outbox.by_hand import NothingToDo, pause, resume, retry
from integrations.outbox.claim import claim_next
from integrations.outbox.settle import Settled, settle
from integrations.outbox.verdict import delivered
from integrations.outbox.worker import work_off
from integrations.transports.breaker import hold_open, reset
from registration import operations
from registration.models import LibraryAccount, Section, Student, Term
from tests.integrations.library import Library, drain, later, library, status_of
from tests.university import make_section

pytestmark = pytest.mark.django_db


@pytest.fixture
def section(terms: tuple[Term, Term]) -> Section:
    return make_section(terms[0], capacity=100)


@pytest.fixture
def books() -> Iterator[Library]:
    with library() as books:
        yield books


def enroll(section: Section, *students: Student) -> list[OutboxMessage]:
    for student in students:
        operations.enroll(student, section)
    return list(OutboxMessage.objects.order_by("pk"))


def let_lease_lapse(message: OutboxMessage) -> None:
    OutboxMessage.objects.filter(pk=message.pk).update(
        lease_ends_at=timezone.now() - datetime.timedelta(seconds=1)
    )


# --- claims ---------------------------------------------------------------------------------------------------


def test_a_message_is_claimed_once_and_the_oldest_first(
    students: list[Student], section: Section, books: Library
) -> None:
    messages = enroll(section, *students[:2])
    claims = [claim_next(), claim_next(), claim_next()]
    assert [claim.message.pk if claim else None for claim in claims] == [*(m.pk for m in messages), None]


def test_no_more_are_under_way_at_once_than_the_connection_allows(
    students: list[Student], section: Section
) -> None:
    with library(limits={"concurrent": 1}):
        enroll(section, *students[:3])
        assert claim_next() is not None
        assert claim_next() is None


def test_of_one_account_the_older_message_goes_first(
    students: list[Student], section: Section, books: Library
) -> None:
    enroll(section, students[0])
    claim = claim_next()
    assert claim is not None
    operations.deprovision_by_hand(students[0], reason="a test")
    assert claim_next() is None  # while the older one is under way
    settle(claim, delivered(_account(claim.message)), [])
    # What came of the older one is no news of the account: something else was asked for since.
    assert status_of(students[0]) == "pending"
    newer = claim_next()
    assert newer is not None
    assert newer.message.kind == "library.deprovision"


def _account(message: OutboxMessage) -> object:
    class Account:
        remote_id = "51"
        expires_on = None

    return Account()


def test_a_claim_whose_lease_ran_out_is_taken_over_and_the_one_that_overslept_changes_nothing(
    students: list[Student], section: Section, books: Library
) -> None:
    [message] = enroll(section, students[0])
    overslept = claim_next()
    assert overslept is not None
    assert claim_next() is None
    let_lease_lapse(message)
    heir = claim_next()
    assert heir is not None
    assert (heir.fence, heir.message.is_uncertain, heir.message.failures) == (2, True, 1)
    assert settle(overslept, delivered(_account(message)), []) is Settled.LOST
    message.refresh_from_db()
    assert (message.status, status_of(students[0])) == ("waiting", "pending")
    assert settle(heir, delivered(_account(message)), []) is Settled.DELIVERED
    assert status_of(students[0]) == "provisioned"


def test_a_process_that_died_after_sending_leaves_a_question_that_is_asked_first(
    students: list[Student], section: Section, books: Library
) -> None:
    [message] = enroll(section, students[0])
    dead = claim_next()
    assert dead is not None
    # It came as far as the library, and no further.
    books.koha.add(cardnumber="S0000001", userid="S0000001", surname="Okafor", firstname="Ada")
    let_lease_lapse(message)
    drain()
    assert (books.cards, status_of(students[0])) == (["S0000001"], "provisioned")
    first, second = DeliveryAttempt.objects.order_by("number")
    assert (first.outcome, first.ended_at is not None) == ("uncertain", True)
    assert [exchange["method"] for exchange in second.exchanges] == ["GET"]


def test_a_message_that_kills_every_process_is_put_before_a_person(
    students: list[Student], section: Section, books: Library
) -> None:
    [message] = enroll(section, students[0])
    for _ in range(4):
        assert claim_next() is not None
        let_lease_lapse(message)
    assert drain().counts == {Settled.ESCALATED: 1}
    message.refresh_from_db()
    assert message.reason.startswith("4 attempts did not end: their processes died")
    assert (message.attempts, books.cards) == (4, [])


def test_a_fault_of_our_own_ends_no_other_delivery(
    students: list[Student], section: Section, books: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = enroll(section, *students[:2])
    right = EFFECTS["library.provision"].bring_about

    def broken(message: OutboxMessage, connector: object) -> object:
        if message.pk == first.pk:
            raise KeyError("S0000001")
        return right(message, connector)  # type: ignore[arg-type]

    monkeypatch.setattr(EFFECTS["library.provision"], "bring_about", broken)
    assert drain().counts == {Settled.FAILED: 1, Settled.DELIVERED: 1}
    first.refresh_from_db()
    assert "broke off unexpectedly (KeyError)" in first.reason
    assert "S0000001" not in first.reason


# --- circuit breaker and limits ---------------------------------------------------------------------------------


def test_an_open_breaker_consumes_no_attempt(
    students: list[Student], section: Section, books: Library
) -> None:
    messages = enroll(section, *students)
    hold_open(books.connection, reason="maintenance")
    assert (drain().attempted, claim_next()) == (0, None)
    assert set(OutboxMessage.objects.values_list("attempts", "failures")) == {(0, 0)}
    reset(books.connection, reason="done")
    drain()
    assert len(books.cards) == len(messages)


def test_a_breaker_that_opens_in_mid_round_stops_the_round(
    students: list[Student], section: Section, books: Library
) -> None:
    enroll(section, *students)
    books.office.suffer("error500")
    assert drain().counts == {Settled.FAILED: 5}  # the fifth failure opens it
    assert OutboxMessage.objects.filter(attempts=0).count() == len(students) - 5


def test_a_probe_that_fails_counts_for_no_message(
    students: list[Student], section: Section, books: Library
) -> None:
    enroll(section, *students[:6])
    books.office.suffer("error500")
    drain()
    last = OutboxMessage.objects.latest("pk")
    with time_machine.travel(timezone.now(), tick=False) as clock:
        for _ in range(10):
            clock.shift(datetime.timedelta(seconds=61))
            drain()
    last.refresh_from_db()
    assert (last.failures, last.status) == (0, "waiting")
    assert Breaker.objects.get().state == "open"
    assert not OutboxMessage.objects.escalated().exists()


def test_a_rate_is_kept_and_whoever_drains_waits_for_it(students: list[Student], section: Section) -> None:
    with library(limits={"per_minute": 4}) as books, time_machine.travel(timezone.now(), tick=False) as clock:
        enroll(section, *students[:10])
        waits: list[float] = []

        def wait(seconds: float) -> None:
            waits.append(seconds)
            clock.shift(datetime.timedelta(seconds=seconds + 0.001))

        done = work_off(is_patient=True, wait=wait)
        assert done.counts[Settled.DELIVERED] == 10
        assert sum(waits) >= 120  # four a minute: the last two in the third minute
        assert books.cards == [student.number for student in students[:10]]
        assert set(OutboxMessage.objects.values_list("attempts", flat=True)) == {1}


def test_a_worker_does_not_wait_for_a_rate(students: list[Student], section: Section) -> None:
    with library(limits={"per_minute": 2}):
        enroll(section, *students[:3])
        assert work_off().counts[Settled.DELIVERED] == 2


# --- by hand --------------------------------------------------------------------------------------------------


def test_a_pause_delivers_nothing_and_loses_nothing(
    students: list[Student], section: Section, books: Library
) -> None:
    enroll(section, students[0])
    pause(books.connection, reason="the library moves")
    with pytest.raises(NothingToDo, match="paused already"):
        pause(books.connection, reason="again")
    with pytest.raises(NothingToDo, match="Say why"):
        pause(books.connection, reason="")
    enroll(section, students[1])
    assert (drain().attempted, books.cards) == (0, [])
    resume(books.connection)
    with pytest.raises(NothingToDo, match="not paused"):
        resume(books.connection)
    drain()
    assert books.cards == ["S0000001", "S0000002"]
    assert not DeliveryPause.objects.exists()
    assert set(AuditEvent.objects.filter(action__startswith="outbox.").values_list("action", flat=True)) == {
        "outbox.paused",
        "outbox.resumed",
    }


def test_a_connection_that_is_switched_off_delivers_nothing(
    students: list[Student], section: Section, books: Library
) -> None:
    books.connection.enabled = False
    books.connection.save()
    enroll(section, students[0])
    assert drain().attempted == 0
    books.connection.enabled = True
    books.connection.save()
    assert drain().attempted == 1


def test_a_retry_takes_what_failed_waiting_or_escalated_and_nothing_else(
    students: list[Student], section: Section, books: Library, rings: list[None]
) -> None:
    failed, fresh = enroll(section, *students[:2])
    books.office.suffer("error500")
    work_off()
    OutboxMessage.objects.filter(pk=fresh.pk).update(error_class="", reason="", attempts=0, failures=0)
    books.office.suffer()
    assert retry(OutboxMessage.objects.filter(pk=fresh.pk)) == 0
    assert retry(OutboxMessage.objects.all(), reason="up again") == 1
    failed.refresh_from_db()
    assert (failed.failures, failed.due_at <= timezone.now()) == (0, True)
    event = AuditEvent.objects.get(action="outbox.retried")
    assert (event.subject_id, event.reason) == (str(failed.pk), "up again")


def test_what_is_under_way_is_not_retried(students: list[Student], section: Section, books: Library) -> None:
    enroll(section, students[0])
    books.office.suffer("error500")
    drain()
    OutboxMessage.objects.update(due_at=timezone.now())
    assert claim_next() is not None
    assert retry(OutboxMessage.objects.all()) == 0


# --- the doorbell ---------------------------------------------------------------------------------------------


def test_a_transaction_rings_when_it_is_committed_and_not_before(
    students: list[Student],
    section: Section,
    books: Library,
    rings: list[None],
    django_capture_on_commit_callbacks: object,
) -> None:
    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[operator]
        enroll(section, students[0])
        assert rings == []
    assert rings


@pytest.mark.django_db(transaction=True)
def test_a_broker_that_does_not_answer_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that accepts and never says a word: the worst of them. The ring is another thread's."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        asked, answered = threading.Event(), threading.Event()

        def send_task(name: str) -> None:
            asked.set()
            with socket.create_connection(silent.getsockname()):
                assert answered.wait(30)
            raise OSError("it never answered")

        monkeypatch.undo()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(current_app, "send_task", send_task)
            start = time.monotonic()
            for _ in range(50):
                with transaction.atomic():
                    doorbell.ring_after_commit()
            assert time.monotonic() - start < 5
            assert asked.wait(5)
            # However many rang, one thread is at it.
            assert len([one for one in threading.enumerate() if one.name == "doorbell"]) == 1
            answered.set()
            for one in [one for one in threading.enumerate() if one.name == "doorbell"]:
                one.join(10)


# --- tables ---------------------------------------------------------------------------------------------------


def test_one_cause_is_one_message(students: list[Student], section: Section, books: Library) -> None:
    [message] = enroll(section, students[0])
    message.pk = None
    with pytest.raises(IntegrityError), transaction.atomic():
        message.save()


def test_a_blocked_message_counts_no_failure(
    students: list[Student], section: Section, books: Library
) -> None:
    enroll(section, students[0])
    drain()
    books.koha.checkouts["S0000001"] = 1
    operations.deprovision_by_hand(students[0], reason="has left")
    drain()
    later(days=1)
    message = OutboxMessage.objects.latest("pk")
    assert (message.attempts, message.failures, message.error_class) == (2, 0, "blocked")
    assert LibraryAccount.objects.get().status == "blocked"
