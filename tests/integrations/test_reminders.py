"""A consumer whose keys will stop working is announced: 30 days before, 7 and 1, once each."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.core.mail import EmailMessage
from django.test import Client
from django.urls import reverse

from apiauth.models import Consumer, ExpiryReminder, User
from apiauth.operations import create_consumer, revoke
from integrations.reminders import remind

pytestmark = pytest.mark.django_db

LAST_DAY = datetime.date(2026, 12, 31)


@pytest.fixture(autouse=True)
def outbox(settings: Any) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    mail.outbox = []


@pytest.fixture
def consumer(db: None) -> Consumer:
    User.objects.create_superuser("dana", "dana@example.edu")
    made = create_consumer(
        "Housing office", scopes=["calendar:read"], contact="keys@housing.example.edu"
    ).consumer
    made.expires_on = LAST_DAY
    made.save()
    return made


def on(days_before: int) -> Any:
    day = LAST_DAY - datetime.timedelta(days=days_before)
    return time_machine.travel(datetime.datetime.combine(day, datetime.time(9), datetime.UTC), tick=False)


def sent_on(*days: int) -> list[int]:
    found = []
    for days_before in days:
        with on(days_before):
            before = len(mail.outbox)
            remind(), remind()
            found += [days_before] * (len(mail.outbox) - before)
    return found


def test_a_letter_goes_out_30_7_and_1_days_before_and_at_no_other_time(consumer: Consumer) -> None:
    assert sent_on(*range(40, -3, -1)) == [30, 7, 1]
    letter = mail.outbox[0]
    assert (letter.to, letter.bcc) == (["keys@housing.example.edu"], ["dana@example.edu"])
    assert letter.subject == "[Matricula] The keys of Housing office work until 2026-12-31"
    assert consumer.get_absolute_url() in letter.body


def test_after_days_without_a_worker_one_letter_is_owed_and_not_three(consumer: Consumer) -> None:
    assert sent_on(5) == [5]
    assert sent_on(3, 1) == [1]


def test_who_gets_a_new_last_day_is_reminded_of_that_one(consumer: Consumer) -> None:
    assert sent_on(7) == [7]
    Consumer.objects.update(expires_on=LAST_DAY + datetime.timedelta(days=6))
    assert sent_on(1) == [1]  # seven days before the new one


@pytest.mark.parametrize("moved", [{"expires_on": None}, {"expires_on": datetime.date(2030, 1, 1)}])
def test_a_letter_that_is_no_longer_true_is_not_sent(consumer: Consumer, moved: dict[str, Any]) -> None:
    ExpiryReminder.objects.create(consumer=consumer, expires_on=LAST_DAY, days=30)
    Consumer.objects.update(**moved)
    assert sent_on(30) == []


def test_the_front_page_tells_who_will_be_refused_soon(
    consumer: Consumer, client: Client, all_is_well: None
) -> None:
    for days_before, is_told in ((31, False), (30, True), (0, True), (-1, False)):
        with on(days_before):
            client.force_login(User.objects.get())
            page = client.get(reverse("admin:index")).content.decode()
        assert ("The keys of Housing office work until 2026-12-31" in page) is is_told
        assert ("Nothing needs you" in page) is not is_told


def test_a_revoked_consumer_is_not_announced(consumer: Consumer) -> None:
    revoke(consumer)
    assert sent_on(30, 7, 1) == []


def test_without_a_contact_the_administrators_are_told(consumer: Consumer) -> None:
    Consumer.objects.update(contact="")
    assert sent_on(7) == [7]
    assert mail.outbox[0].to == ["dana@example.edu"]


def test_a_letter_that_cannot_be_sent_stays_owed(consumer: Consumer, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_server(*args: object, **kwargs: object) -> int:
        raise ConnectionRefusedError

    with on(7), monkeypatch.context() as patch:
        patch.setattr(EmailMessage, "send", no_server)
        assert remind() == 0
    assert mail.outbox == []
    assert sent_on(6) == [6]


def test_a_letter_that_another_worker_is_sending_is_left_to_it(consumer: Consumer) -> None:
    with on(7):
        ExpiryReminder.objects.create(
            consumer=consumer,
            expires_on=LAST_DAY,
            days=7,
            claim_ends_at=datetime.datetime(2027, 1, 1, tzinfo=datetime.UTC),
        )
        assert remind() == 0
