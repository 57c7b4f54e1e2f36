"""Library accounts follow enrollment: from the enrollment to the library's patron, whatever goes wrong on the way."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import time_machine
from django.core import mail
from django.db import connection as database
from django.db import transaction
from django.utils import timezone

from audit.models import AuditEvent
from integrations.models import Alert, Breaker, DeliveryAttempt, OutboxMessage
from integrations.notices import send_alerts
from integrations.outbox.by_hand import retry
from integrations.outbox.library import reconcile_library
from integrations.outbox.settle import Settled
from registration import operations
from registration.models import Enrollment, LibraryAccount, Section, Student, Term
from tests.integrations.library import Library, drain, end_grace, later, library, status_of
from tests.racing import race
from tests.registration.bills import noon
from tests.university import make_section, make_students, make_terms

pytestmark = pytest.mark.django_db


@pytest.fixture
def section(terms: tuple[Term, Term]) -> Section:
    return make_section(terms[0], capacity=10_000)


@pytest.fixture
def books() -> Iterator[Library]:
    with library() as books:
        yield books


def make_enrollments(students: list[Student], section: Section) -> None:
    Enrollment.objects.bulk_create(
        Enrollment(student=student, section=section, status_since_at=timezone.now()) for student in students
    )


def escalate(books: Library) -> None:
    """Let everything fail as often as it is tried."""
    books.office.suffer("error500")
    drain()
    for _ in range(3):
        Breaker.objects.all().delete()
        later(hours=1)
    books.office.suffer()
    Breaker.objects.all().delete()


# --- the whole road -------------------------------------------------------------------------------------------


def test_an_enrollment_opens_an_account_and_the_end_of_the_last_one_ends_it(
    students: list[Student], section: Section, books: Library
) -> None:
    enrollment = operations.enroll(students[0], section)
    assert drain().counts == {Settled.DELIVERED: 1}
    account = LibraryAccount.objects.get(student=students[0])
    assert (account.status, account.remote_id) == ("provisioned", "51")
    assert account.seconds_to_settle is not None
    assert books.cards == ["S0000001"]
    operations.drop(enrollment)
    assert drain().attempted == 0
    end_grace(students[0])
    assert drain().counts == {Settled.DELIVERED: 1}
    assert status_of(students[0]) == "deprovisioned"
    assert books.has_expired("S0000001")
    operations.enroll(students[0], section)
    drain()
    assert (status_of(students[0]), books.cards) == ("provisioned", ["S0000001"])
    assert not books.has_expired("S0000001")


def test_each_step_is_on_the_students_trail_without_personal_data(
    students: list[Student], section: Section, books: Library
) -> None:
    Student.objects.filter(pk=students[0].pk).update(family_name="Canaryson", email="canary@example.edu")
    operations.enroll(students[0], section)
    drain()
    actions = AuditEvent.objects.of_student("S0000001").values_list("action", flat=True)
    assert "library_account.provisioned" in actions
    [attempt] = DeliveryAttempt.objects.all()
    assert attempt.exchanges[0]["sent"]["cardnumber"] == "S0000001"
    kept = str(
        [*OutboxMessage.objects.values(), *DeliveryAttempt.objects.values(), *AuditEvent.objects.values()]
    )
    assert [word for word in ("Canaryson", "canary@", "sim-token") if word in kept] == []


def test_a_transaction_that_is_rolled_back_sends_nothing(
    students: list[Student], section: Section, books: Library
) -> None:
    class Abandoned(Exception):
        pass

    def enroll_and_fail() -> None:
        with transaction.atomic():
            operations.enroll(students[0], section)
            raise Abandoned

    with pytest.raises(Abandoned):
        enroll_and_fail()
    assert drain().attempted == 0
    assert (books.cards, OutboxMessage.objects.count(), LibraryAccount.objects.count()) == ([], 0, 0)


def test_enroll_and_drop_in_the_same_second_reach_the_library_in_this_order_and_once(
    students: list[Student], section: Section, books: Library
) -> None:
    operations.drop(operations.enroll(students[0], section))
    end_grace(students[0])
    reconcile_library()
    drain()
    # The request to open was never sent, and is not any more: only the last one counts.
    assert [m.status for m in OutboxMessage.objects.order_by("pk")] == ["superseded", "delivered"]
    assert (books.koha.changes, status_of(students[0])) == ([], "deprovisioned")


def test_without_a_connection_to_the_library_nothing_is_lost(
    students: list[Student], section: Section
) -> None:
    operations.enroll(students[0], section)
    assert drain().attempted == 0
    assert status_of(students[0]) == "pending"
    with library() as books:
        drain()
        assert books.cards == ["S0000001"]


def test_a_message_that_a_restored_backup_has_lost_is_written_again(
    students: list[Student], section: Section, books: Library
) -> None:
    operations.enroll(students[0], section)
    OutboxMessage.objects.all().delete()
    drain()
    assert (status_of(students[0]), books.cards) == ("provisioned", ["S0000001"])


def test_what_waits_for_an_archived_connection_goes_through_the_one_in_its_place(
    students: list[Student], section: Section, books: Library
) -> None:
    operations.enroll(students[0], section)
    books.connection.archived_at = timezone.now()
    books.connection.save()
    with library(slug="new-library") as new:
        drain()
        assert (books.cards, new.cards) == ([], ["S0000001"])


# --- faults ---------------------------------------------------------------------------------------------------


def test_an_answer_of_500_after_the_account_was_made_makes_no_second_one(
    students: list[Student], section: Section, books: Library
) -> None:
    operations.enroll(students[0], section)
    books.office.suffer("error500_after")
    assert drain().counts == {Settled.FAILED: 1}
    [message] = OutboxMessage.objects.all()
    assert (message.is_uncertain, message.attempts, status_of(students[0])) == (True, 1, "pending")
    books.office.suffer()
    later(minutes=2)
    assert (books.cards, status_of(students[0])) == (["S0000001"], "provisioned")
    [first, second] = DeliveryAttempt.objects.order_by("number")
    assert [first.outcome, second.outcome] == ["uncertain", "delivered"]
    # It was asked, and nothing was sent again.
    assert [exchange["method"] for exchange in second.exchanges] == ["GET"]


@pytest.mark.parametrize("fault", ["timeout", "truncated", "malformed", "html"])
def test_whatever_is_not_known_is_asked_before_it_is_sent_again(
    fault: str, students: list[Student], section: Section, books: Library
) -> None:
    operations.enroll(students[0], section)
    books.office.suffer(fault)
    drain()
    assert OutboxMessage.objects.get().is_uncertain
    books.office.suffer()
    Breaker.objects.all().delete()
    later(minutes=2)
    assert (books.cards, status_of(students[0])) == (["S0000001"], "provisioned")
    assert DeliveryAttempt.objects.latest("number").exchanges[0]["method"] == "GET"


def test_three_retries_and_then_an_alert_that_leads_to_it(
    students: list[Student], section: Section, books: Library, administrator: object
) -> None:
    operations.enroll(students[0], section)
    books.office.suffer("error500")
    drain()
    for hours in (0, 1, 1):
        assert later(hours=hours).attempted == bool(hours)
    assert (OutboxMessage.objects.get().status, status_of(students[0])) == ("waiting", "pending")
    assert later(hours=1).counts == {Settled.ESCALATED: 1}
    message = OutboxMessage.objects.get()
    assert (message.status, message.attempts, status_of(students[0])) == ("escalated", 4, "failed")
    assert later(days=1).attempted == 0
    send_alerts()
    send_alerts()
    [alert] = Alert.objects.open()
    assert (alert.get_absolute_url(), len(mail.outbox)) == (message.get_absolute_url(), 1)
    assert message.get_absolute_url() in mail.outbox[0].body
    books.office.suffer()
    Breaker.objects.all().delete()
    assert retry(OutboxMessage.objects.filter(pk=message.pk), reason="it is up again") == 1
    assert status_of(students[0]) == "pending"
    drain()
    send_alerts()
    assert (status_of(students[0]), Alert.objects.open().count()) == ("provisioned", 0)


def test_retries_come_after_one_five_and_twenty_minutes(
    students: list[Student], section: Section, books: Library
) -> None:
    operations.enroll(students[0], section)
    books.office.suffer("error500")
    waits = []
    with time_machine.travel(timezone.now(), tick=False) as clock:
        for _ in range(3):
            drain()
            message = OutboxMessage.objects.get()
            waits.append((message.due_at - timezone.now()).total_seconds() / 60)
            clock.move_to(message.due_at)
    assert waits == [1, 5, 20]


def test_a_day_without_the_library_is_one_alert_and_all_drains_in_order_afterwards(
    terms: tuple[Term, Term], section: Section, books: Library, administrator: object
) -> None:
    """Twenty students enroll while it is down. The circuit breaker tries once a minute: that counts for nobody."""
    students = make_students(20)
    books.office.suffer("error500")
    start = timezone.now()
    with time_machine.travel(start, tick=False) as clock:
        for place, student in enumerate(students):
            operations.enroll(student, section)
            drain()
            send_alerts()
            clock.move_to(start + datetime.timedelta(minutes=72 * (place + 1)))
        for minute in range(40):  # minute by minute, as beat does
            clock.move_to(start + datetime.timedelta(days=1, minutes=minute))
            drain()
            send_alerts()
        assert Alert.objects.count() == 1
        assert len(mail.outbox) == 1
        assert not OutboxMessage.objects.escalated().exists()
        books.office.suffer()
        clock.move_to(start + datetime.timedelta(days=1, hours=1))
        drain()
        send_alerts()
        assert books.cards == [student.number for student in students]
        assert not Alert.objects.open().exists()
        assert set(LibraryAccount.objects.values_list("status", flat=True)) == {"provisioned"}


def test_a_card_that_is_this_students_already_is_taken_over(
    students: list[Student], section: Section, books: Library
) -> None:
    books.koha.add(cardnumber="S0000001", surname="OKAFOR ", firstname="ada", expiry_date="2021-01-01")
    operations.enroll(students[0], section)
    drain()
    account = LibraryAccount.objects.get(student=students[0])
    assert (account.status, account.remote_id, books.cards) == ("provisioned", "51", ["S0000001"])
    assert not books.has_expired("S0000001")


def test_a_card_that_is_somebody_elses_is_left_alone_and_told(
    students: list[Student], section: Section, books: Library
) -> None:
    books.koha.add(cardnumber="S0000001", surname="Smith", firstname="John")
    operations.enroll(students[0], section)
    assert drain().counts == {Settled.ESCALATED: 1}
    account = LibraryAccount.objects.get(student=students[0])
    assert account.status == "failed"
    assert "belongs to somebody else" in account.reason
    assert "Smith" not in account.reason
    assert books.koha.changes == []
    # Nor is it ended with the student's enrollment.
    operations.deprovision_by_hand(students[0], reason="a test")
    drain()
    assert not books.patron("S0000001").get("expiry_date")


def test_a_login_that_is_somebody_elses_is_told(
    students: list[Student], section: Section, books: Library
) -> None:
    books.koha.add(cardnumber="X1", userid="S0000001", surname="Smith")
    operations.enroll(students[0], section)
    assert drain().counts == {Settled.ESCALATED: 1}
    assert books.cards == ["X1"]


def test_debts_block_are_told_and_are_asked_for_every_day(
    students: list[Student], section: Section, books: Library
) -> None:
    enrollment = operations.enroll(students[0], section)
    drain()
    books.koha.debts["S0000001"] = 20
    operations.drop(enrollment)
    end_grace()
    assert drain().counts == {Settled.BLOCKED: 1}
    account = LibraryAccount.objects.get(student=students[0])
    assert account.status == "blocked"
    assert "fines are owed" in account.reason
    assert later(hours=23).attempted == 0
    for _ in range(5):  # as long as it takes: nobody is escalated for a debt
        assert later(days=1).counts == {Settled.BLOCKED: 1}
    books.koha.debts.clear()
    later(days=1)
    assert (status_of(students[0]), books.has_expired("S0000001")) == ("deprovisioned", True)


def test_a_token_that_expires_in_mid_batch_is_no_failure(
    students: list[Student], section: Section, books: Library
) -> None:
    books.office.suffer("expired_token:0.4")
    for student in students:
        operations.enroll(student, section)
    assert drain().counts == {Settled.DELIVERED: 12}
    assert (len(books.cards), books.koha.tokens.given > 1) == (12, True)


def test_a_library_that_is_slow_is_waited_for(
    students: list[Student], section: Section, books: Library
) -> None:
    books.office.suffer("slow")
    operations.enroll(students[0], section)
    assert drain().counts == {Settled.DELIVERED: 1}


def test_a_library_that_asks_us_to_slow_down_is_obeyed_and_it_counts_for_nothing(
    students: list[Student], section: Section, books: Library
) -> None:
    books.office.suffer("rate_limit")
    for student in students[:3]:
        operations.enroll(student, section)
    done = drain()
    # The first was told to wait, and so the others were not tried.
    assert done.attempted == 1
    assert set(OutboxMessage.objects.values_list("failures", flat=True)) == {0}


def test_a_student_whom_the_library_will_never_take_is_put_before_a_person_at_once(
    terms: tuple[Term, Term], section: Section
) -> None:
    student = make_students(1)[0]
    with library(settings={"library_id": "MAIN", "category_id": "STUDENT"}) as books:
        Student.objects.filter(pk=student.pk).update(given_name="", family_name=" ")
        books.office.suffer()
        operations.enroll(student, section)
        books.koha.add(cardnumber="S0000001", surname="Else")
        assert drain().counts == {Settled.ESCALATED: 1}
        assert OutboxMessage.objects.get().attempts == 1


def test_two_who_fail_for_one_reason_are_one_alert(
    students: list[Student], section: Section, books: Library, administrator: object
) -> None:
    for student in students[:4]:
        operations.enroll(student, section)
    escalate(books)
    send_alerts()
    assert OutboxMessage.objects.escalated().count() == 4
    [alert] = Alert.objects.open()
    assert alert.text.startswith("4 deliveries wait for a person")
    assert len(mail.outbox) == 1


def test_what_was_escalated_gives_way_to_what_is_asked_for_later(
    students: list[Student], section: Section, books: Library
) -> None:
    operations.enroll(students[0], section)
    escalate(books)
    operations.deprovision_by_hand(students[0], reason="has left")
    assert [m.status for m in OutboxMessage.objects.order_by("pk")] == ["superseded", "waiting"]
    drain()
    send_alerts()
    assert (status_of(students[0]), Alert.objects.open().count()) == ("deprovisioned", 0)


def test_a_sweep_that_is_held_is_an_alert_until_it_is_decided(section: Section, books: Library) -> None:
    students = make_students(20)
    make_enrollments(students, section)
    drain()
    Enrollment.objects.all().update(status="dropped")
    reconcile_library()
    end_grace()
    assert drain().attempted == 0
    drain()
    [alert] = Alert.objects.open()
    assert alert.times == 1
    Enrollment.objects.all().update(status="enrolled")
    drain()
    assert not Alert.objects.open().exists()


def test_five_thousand_graduate_by_one_import(
    terms: tuple[Term, Term], section: Section, books: Library
) -> None:
    """One statement each, whatever the number; held for a person, and then in order."""
    students = make_students(5_000)
    make_enrollments(students, section)
    reconcile_library()
    LibraryAccount.objects.all().update(status="provisioned", settled_at=timezone.now())
    OutboxMessage.objects.all().delete()
    graduated = operations.graduate(
        [student.number for student in students], reason="Class of 2026"
    ).graduated
    assert len(graduated) == 5_000
    end_grace()
    assert reconcile_library().held == 5_000
    assert not OutboxMessage.objects.exists()
    ending = operations.library.accounts_ending()
    checksum = operations.library.checksum_of(ending)
    operations.approve_library_sweep(checksum, reason="they have graduated")
    messages = OutboxMessage.objects.order_by("pk")
    assert messages.count() == 5_000
    assert [m.subject for m in messages[:3]] == [f"library:{student.pk}" for student in students[:3]]


# --- how long the library keeps an account --------------------------------------------------------------------


def test_an_account_that_ends_while_its_student_goes_on_is_renewed_before(
    students: list[Student], section: Section
) -> None:
    settings = {"library_id": "MAIN", "category_id": "STUDENT", "valid_days": 60}
    with time_machine.travel(noon(8, 25), tick=False) as clock, library(settings=settings) as books:
        for student in students[:2]:
            operations.enroll(student, section)
        drain()
        leaver = students[1]
        assert LibraryAccount.objects.get(student=leaver).expires_on == datetime.date(2026, 10, 24)
        for enrollment in Enrollment.objects.filter(student=leaver):
            operations.drop(enrollment)
        clock.move_to(noon(9, 23))
        assert drain().attempted == 1  # the end of whoever has left; nobody is renewed yet
        clock.move_to(noon(9, 24))
        assert drain().counts == {Settled.DELIVERED: 1}
        assert drain().attempted == 0
        account = LibraryAccount.objects.get(student=students[0])
        assert (account.status, account.expires_on) == ("provisioned", datetime.date(2026, 11, 23))
        assert books.patron("S0000001")["expiry_date"] == "2026-11-23"
        assert books.has_expired(leaver.number)
        assert len(books.cards) == 2


def test_an_account_that_the_library_opens_for_a_short_time_is_renewed_once_a_day_and_not_all_day(
    students: list[Student], section: Section
) -> None:
    settings = {"library_id": "MAIN", "category_id": "STUDENT", "valid_days": 10}
    with time_machine.travel(timezone.now(), tick=False) as clock, library(settings=settings):
        operations.enroll(students[0], section)
        drain()
        attempted = []
        for _ in range(6):
            clock.shift(datetime.timedelta(hours=8))
            attempted.append(drain().attempted)
        assert attempted == [0, 0, 1, 0, 0, 1]


def test_a_card_that_is_taken_over_and_would_end_soon_is_renewed_at_once(
    students: list[Student], section: Section, books: Library
) -> None:
    tomorrow = timezone.localdate() + datetime.timedelta(days=1)
    books.koha.add(cardnumber="S0000001", surname="Okafor", firstname="Ada", expiry_date=tomorrow.isoformat())
    operations.enroll(students[0], section)
    drain()
    assert books.patron("S0000001")["expiry_date"] > tomorrow.isoformat()


@pytest.mark.django_db(transaction=True)
def test_two_enrollments_at_once_are_one_account_and_one_message() -> None:
    terms = make_terms()
    student = make_students(1)[0]
    sections = [make_section(terms[0], crn=crn) for crn in ("10001", "10002")]
    with library() as books:
        outcomes = race(
            student.billing_account,
            [partial(operations.enroll, student, section) for section in sections],
        )
        assert [outcome for outcome in outcomes if isinstance(outcome, Exception)] == []
        assert OutboxMessage.objects.count() == 1
        drain()
        assert books.cards == ["S0000001"]


@pytest.mark.django_db(transaction=True)
def test_several_workers_at_once_send_each_message_once() -> None:
    section = make_section(make_terms()[0], capacity=50)
    students = make_students(20)
    with library(limits={"concurrent": 4}) as books:
        for student in students:
            operations.enroll(student, section)

        def work() -> int:
            try:
                return drain().counts[Settled.DELIVERED]
            finally:
                database.close()

        with ThreadPoolExecutor(4) as pool:
            delivered = [future.result() for future in [pool.submit(work) for _ in range(4)]]
        assert sum(delivered) == 20
        assert sorted(books.cards) == [student.number for student in students]
        assert DeliveryAttempt.objects.count() == 20
