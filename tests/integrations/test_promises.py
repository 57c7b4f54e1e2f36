"""What was promised within an hour and is not there is one alert, with a link, as long as that is so."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

import pytest
import time_machine
from django.core import mail
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from integrations.models import Alert, Connection, OutboxMessage
from integrations.notices import send_alerts
from integrations.outbox.by_hand import pause, resume
from registration import operations
from registration.models import Student, Term
from tests.integrations.library import Library, drain, later, library
from tests.university import make_section

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("endless_sessions")]


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(timezone.now(), tick=False) as clock:
        yield clock


@pytest.fixture
def books(terms: tuple[Term, Term], clock: time_machine.Traveller) -> Iterator[Library]:
    with library() as books:
        yield books


@pytest.fixture
def asked(students: list[Student], terms: tuple[Term, Term], books: Library) -> Student:
    """A student who has enrolled, and for whom nothing was delivered yet."""
    operations.enroll(students[0], make_section(terms[0], capacity=100))
    return students[0]


def test_what_nobody_delivers_is_an_alert_after_the_hour_and_not_before(
    asked: Student, books: Library, clock: time_machine.Traveller, administrator: Client
) -> None:
    pause(books.connection, reason="They move their servers.")
    clock.shift(datetime.timedelta(minutes=59))
    send_alerts()
    assert not Alert.objects.exists()
    clock.shift(datetime.timedelta(minutes=2))
    send_alerts()
    send_alerts()
    [alert] = Alert.objects.open()
    assert alert.get_absolute_url() == OutboxMessage.objects.get().get_absolute_url()
    assert "They move their servers." in alert.text
    [letter] = mail.outbox
    assert alert.get_absolute_url() in letter.body
    assert "closes by itself when everything that was promised is done" in letter.body
    page = administrator.get(reverse("admin:registration_student_change", args=[asked.pk])).content.decode()
    assert ">Late<" in page
    resume(books.connection)
    drain()
    send_alerts()
    assert not Alert.objects.open().exists()


def test_many_that_are_late_are_one_alert_that_says_how_many(
    students: list[Student], terms: tuple[Term, Term], books: Library, clock: time_machine.Traveller
) -> None:
    section = make_section(terms[0], capacity=100)
    for student in students:
        operations.enroll(student, section)
    Connection.objects.filter(pk=books.connection.pk).update(enabled=False)
    clock.shift(datetime.timedelta(hours=2))
    send_alerts()
    [alert] = Alert.objects.open()
    assert alert.text.startswith("12 requests wait for longer than was promised")
    assert "switched off" in alert.text


def test_what_fails_is_told_of_once_and_as_a_failure(
    asked: Student, books: Library, clock: time_machine.Traveller
) -> None:
    books.office.suffer("error500")
    for _ in range(5):
        later(hours=1)
        clock.shift(datetime.timedelta(minutes=40))
        send_alerts()
    [alert] = Alert.objects.all()
    assert alert.incident.startswith("delivery:")


def test_what_failed_and_is_not_attempted_any_more_is_late_too(
    asked: Student, books: Library, clock: time_machine.Traveller
) -> None:
    books.office.suffer("error500")
    drain()
    pause(books.connection, reason="A test.")
    clock.shift(datetime.timedelta(hours=2))
    send_alerts()
    assert Alert.objects.open().get().incident == "overdue:library"


def test_what_ends_later_than_in_an_hour_is_no_broken_promise(
    asked: Student, books: Library, clock: time_machine.Traveller
) -> None:
    drain()
    operations.deprovision_by_hand(asked, reason="a test")
    pause(books.connection, reason="A test.")
    clock.shift(datetime.timedelta(hours=2))
    send_alerts()
    assert not Alert.objects.exists()
