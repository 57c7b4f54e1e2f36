"""A feed that goes silent, or brings far less than usual, reaches a person."""

from __future__ import annotations

import datetime
from collections.abc import Callable

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from integrations.models import Alert, Connection
from integrations.sync.silence import notice_silent_feeds
from integrations.tasks import send_alerts, sweep_runs
from tests.integrations.conftest import Sync
from tests.integrations.feed import Feed, award

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("endless_sessions")]
Days = Callable[[float], time_machine.travel]


def in_days(days: float) -> time_machine.travel:
    return time_machine.travel(timezone.now() + datetime.timedelta(days=days), tick=True)


def test_a_feed_in_which_nothing_succeeds_in_time_is_told_once(
    feed: Feed, sync: Sync, mailoutbox: list[object], admin_user: object
) -> None:
    sync()
    with in_days(1.4):
        assert notice_silent_feeds() == 0
    with in_days(1.6):
        sweep_runs()
        sweep_runs()
        alert = Alert.objects.open().get()
        assert "Nothing of aid_awards has come in from Financial aid office since" in alert.text
        assert alert.times == 1
        assert send_alerts() == 1
        assert len(mailoutbox) == 1
        sync()
        assert not Alert.objects.open().exists()


def test_failures_do_not_break_a_silence(feed: Feed, sync: Sync) -> None:
    sync()
    with in_days(1.6):
        feed.raw, feed.status = b"down", 500
        sync()
        assert notice_silent_feeds() == 1


def test_a_feed_that_never_succeeded_is_silent_too_and_leads_to_its_connection(
    connection: Connection, administrator: Client
) -> None:
    with in_days(1.6):
        assert notice_silent_feeds() == 1
        alert = Alert.objects.open().get()
        assert alert.get_absolute_url() == f"/admin/integrations/connection/{connection.pk}/change/"
        assert alert.get_absolute_url() in administrator.get("/admin/").content.decode()


def test_who_is_switched_off_or_synced_by_hand_is_not_silent(connection: Connection) -> None:
    with in_days(30):
        Connection.objects.update(enabled=False)
        assert notice_silent_feeds() == 0
        Connection.objects.update(enabled=True, every_minutes=None)
        assert notice_silent_feeds() == 0


def test_far_fewer_records_than_this_weekdays_usual_are_an_alert(feed: Feed, sync: Sync) -> None:
    feed.awards = [award(number) for number in range(1, 11)]
    for week in range(3):
        with in_days(7 * week):
            sync()
    feed.awards = feed.awards[:4]
    with in_days(22):  # another weekday: nothing is usual there yet
        sync()
        assert not Alert.objects.open().exists()
    with in_days(21):
        run = sync()
        assert run.status == "applied"
        assert "4 records of aid_awards came in from Financial aid office, where 10 are usual" in (
            Alert.objects.open().get().text
        )
    feed.awards = [award(number) for number in range(1, 9)]
    with in_days(28):
        sync()
        assert not Alert.objects.open().exists()


def test_a_feed_whose_every_record_is_rejected_is_an_alert(feed: Feed, sync: Sync) -> None:
    feed.awards = [award(1, amount="x"), award(2, amount="y")]
    assert sync().status == "applied"
    assert "All 2 records" in Alert.objects.open().get().text
    feed.awards = [award(1)]
    sync()
    assert not Alert.objects.open().exists()
