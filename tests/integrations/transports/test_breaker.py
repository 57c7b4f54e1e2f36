"""The circuit breaker opens after five failures in a row, tries one attempt after a minute, and tells everybody."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import pytest
import time_machine
from django.core.mail import EmailMessage
from django.utils import timezone
from hypothesis import settings as hypothesis_settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from pytest_httpserver import HTTPServer

from audit.models import AuditEvent
from integrations.models import Alert, Breaker, Connection
from integrations.models.alert import CALM
from integrations.models.breaker import BreakerState
from integrations.notices import send_alerts
from integrations.transports import breaker
from integrations.transports.breaker import BreakerOpen, Shows, admit, learn, shown_by
from integrations.transports.egress import EgressRefused, Refusal
from integrations.transports.errors import (
    BrokenOff,
    ErrorClass,
    NotTrusted,
    Refused,
    TimedOut,
    TooLarge,
    TransportError,
    Unreachable,
)
from integrations.transports.http import HttpTransport, Purpose, Request, Timeouts
from integrations.transports.line import ConnectionLine
from integrations.transports.messages import Attempt
from tests.integrations.conftest import Load, Sync
from tests.integrations.feed import Feed, award
from tests.integrations.test_transport import make_user
from tests.processes import at_once

MINUTE = datetime.timedelta(seconds=60)
NOW = datetime.datetime(2026, 9, 1, 12, tzinfo=datetime.UTC)


@pytest.fixture
def system(db: None) -> Connection:
    return Connection.objects.create(
        slug="aid", name="Aid office", connector="rest", base_url="https://a.example"
    )


@pytest.fixture
def clock() -> Iterator[Any]:
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


def fail(connection: Connection, times: int = 1) -> None:
    for _ in range(times):
        learn(connection, admit(connection, 10), Shows.DOWN, "the other system answered 503")


def succeed(connection: Connection) -> None:
    learn(connection, admit(connection, 10), Shows.UP)


def state(connection: Connection) -> str:
    return Breaker.objects.get(connection=connection).state


# --- what it does --------------------------------------------------------------------------------------------


def test_five_failed_attempts_in_a_row_open_it(system: Connection) -> None:
    fail(system, 4)
    assert state(system) == BreakerState.CLOSED
    fail(system)
    assert state(system) == BreakerState.OPEN


def test_a_success_in_between_begins_the_count_anew(system: Connection) -> None:
    fail(system, 4)
    succeed(system)
    fail(system, 4)
    assert state(system) == BreakerState.CLOSED


def test_while_it_is_open_nothing_goes_out_and_the_reason_says_until_when(
    system: Connection, clock: Any
) -> None:
    fail(system, 5)
    with pytest.raises(BreakerOpen) as caught:
        admit(system, 10)
    assert caught.value.until == NOW + MINUTE
    assert "until 12:01:00 UTC" in str(caught.value)
    assert "5 attempts in a row failed" in str(caught.value)
    assert "503" in str(caught.value)
    clock.shift(59.9)
    with pytest.raises(BreakerOpen):
        admit(system, 10)


def test_after_a_minute_exactly_one_attempt_is_let_through(system: Connection, clock: Any) -> None:
    fail(system, 5)
    clock.shift(60)
    assert admit(system, 10)
    assert state(system) == BreakerState.HALF_OPEN
    for _ in range(3):
        with pytest.raises(BreakerOpen, match="trying it at this moment"):
            admit(system, 10)


def test_a_probe_that_succeeds_closes_it(system: Connection, clock: Any) -> None:
    fail(system, 5)
    clock.shift(60)
    succeed(system)
    assert state(system) == BreakerState.CLOSED
    fail(system, 4)
    assert state(system) == BreakerState.CLOSED


def test_a_probe_that_fails_opens_it_for_another_minute(system: Connection, clock: Any) -> None:
    fail(system, 5)
    clock.shift(60)
    fail(system)
    assert state(system) == BreakerState.OPEN
    clock.shift(59)
    with pytest.raises(BreakerOpen):
        admit(system, 10)
    clock.shift(1)
    succeed(system)
    assert state(system) == BreakerState.CLOSED


def test_a_probe_whose_process_died_is_given_up_in_time(system: Connection, clock: Any) -> None:
    fail(system, 5)
    clock.shift(60)
    lost = admit(system, 10)
    clock.shift(19)
    with pytest.raises(BreakerOpen):
        admit(system, 10)
    clock.shift(1)
    new = admit(system, 10)
    assert new != lost
    learn(system, lost, Shows.DOWN)
    assert state(system) == BreakerState.HALF_OPEN
    learn(system, new, Shows.UP)
    assert state(system) == BreakerState.CLOSED


def test_a_probe_that_could_not_be_sent_leaves_the_try_to_the_next(system: Connection, clock: Any) -> None:
    fail(system, 5)
    clock.shift(60)
    learn(system, admit(system, 10), Shows.NOTHING)
    assert admit(system, 10)


def test_an_attempt_that_began_before_it_opened_changes_nothing_when_it_ends(
    system: Connection, clock: Any
) -> None:
    early = admit(system, 10)
    fail(system, 5)
    opened_at = Breaker.objects.get().opened_at
    clock.shift(30)
    learn(system, early, Shows.DOWN)
    learn(system, early, Shows.UP)
    assert (state(system), Breaker.objects.get().opened_at) == (BreakerState.OPEN, opened_at)


def test_every_change_is_in_the_trail(system: Connection, clock: Any) -> None:
    fail(system, 5)
    clock.shift(60)
    fail(system)
    clock.shift(60)
    succeed(system)
    breaker.hold_open(system, reason="They move house.")
    breaker.reset(system, reason="They are back.")
    actions = AuditEvent.objects.about(system).order_by("id").values_list("action", flat=True)
    assert list(actions) == [
        "breaker.opened",
        "breaker.half_opened",
        "breaker.opened",
        "breaker.half_opened",
        "breaker.closed",
        "breaker.held_open",
        "breaker.reset",
    ]


# --- by hand -------------------------------------------------------------------------------------------------


def test_held_open_nothing_goes_out_however_long(system: Connection, clock: Any) -> None:
    breaker.hold_open(system, reason="Maintenance")
    clock.shift(datetime.timedelta(days=3))
    with pytest.raises(BreakerOpen, match="holds its circuit breaker open"):
        admit(system, 10)


def test_held_closed_everything_goes_out_whatever_fails(system: Connection) -> None:
    breaker.hold_closed(system, reason="We watch it")
    fail(system, 50)
    assert state(system) == BreakerState.CLOSED


def test_reset_closes_it_and_it_opens_by_itself_again(system: Connection) -> None:
    fail(system, 5)
    breaker.reset(system, reason="It is well")
    fail(system, 4)
    assert state(system) == BreakerState.CLOSED
    fail(system)
    assert state(system) == BreakerState.OPEN


# --- what counts ---------------------------------------------------------------------------------------------


def attempt(error: TransportError | None, seconds: float = 0.1, purpose: Purpose = Purpose.PULL) -> Attempt:
    return Attempt(Request("https://a.example"), purpose, 1, NOW, seconds, None, error)


def refused(error_class: ErrorClass) -> Refused:
    return Refused("x", error_class=error_class, status=400)


@pytest.mark.parametrize(
    ("error", "shows"),
    [
        (None, Shows.UP),
        (Unreachable("x"), Shows.DOWN),
        (TimedOut("x"), Shows.DOWN),
        (BrokenOff("x"), Shows.DOWN),
        (NotTrusted("x"), Shows.DOWN),
        (refused(ErrorClass.RETRY), Shows.DOWN),
        (refused(ErrorClass.THROTTLE), Shows.UP),
        (refused(ErrorClass.REFRESH_TOKEN), Shows.UP),
        (refused(ErrorClass.EXISTS), Shows.UP),
        (refused(ErrorClass.BLOCKED), Shows.UP),
        (refused(ErrorClass.PERMANENT), Shows.UP),
        (refused(ErrorClass.CONFIG), Shows.UP),
        (TooLarge("x"), Shows.UP),
        (EgressRefused(Refusal("a", 1, "10.0.0.1", "private")), Shows.NOTHING),
    ],
)
def test_only_what_shows_that_the_system_is_down_counts_as_failed(
    error: TransportError | None, shows: Shows
) -> None:
    assert shown_by(attempt(error), None) is shows


@pytest.mark.parametrize(
    ("purpose", "slow_ms", "seconds", "shows"),
    [
        (Purpose.DO, None, 1.0, Shows.UP),
        (Purpose.DO, None, 1.001, Shows.DOWN),
        (Purpose.PULL, None, 100, Shows.UP),
        (Purpose.PULL, 200, 0.201, Shows.DOWN),
        (Purpose.DO, 5000, 4.9, Shows.UP),
    ],
)
def test_an_attempt_slower_than_slow_ms_counts_as_failed(
    purpose: Purpose, slow_ms: int | None, seconds: float, shows: Shows
) -> None:
    assert shown_by(attempt(None, seconds, purpose), slow_ms) is shows


def test_a_probe_that_is_answered_slowly_does_not_close_it(system: Connection, clock: Any) -> None:
    fail(system, 5)
    clock.shift(60)
    learn(system, admit(system, 10), shown_by(attempt(None, 9, Purpose.DO), None))
    assert state(system) == BreakerState.OPEN


class Model(RuleBasedStateMachine):
    """The breaker beside the simplest one there is, through any history."""

    def __init__(self) -> None:
        super().__init__()
        Connection.objects.filter(slug="model").delete()
        self.system = Connection.objects.create(
            slug="model", name="M", connector="rest", base_url="https://m.example"
        )
        self.time = time_machine.travel(NOW, tick=False)
        self.clock = self.time.start()
        self.failures, self.opened_at = 0, None  # type: tuple[int, datetime.datetime | None]

    def teardown(self) -> None:
        self.time.stop()

    @property
    def is_open(self) -> bool:
        return self.opened_at is not None and timezone.now() < self.opened_at + MINUTE

    @rule()
    @precondition(lambda self: not self.is_open)
    def fails(self) -> None:
        fail(self.system)
        self.failures += 1
        if self.opened_at is not None or self.failures >= 5:
            self.opened_at = timezone.now()

    @rule()
    @precondition(lambda self: not self.is_open)
    def succeeds(self) -> None:
        succeed(self.system)
        self.failures, self.opened_at = 0, None

    @rule()
    def waits(self) -> None:
        self.clock.shift(31)

    @rule()
    def is_reset(self) -> None:
        breaker.reset(self.system, reason="x")
        self.failures, self.opened_at = 0, None

    @invariant()
    def it_lets_through_what_the_model_does(self) -> None:
        if self.is_open:
            with pytest.raises(BreakerOpen):
                admit(self.system, 10)
        elif self.opened_at is None:
            assert admit(self.system, 10) == ""


@pytest.mark.django_db
def test_through_any_history_it_does_what_the_simplest_breaker_does() -> None:
    run_state_machine_as_test(
        Model, settings=hypothesis_settings(max_examples=15, stateful_step_count=20, deadline=None)
    )


# --- of many processes ---------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_of_eight_processes_at_the_moment_it_half_opens_exactly_one_asks(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/").respond_with_data("[]")
    system = Connection.objects.create(
        slug="aid", name="Aid office", connector="rest", base_url=httpserver.url_for("/").rstrip("/")
    )
    Breaker.objects.create(
        connection=system, state=BreakerState.OPEN, failures=5, opened_at=timezone.now() - MINUTE
    )
    said = at_once(
        8,
        setup="""
            from integrations.models import Connection
            from integrations.transports.breaker import BreakerOpen, learn
            from integrations.transports.http import HttpTransport, Purpose, Request, Timeouts
            from integrations.transports.line import ConnectionLine
            from django.db import connection as database
            system = Connection.objects.get(slug="aid")
            line = ConnectionLine(system)
            transport = HttpTransport(Timeouts(), purpose=Purpose.DO, line=line)
            # What the one has learned is told when all others have had their try.
            line._learn = lambda attempt: None
        """,
        act="""
            try:
                transport.exchange(Request(system.base_url + "/"))
            except BreakerOpen:
                print("kept away")
            else:
                print("asked")
        """,
    )
    assert sorted(said) == ["asked\n"] + ["kept away\n"] * 7
    assert len(httpserver.log) == 1
    assert state(system) == BreakerState.HALF_OPEN
    assert AuditEvent.objects.filter(action="breaker.half_opened").count() == 1


@pytest.mark.django_db(transaction=True)
def test_failures_of_many_processes_are_counted_together_and_open_it_once(db: None) -> None:
    system = Connection.objects.create(
        slug="aid", name="Aid office", connector="rest", base_url="https://a.example"
    )
    at_once(
        8,
        setup="""
            from integrations.models import Connection
            from integrations.transports.breaker import Shows, learn
            system = Connection.objects.get(slug="aid")
        """,
        act="""
            learn(system, "", Shows.DOWN, "down")
        """,
    )
    assert (state(system), Breaker.objects.get().failures) == (BreakerState.OPEN, 5)
    assert AuditEvent.objects.filter(action="breaker.opened").count() == 1


# --- in a run ------------------------------------------------------------------------------------------------


def test_each_attempt_of_a_pull_counts(feed: Feed, sync: Sync) -> None:
    feed.status, feed.raw = 503, b""
    sync()
    assert Breaker.objects.get().failures == 3
    run = sync()
    assert Breaker.objects.get().state == BreakerState.OPEN
    assert len(feed.requests) == 5
    assert "answered 503" in run.reason


def test_while_it_is_open_a_sync_fails_at_once_and_says_until_when(
    feed: Feed, sync: Sync, clock: Any
) -> None:
    feed.awards = [award(1)]
    feed.status = 503
    sync()
    sync()
    asked = len(feed.requests)
    feed.status = 200
    run = sync()
    assert (run.status, len(feed.requests)) == ("failed", asked)
    assert "it is not called until 12:01:00 UTC" in run.reason
    assert "Nothing was applied." in run.reason
    assert "tried again by itself" in run.reason
    clock.shift(60)
    assert sync().status == "applied"
    assert Breaker.objects.get().state == BreakerState.CLOSED


def test_a_system_that_says_no_is_up(feed: Feed, sync: Sync) -> None:
    feed.status, feed.raw = 401, b""
    for _ in range(6):
        assert "answered 401" in sync().reason
    assert not Breaker.objects.filter(failures__gt=0).exists()


def test_slow_ms_of_the_connection_is_for_pulls_too(feed: Feed, load: Load, sync: Sync) -> None:
    load(timeouts={"slow_ms": 1})
    feed.awards, feed.page_size = [award(number) for number in range(1, 9)], 1
    run = sync()
    assert run.status == "failed"
    assert "attempts in a row failed, at last because it took" in run.reason


# --- who is told ---------------------------------------------------------------------------------------------


def test_an_open_breaker_is_one_alert_that_closes_by_itself(
    system: Connection, clock: Any, mailoutbox: list[EmailMessage]
) -> None:
    make_user("ops")
    fail(system, 5)
    assert [send_alerts(), send_alerts()] == [1, 0]
    alert = Alert.objects.get()
    assert alert.title == "Aid office: circuit breaker open"
    assert "5 attempts in a row failed, at last because the other system answered 503" in alert.text
    assert alert.get_absolute_url() in mailoutbox[0].body
    assert "closes by itself" in mailoutbox[0].body
    clock.shift(60)
    fail(system)
    send_alerts()
    assert (Alert.objects.count(), Alert.objects.open().count()) == (1, 1)
    clock.shift(60)
    succeed(system)
    send_alerts()
    assert not Alert.objects.open().exists()
    clock.shift(CALM)
    send_alerts()
    fail(system, 5)
    send_alerts()
    assert (Alert.objects.count(), Alert.objects.open().count()) == (2, 1)


def test_one_that_a_person_holds_open_is_an_alert_and_one_held_closed_is_none(system: Connection) -> None:
    breaker.hold_open(system, reason="Maintenance")
    send_alerts()
    assert "holds it open" in Alert.objects.open().get().text
    breaker.hold_closed(system, reason="Back")
    send_alerts()
    assert not Alert.objects.open().exists()


def test_a_connection_that_is_archived_alerts_nobody(system: Connection) -> None:
    fail(system, 5)
    system.archived_at = timezone.now()
    system.save()
    send_alerts()
    assert not Alert.objects.exists()


# --- the line ------------------------------------------------------------------------------------------------


def test_what_cannot_be_sent_is_no_failure_of_the_system(system: Connection) -> None:
    with HttpTransport(Timeouts(), line=ConnectionLine(system)) as transport:
        for _ in range(6):
            with pytest.raises(EgressRefused):
                transport.exchange(Request("http://169.254.169.254/"))
    assert not Breaker.objects.exists()


def test_a_refused_address_is_in_the_trail_with_what_it_was(system: Connection) -> None:
    with HttpTransport(Timeouts(), line=ConnectionLine(system)) as transport, pytest.raises(EgressRefused):
        transport.exchange(Request("http://169.254.169.254/latest?token=abc"))
    event = AuditEvent.objects.get(action="connection.egress_refused")
    assert (event.subject_type, event.subject_id) == ("integrations.connection", str(system.pk))
    assert event.detail == {
        "host": "169.254.169.254",
        "port": 80,
        "address": "169.254.169.254",
        "kind": "a metadata service's",
    }
