"""An outage is told once it is over, and none is made up."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from integrations import diagnosis
from integrations.diagnosis import diagnose, examine, watch_disk
from integrations.liveness import OUTAGE_SHOWN, show_life
from integrations.models import Alert, Connection, RunLease, Stream
from integrations.models.pulse import Part
from integrations.models.run import RunTrigger
from integrations.operations import request_run
from integrations.sync.lease import take
from integrations.tasks import send_alerts

pytestmark = pytest.mark.django_db
NOON = datetime.datetime(2026, 9, 1, 12, tzinfo=datetime.UTC)
SECOND, MINUTE = datetime.timedelta(seconds=1), datetime.timedelta(minutes=1)


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOON, tick=False) as clock:
        yield clock


def states() -> dict[str, str]:
    return {finding.part: finding.state for finding in diagnose()}


@pytest.mark.parametrize("part", Part)
def test_an_outage_is_one_alert_that_is_mailed_and_closes_after_an_hour(
    clock: time_machine.Traveller, part: Part, mailoutbox: list[object], admin_user: object
) -> None:
    show_life(part)
    assert states()[part] == "ok"
    clock.shift(61)
    assert states()[part] == "silent"
    show_life(part)
    assert states()[part] == "ok"
    alert = Alert.objects.open().get()
    assert "from 2026-09-01 12:00:00 to 2026-09-01 12:01:01 UTC" in alert.text
    assert "closes by itself after an hour" in alert.ends
    assert (send_alerts(), len(mailoutbox)) == (1, 1)
    for _ in range(70):
        clock.shift(55)
        show_life(part)
    assert not Alert.objects.open().exists()
    assert OUTAGE_SHOWN < 70 * 55 * SECOND


def test_who_was_never_seen_is_said_so_and_no_outage(clock: time_machine.Traveller) -> None:
    assert (states()["beat"], states()["worker"]) == ("not seen", "not seen")
    show_life(Part.BEAT)
    show_life(Part.BEAT)
    assert not Alert.objects.exists()


def test_workers_that_are_all_busy_with_runs_are_not_silent(
    clock: time_machine.Traveller, stream: Stream
) -> None:
    show_life(Part.WORKER)
    run = request_run(stream, RunTrigger.ADMIN)
    clock.shift(600)
    assert take(run.pk)
    assert states()["worker"] == "ok"
    show_life(Part.WORKER)
    assert not Alert.objects.exists()
    clock.shift(61)
    RunLease.objects.update(heartbeat_at=NOON)
    assert states()["worker"] == "silent"


def test_work_that_waits_is_late_whether_it_is_a_run_or_not_even_that(
    clock: time_machine.Traveller, stream: Stream
) -> None:
    Stream.objects.update(next_run_at=NOON)
    clock.move_to(NOON + 5 * MINUTE)
    work = diagnose()[-1]
    assert (work.part, work.state, work.age_seconds) == ("work", "ok", 300)
    clock.move_to(NOON + 5 * MINUTE + SECOND)
    assert states()["work"] == "late"
    request_run(stream, RunTrigger.ADMIN)
    assert states()["work"] == "ok"
    clock.shift(301)
    assert states()["work"] == "late"
    Connection.objects.update(enabled=False)
    stream.runs.update(status="cancelled", finished_at=timezone.now())
    assert states()["work"] == "ok"


@pytest.mark.parametrize(("megabytes", "state", "status"), [(9, "full", 503), (150, "low", 200)])
def test_a_disk_that_fills_up_is_seen_and_told_once_until_there_is_room(
    client: Client, monkeypatch: pytest.MonkeyPatch, megabytes: int, state: str, status: int
) -> None:
    monkeypatch.setattr(diagnosis, "_broker", lambda: diagnosis.Finding("broker", "ok", "It answers."))
    room = {"free": megabytes * 1024**2}
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(**room))
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["disk"]) == (status, state)
    watch_disk()
    watch_disk()
    alert = Alert.objects.open().get()
    assert (alert.times, alert.title) == (1, f"The disk is {state}")
    assert f"{megabytes} MB left" in alert.text
    room["free"] = 1024**3
    watch_disk()
    assert not Alert.objects.open().exists()


def test_a_secret_whose_key_is_not_here_is_named_with_what_to_do(connection: Connection) -> None:
    assert examine()[-1].is_ok
    Connection.objects.update(secrets=b"\x01" + b"x" * 60)
    keys = examine()[-1]
    assert (keys.part, keys.state) == ("keys", "missing")
    assert "financial-aid" in keys.sentence
    assert "CREDENTIAL_KEYS" in keys.advice


def test_the_front_page_says_what_stands_still(administrator: Client) -> None:
    page = administrator.get("/admin/").content.decode()
    assert "Beat: not seen" in page
    assert "celery -A config beat" in page
    assert "Nothing needs you" not in page
