"""What the outbox has done goes after a time; what it owes stays, however old."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

import pytest
import time_machine
from django.utils import timezone

from audit.models import AuditEvent
from integrations.alerts import open_incident
from integrations.models import Alert, DeliveryAttempt, OutboxMessage
from integrations.outbox.by_hand import pause
from integrations.retention import prune
from registration import operations
from registration.models import Student, Term
from tests.integrations.library import Library, drain, library
from tests.university import make_section

pytestmark = pytest.mark.django_db


@pytest.fixture
def books(terms: tuple[Term, Term]) -> Iterator[Library]:
    with library() as books:
        yield books


@pytest.fixture
def outbox(books: Library, students: list[Student], terms: tuple[Term, Term]) -> dict[str, OutboxMessage]:
    """A message in each state, the delivered one and the escalated one with an attempt."""
    section = make_section(terms[0], capacity=100)
    books.koha.add(cardnumber=students[1].number, surname="Smith")
    for student in students[:2]:
        operations.enroll(student, section)
    drain()
    pause(books.connection, reason="a test")
    for student in students[2:4]:
        operations.enroll(student, section)
    operations.deprovision_by_hand(students[3], reason="a test")
    return {message.status: message for message in OutboxMessage.objects.all()}


def kept_after(days: int) -> set[str]:
    with time_machine.travel(timezone.now() + datetime.timedelta(days=days)):
        prune()
    return set(OutboxMessage.objects.values_list("status", flat=True))


def test_what_ended_goes_after_its_time_and_what_is_owed_stays(outbox: dict[str, OutboxMessage]) -> None:
    assert kept_after(89) == {"delivered", "superseded", "escalated", "waiting"}
    assert kept_after(91) == {"escalated", "waiting"}
    assert {attempt.message.status for attempt in DeliveryAttempt.objects.all()} == {"escalated"}
    event = AuditEvent.objects.get(action="outbox.pruned")
    assert event.detail == {"rows": 2}
    assert kept_after(10_000) == {"escalated", "waiting"}


def test_what_an_alert_leads_to_is_kept_with_it(outbox: dict[str, OutboxMessage]) -> None:
    open_incident("test:library", message=outbox["delivered"], title="It failed", text="It failed.")
    assert "delivered" in kept_after(1_000)
    assert Alert.objects.filter(incident="test:library").exists()


def test_a_sweep_asks_for_nothing_again_whose_message_is_gone(
    outbox: dict[str, OutboxMessage], books: Library
) -> None:
    kept_after(91)
    before = OutboxMessage.objects.count()
    drain()
    assert OutboxMessage.objects.count() == before
