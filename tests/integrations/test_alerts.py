"""Alerts reach those who want to know, once for each incident, and say when it is over."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.core.mail import EmailMessage
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apiauth.models import User
from audit.models import AuditEvent
from integrations import triage
from integrations.alerts import close_incidents, open_incident
from integrations.models import Alert, Connection
from integrations.models.alert import CALM, AlertNotice, Letters, Severity
from integrations.notices import send_alerts
from tests.integrations.feed import Feed
from tests.processes import at_once

NOON = datetime.datetime(2026, 9, 1, 12, tzinfo=datetime.UTC)
NEXT_MORNING = datetime.datetime(2026, 9, 2, 7, tzinfo=datetime.UTC)
NEVER_TWICE = "sync:aid:aid_awards"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOON, tick=False) as traveller:
        yield traveller


@pytest.fixture
def ana(db: None) -> User:
    return person("ana")


def person(name: str, **changes: Any) -> User:
    return User.objects.create(
        **{
            "username": name,
            "email": f"{name}@example.edu",
            "is_superuser": True,
            "is_staff": True,
            **changes,
        }
    )


def something(severity: Severity = Severity.NORMAL, incident: str = NEVER_TWICE, **values: Any) -> Alert:
    return open_incident(
        incident,
        counts=True,
        severity=severity,
        title="Aid office: failed",
        text="It answered 503.",
        **values,
    )


def wants(who: User, letters: Letters, *followed: Connection) -> None:
    triage.subscribe(
        who, letters, Connection.objects.filter(pk__in=[connection.pk for connection in followed])
    )


def told(outbox: list[EmailMessage]) -> list[tuple[str, str]]:
    """Who was told what, by the subjects of the letters."""
    return [(mail.to[0].partition("@")[0], mail.subject.removeprefix("[Matricula] ")) for mail in outbox]


# --- once for each incident --------------------------------------------------------------------------------------


def test_everybody_who_wants_to_know_is_told_once(ana: User, mailoutbox: list[EmailMessage]) -> None:
    person("ben")
    person("nobody", email="")
    person("left", is_active=False)
    person("advisor", is_superuser=False)
    something()
    assert [send_alerts(), send_alerts()] == [2, 0]
    assert told(mailoutbox) == [("ana", "Aid office: failed"), ("ben", "Aid office: failed")]


def test_what_repeats_brings_no_second_letter(
    ana: User, mailoutbox: list[EmailMessage], clock: time_machine.Traveller
) -> None:
    for _ in range(5):
        something()
        send_alerts()
        clock.shift(datetime.timedelta(hours=1))
    assert len(mailoutbox) == 1
    assert Alert.objects.get().times == 5


def test_it_says_that_it_is_over_to_those_who_were_told(
    ana: User, mailoutbox: list[EmailMessage], clock: time_machine.Traveller
) -> None:
    something()
    send_alerts()
    person("new")
    close_incidents(NEVER_TWICE)
    assert send_alerts() == 0
    clock.shift(CALM)
    assert [send_alerts(), send_alerts()] == [1, 0]
    assert told(mailoutbox)[-1] == ("ana", "Over: Aid office: failed")
    assert "over since 2026-09-01 12:00 UTC" in mailoutbox[-1].body


def test_what_flaps_is_one_incident_and_brings_one_letter_each_way(
    ana: User, mailoutbox: list[EmailMessage], clock: time_machine.Traveller
) -> None:
    for _ in range(10):
        something()
        send_alerts()
        clock.shift(CALM / 2)
        close_incidents(NEVER_TWICE)
        send_alerts()
        clock.shift(CALM / 2)
    clock.shift(CALM)
    send_alerts()
    assert told(mailoutbox) == [("ana", "Aid office: failed"), ("ana", "Over: Aid office: failed")]
    assert Alert.objects.get().times == 10


def test_what_comes_again_after_it_was_over_is_a_new_incident(
    ana: User, mailoutbox: list[EmailMessage], clock: time_machine.Traveller
) -> None:
    first = something()
    send_alerts()
    close_incidents(NEVER_TWICE)
    clock.shift(CALM)
    send_alerts()
    assert something().pk != first.pk
    send_alerts()
    assert [subject for _, subject in told(mailoutbox)] == [
        "Aid office: failed",
        "Over: Aid office: failed",
        "Aid office: failed",
    ]


def test_what_began_and_ended_before_anybody_was_told_is_told_as_that(
    ana: User, mailoutbox: list[EmailMessage]
) -> None:
    something()
    close_incidents(NEVER_TWICE)
    send_alerts()
    assert "It is over since 12:00 UTC." in mailoutbox[0].body


def test_a_letter_that_cannot_be_sent_stays_owed_to_that_person_alone(
    ana: User, mailoutbox: list[EmailMessage], monkeypatch: pytest.MonkeyPatch, clock: time_machine.Traveller
) -> None:
    person("ben")
    something()
    send = EmailMessage.send

    def send_to_all_but_ana(mail: EmailMessage, **options: Any) -> int:
        if mail.to == ["ana@example.edu"]:
            raise ConnectionRefusedError
        return send(mail, **options)

    with monkeypatch.context() as patch:
        patch.setattr(EmailMessage, "send", send_to_all_but_ana)
        assert send_alerts() == 1
    clock.shift(datetime.timedelta(minutes=3))
    assert send_alerts() == 1
    assert [who for who, _ in told(mailoutbox)] == ["ben", "ana"]


def test_an_incident_that_nobody_can_be_told_of_is_told_as_soon_as_somebody_can(
    mailoutbox: list[EmailMessage],
) -> None:
    something()
    assert send_alerts() == 0
    person("late")
    assert send_alerts() == 1


# --- by person ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("letters", "severities_at_once"),
    [
        (Letters.ALL, {Severity.LOW, Severity.NORMAL, Severity.URGENT}),
        (Letters.NORMAL, {Severity.NORMAL, Severity.URGENT}),
        (Letters.URGENT, {Severity.URGENT}),
        (Letters.DAILY, set()),
    ],
)
def test_less_urgent_ones_wait_for_the_letter_of_the_day(
    ana: User,
    mailoutbox: list[EmailMessage],
    clock: time_machine.Traveller,
    letters: Letters,
    severities_at_once: set[Severity],
) -> None:
    wants(ana, letters)
    for severity in Severity:
        something(severity, incident=f"of:{severity}")
    assert send_alerts() == len(severities_at_once)
    clock.move_to(NEXT_MORNING)
    waiting = len(Severity) - len(severities_at_once)
    assert [send_alerts(), send_alerts()] == [int(waiting > 0), 0]
    if waiting:
        assert mailoutbox[-1].body.count("Aid office: failed (open, seen once)") == waiting


def test_urgent_ones_say_so(ana: User, mailoutbox: list[EmailMessage]) -> None:
    something(Severity.URGENT)
    send_alerts()
    assert told(mailoutbox) == [("ana", "Urgent: Aid office: failed")]


def test_who_wants_none_gets_none(ana: User, mailoutbox: list[EmailMessage]) -> None:
    wants(ana, Letters.NONE)
    person("ben")
    something(Severity.URGENT)
    send_alerts()
    assert [who for who, _ in told(mailoutbox)] == ["ben"]


def test_who_follows_one_connection_hears_of_it_and_of_the_installation(
    ana: User, connection: Connection, mailoutbox: list[EmailMessage], feed: Feed
) -> None:
    other = Connection.objects.create(slug="b", name="B", connector="rest", base_url="https://b.example")
    wants(ana, Letters.NORMAL, connection)
    something(incident="breaker:b", connection=other)
    something(incident=NEVER_TWICE, stream=connection.streams.get())
    something(incident="ledger")
    person("ben")
    send_alerts()
    assert [who for who, _ in told(mailoutbox)].count("ana") == 2
    assert [who for who, _ in told(mailoutbox)].count("ben") == 3


def test_the_morning_is_that_of_the_installation(
    ana: User, mailoutbox: list[EmailMessage], clock: time_machine.Traveller, settings: Any
) -> None:
    settings.TIME_ZONE = "America/Chicago"
    something(Severity.LOW)
    send_alerts()
    due = AlertNotice.objects.get().due_at
    assert due.astimezone(ZoneInfo("America/Chicago")).time() == datetime.time(7)


# --- looking after it --------------------------------------------------------------------------------------------


def test_what_is_put_off_comes_back_and_says_that_it_is_still_there(
    ana: User, mailoutbox: list[EmailMessage], clock: time_machine.Traveller
) -> None:
    alert = something()
    send_alerts()
    for _ in range(2):
        triage.snooze(alert, timezone.now() + datetime.timedelta(hours=1))
        assert send_alerts() == 0
        assert not Alert.objects.needing_somebody(timezone.now()).exists()
        clock.shift(datetime.timedelta(hours=1))
        assert [send_alerts(), send_alerts()] == [1, 0]
    assert [subject for _, subject in told(mailoutbox)][1:] == ["Still open: Aid office: failed"] * 2
    assert Alert.objects.needing_somebody(timezone.now()).get() == alert


def test_what_is_over_does_not_come_back_from_being_put_off(
    ana: User, mailoutbox: list[EmailMessage], clock: time_machine.Traveller
) -> None:
    triage.snooze(something(), timezone.now() + datetime.timedelta(hours=1))
    close_incidents(NEVER_TWICE)
    clock.shift(datetime.timedelta(hours=2))
    send_alerts()
    assert not any("Still open" in subject for _, subject in told(mailoutbox))


def test_what_is_given_to_somebody_tells_them_and_comes_back_to_them_alone(
    ana: User, mailoutbox: list[EmailMessage], clock: time_machine.Traveller
) -> None:
    ben = person("ben")
    alert = something()
    send_alerts()
    triage.give(alert, ben, by=ana)
    triage.snooze(alert, timezone.now() + datetime.timedelta(hours=1))
    send_alerts()
    clock.shift(datetime.timedelta(hours=1))
    send_alerts()
    assert told(mailoutbox)[2:] == [
        ("ben", "Yours: Aid office: failed"),
        ("ben", "Still open: Aid office: failed"),
    ]


def test_what_somebody_looks_after_is_not_taken_by_another(ana: User) -> None:
    alert = something()
    triage.acknowledge(alert, ana)
    triage.acknowledge(alert, ana)
    with pytest.raises(triage.TriageRefused, match="ana looks after it already"):
        triage.acknowledge(alert, person("ben"))


def test_what_is_over_needs_nobody(ana: User) -> None:
    alert = something()
    close_incidents(NEVER_TWICE)
    with pytest.raises(triage.TriageRefused, match="over since 2026-09-01 12:00 UTC"):
        triage.acknowledge(alert, ana)


def test_who_may_not_see_alerts_is_given_none(ana: User) -> None:
    with pytest.raises(triage.TriageRefused, match="cannot see alerts"):
        triage.give(something(), person("advisor", is_superuser=False), by=ana)


# --- in the admin ------------------------------------------------------------------------------------------------


@pytest.fixture
def office(ana: User, client: Client) -> Client:
    client.force_login(ana)
    return client


def press(client: Client, alert: Alert, verb: str, **fields: Any) -> Any:
    return client.post(reverse("admin:integrations_alert_triage", args=[alert.pk, verb]), fields, follow=True)


def test_one_click_on_the_front_page_takes_an_alert(office: Client, ana: User) -> None:
    alert = something()
    assert "I look after it" in office.get(reverse("admin:index")).content.decode()
    page = press(office, alert, "acknowledge", back=reverse("admin:index"))
    assert page.redirect_chain[-1][0] == reverse("admin:index")
    assert "ana looks after it." in page.content.decode()
    alert.refresh_from_db()
    assert (alert.owner, alert.acknowledged_at) == (ana, NOON)
    assert AuditEvent.objects.filter(action="alert.acknowledged").count() == 1


def test_an_alert_is_given_and_put_off_on_its_page(office: Client) -> None:
    alert, ben = something(), person("ben")
    assert "ben looks after it now" in press(office, alert, "give", to=ben.pk).content.decode()
    assert (
        "put off until 2026-09-02 07:00 UTC"
        in press(office, alert, "snooze", **{"for": "morning"}).content.decode()
    )
    assert "1 alert put off" in office.get(reverse("admin:index")).content.decode()
    press(office, alert, "wake")
    assert set(AuditEvent.objects.values_list("action", flat=True)) >= {
        "alert.given",
        "alert.snoozed",
        "alert.woken",
    }


@pytest.mark.parametrize(
    ("verb", "fields", "words"),
    [
        ("give", {"to": "99999999999999999999999"}, "Choose who is to look after it."),
        ("give", {}, "Choose who is to look after it."),
        ("snooze", {"for": "ever"}, "Choose how long it is to be put off."),
        ("wake", {}, "It is not put off."),
    ],
)
def test_a_press_that_says_nothing_useful_is_answered_in_words(
    office: Client, verb: str, fields: dict[str, str], words: str
) -> None:
    assert words in press(office, something(), verb, **fields).content.decode()


def test_a_button_leads_back_to_our_own_pages_only(office: Client) -> None:
    answer = office.post(
        reverse("admin:integrations_alert_triage", args=[something().pk, "acknowledge"]),
        {"back": "//evil.example/"},
    )
    assert answer["Location"].startswith("/admin/integrations/alert/")


def test_who_may_only_look_changes_nothing(client: Client) -> None:
    client.force_login(person("auditor", is_superuser=False))
    answer = client.post(reverse("admin:integrations_alert_triage", args=[something().pk, "acknowledge"]))
    assert answer.status_code == 403
    assert client.get(reverse("admin:integrations_alert_letters")).status_code == 403


def test_everybody_says_for_themselves_which_letters_they_get(
    office: Client, ana: User, mailoutbox: list[EmailMessage], connection: Connection
) -> None:
    page = reverse("admin:integrations_alert_letters")
    assert "They go to ana@example.edu." in office.get(page).content.decode()
    office.post(page, {"letters": "urgent", "connections": [connection.pk]})
    ana.refresh_from_db()
    assert (ana.alert_subscription.letters, ana.alert_subscription.connections.get()) == (
        "urgent",
        connection,
    )
    assert "is not one of the available choices" in office.post(page, {"letters": "some"}).content.decode()


def test_lists_show_what_is_open_unless_asked(office: Client) -> None:
    alert = something()
    listed = reverse("admin:integrations_alert_changelist")
    assert "Aid office: failed" in office.get(listed).content.decode()
    close_incidents(NEVER_TWICE)
    assert "Aid office: failed" not in office.get(listed).content.decode()
    assert "Aid office: failed" in office.get(f"{listed}?state=over").content.decode()
    assert "Nothing is left" not in office.get(alert.page).content.decode()
    assert office.get(alert.page).status_code == 200


# --- by many at once ---------------------------------------------------------------------------------------------

SETUP = """
import django.db
from integrations.alerts import open_incident
from integrations.notices import send_alerts
django.db.connection.ensure_connection()
"""


@pytest.mark.django_db(transaction=True)
def test_of_many_who_send_at_once_one_sends(ana: User) -> None:
    something()
    assert sum(int(said) for said in at_once(6, setup=SETUP, act="print(send_alerts())")) == 1


@pytest.mark.django_db(transaction=True)
def test_of_many_who_notice_at_once_one_opens_the_incident(ana: User) -> None:
    at_once(
        6, setup=SETUP, act="open_incident('aid', counts=True, title='Aid: failed', text='It answered 503.')"
    )
    assert Alert.objects.get().times == 6
