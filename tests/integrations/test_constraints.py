"""Every named constraint of integrations refuses what it is there to refuse, whoever writes.

A row that is right is written past everything but the database, once as it is and once with one thing wrong.
"""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from django.apps import apps
from django.db import IntegrityError, models, transaction

from apiauth.models import Consumer, User
from apiauth.operations import create_consumer
from integrations.models import (
    Alert,
    AlertNotice,
    AlertSubscription,
    Allowance,
    Breaker,
    Change,
    Connection,
    ConnectionToken,
    DeliveryAttempt,
    DeliveryPause,
    LoggedRequest,
    OutboxMessage,
    Passage,
    Pulse,
    RejectedRecord,
    RunLease,
    RunPage,
    Stream,
    SyncLink,
    SyncRun,
    TermCode,
    WebhookSubscription,
)
from integrations.models.plan import ChangeAction
from integrations.models.run import LIVE_STATUSES, RunStatus
from registration.models import Term
from tests.refusals import Case, Values, insert, named_constraints, refused_by, resolved, rolled_back
from tests.university import make_terms

pytestmark = pytest.mark.django_db
NOW = datetime.datetime(2026, 9, 1, 12, tzinfo=datetime.UTC)
PRINT = b"0123456789abcdef"


@pytest.fixture(autouse=True)
def boundary(db: None) -> None:
    """A connection with one stream, a run that is going on and one that is over; each with a row of its own."""
    connection = Connection.objects.create(
        slug="aid", name="Aid", connector="rest", base_url="https://a.example"
    )
    stream = Stream.objects.create(connection=connection, dataset="aid_awards")
    fall, _ = make_terms()
    TermCode.objects.create(connection=connection, code="202610", term=fall, changed_by="ada")
    over = SyncRun.objects.create(
        stream=stream, status="applied", trigger="command", started_by="ops", finished_at=NOW, slot_at=NOW
    )
    SyncRun.objects.create(stream=stream, status="queued", trigger="command", started_by="ops")
    SyncLink.objects.create(
        stream=stream, key="A1#1", raw_fingerprint=PRINT, canonical_fingerprint=PRINT, live=True, object_id=1
    )
    RunPage.objects.create(run=over, number=1, digest=PRINT, records=0)
    alert = Alert.objects.create(
        stream=stream, run=over, incident="sync:aid", title="Aid: failed", text="Why", last_seen_at=NOW
    )
    AlertNotice.objects.create(
        alert=alert, person=User.objects.create(username="reader"), moment="opened", due_at=NOW
    )

    Breaker.objects.create(
        connection=Connection.objects.create(
            slug="c", name="C", connector="rest", base_url="https://c.example"
        )
    )
    Allowance.objects.create(key="connection:1")
    WebhookSubscription.objects.create(
        consumer=create_consumer("Partner", scopes=["webhooks:manage"]).consumer,
        url="https://partner.example/hooks",
        event_types=["enrollment.changed"],
        secret="made-up",
    )
    message = OutboxMessage.objects.create(**RIGHT[OutboxMessage]() | {"key": "library:7:1"})
    DeliveryAttempt.objects.create(message=message, number=1, fence=1, started_at=NOW, holder="host:1")


def stream() -> Stream:
    return Stream.objects.get()


def reader() -> User:
    return User.objects.get()


def over() -> SyncRun:
    return SyncRun.objects.get(status="applied")


# Of each model, a row that nothing is wrong with and that is not there yet.
RIGHT: dict[type[models.Model], Values] = {
    Connection: lambda: {"slug": "b", "name": "B", "connector": "rest", "base_url": "https://b.example"},
    ConnectionToken: lambda: {
        "connection": Connection.objects.create(
            slug=f"c{Connection.objects.count()}", name="C", connector="rest", base_url="https://c.example"
        ),
        "fetched_at": NOW,
        "renew_at": NOW + datetime.timedelta(minutes=59),
        "expires_at": NOW + datetime.timedelta(hours=1),
    },
    TermCode: lambda: {
        "connection": stream().connection,
        "code": "F",
        "term": Term.objects.get(code="2026FA"),
        "changed_by": "ada",
    },
    Stream: lambda: {"connection": Connection.objects.get(slug="aid"), "dataset": "housing"},
    SyncRun: lambda: {
        "stream": stream(),
        "status": "applied",
        "trigger": "command",
        "started_by": "ops",
        "finished_at": NOW,
        "read": 16,
        "created": 1,
        "modified": 2,
        "voided": 5,
        "absent": 1,
        "unchanged": 3,
        "copies": 2,
        "rejected": 3,
        "held": 1,
        "live_before": 10,
        "live_after": 6,
    },
    RunLease: lambda: {"run": over(), "holder": "host:1", "heartbeat_at": NOW, "expires_at": NOW},
    Change: lambda: {
        "run": over(),
        "action": "create",
        "key": "A2#1",
        "raw_fingerprint": PRINT,
        "canonical_fingerprint": PRINT,
    },
    SyncLink: lambda: {
        "stream": stream(),
        "key": "A2#1",
        "raw_fingerprint": PRINT,
        "canonical_fingerprint": PRINT,
        "live": True,
        "object_id": 2,
    },
    RunPage: lambda: {"run": over(), "number": 2, "digest": PRINT, "records": 0},
    RejectedRecord: lambda: {"run": over(), "rule": "missing", "reason": "Why", "raw": b"{}", "raw_bytes": 2},
    Breaker: lambda: {"connection": Connection.objects.get(slug="aid")},
    LoggedRequest: lambda: {
        "connection": Connection.objects.get(slug="aid"),
        "purpose": "pull",
        "sent_at": NOW,
        "method": "GET",
        "url": "https://a.example/",
        "attempt": 1,
        "status": 200,
        "milliseconds": 5,
        "bytes_sent": 0,
        "bytes_received": 2,
    },
    Allowance: lambda: {"key": "host:a.example"},
    Passage: lambda: {"allowance": Allowance.objects.get(key="connection:1"), "sent_at": NOW, "ends_at": NOW},
    Pulse: lambda: {"part": "worker", "seen_at": NOW},
    OutboxMessage: lambda: {
        "connection": Connection.objects.get(slug="aid"),
        "kind": "library.provision",
        "key": "library:8:1",
        "subject": "library:8",
        "cause": "Enrolled",
        "created_at": NOW,
        "due_at": NOW,
    },
    DeliveryAttempt: lambda: {
        "message": OutboxMessage.objects.get(key="library:7:1"),
        "number": 2,
        "fence": 2,
        "started_at": NOW,
        "holder": "host:1",
    },
    DeliveryPause: lambda: {
        "connection": Connection.objects.get(slug="aid"),
        "reason": "it moves",
        "paused_by": "ana",
        "paused_at": NOW,
    },
    Alert: lambda: {
        "stream": stream(),
        "run": over(),
        "incident": "sync:b",
        "title": "B",
        "text": "Why",
        "last_seen_at": NOW,
    },
    WebhookSubscription: lambda: {
        "consumer": Consumer.objects.get(),
        "url": "https://partner.example/others",
        "event_types": ["enrollment.changed"],
        "secret": "made-up",
    },
    AlertNotice: lambda: {"alert": Alert.objects.get(), "person": reader(), "moment": "over", "due_at": NOW},
    AlertSubscription: lambda: {"person": reader()},
}

CASES = [
    *(Case("connection_named", Connection, {name: ""}) for name in ("slug", "name", "connector", "base_url")),
    Case("connection_conflicts_known", Connection, {"conflicts": "whoever"}),
    Case("connection_interval_not_over_a_year", Connection, {"every_minutes": 525_601}),
    *(Case("connection_interval_not_under_5_minutes", Connection, {"every_minutes": n}) for n in (0, 1, 4)),
    *(
        Case("connection_one_kind_of_schedule", Connection, {"every_minutes": None, **two})
        for two in (
            {"every_minutes": 60, "time_of_day": datetime.time(2)},
            {"every_minutes": 60, "cron": "0 2 * * *"},
            {"time_of_day": datetime.time(2), "cron": "0 2 * * *"},
        )
    ),
    *(
        Case(
            "connection_cron_not_under_5_minutes",
            Connection,
            {"every_minutes": None, "cron": f"{often} * * * *"},
        )
        for often in ("*", "*/1", "*/2", "*/3", "*/4")
    ),
    Case("connection_jitter_within_half_an_interval", Connection, {"every_minutes": 10, "jitter_minutes": 6}),
    Case("sync_run_one_for_a_slot", SyncRun, {"slot_at": NOW}),
    *(
        Case("connection_token_renewed_before_it_expires", ConnectionToken, wrong)
        for wrong in (
            {"renew_at": NOW - datetime.timedelta(seconds=1)},
            {"expires_at": NOW + datetime.timedelta(minutes=58)},
            {"renew_at": None},
            {"expires_at": None},
            {"fetched_at": None},
        )
    ),
    Case("term_code_once_for_its_days", TermCode, {"code": "202610", "from_on": None}),
    Case(
        "term_code_days_in_order", TermCode, {"from_on": NOW.date(), "through_on": datetime.date(1999, 1, 1)}
    ),
    Case("term_code_says_which_records", TermCode, {"code": ""}),
    Case("term_code_says_who", TermCode, {"changed_by": ""}),
    Case("stream_once_a_connection", Stream, {"dataset": "aid_awards"}),
    Case("sync_run_one_live_for_a_stream", SyncRun, {"status": "queued", "finished_at": None}),
    Case("sync_run_one_live_for_a_stream", SyncRun, {"status": "running", "finished_at": None}),
    Case("sync_run_status_known", SyncRun, {"status": "asleep"}),
    Case("sync_run_status_known", SyncRun, {"status": ""}),
    Case("sync_run_step_known", SyncRun, {"step": "dreaming"}),
    Case("sync_run_trigger_known", SyncRun, {"trigger": "a whim"}),
    Case("sync_run_ended_says_when", SyncRun, {"finished_at": None}),
    Case("sync_run_ended_says_when", SyncRun, {"status": "previewed", "finished_at": None}),
    Case("sync_run_failed_says_why", SyncRun, {"status": "failed"}),
    Case("sync_run_failed_says_why", SyncRun, {"status": "held"}),
    *(
        Case("sync_run_decision_says_who_when_and_why", SyncRun, {"status": status, **said})
        for status in ("approved", "refused")
        for said in (
            {},
            {"decided_by": "ana", "decided_at": NOW},
            {"decided_by": "ana", "decision_reason": "x"},
            {"decided_at": NOW, "decision_reason": "x"},
        )
    ),
    *(
        Case("sync_run_read_is_accounted_for", SyncRun, {name: wrong})
        for name, wrong in (
            ("read", 15),
            ("modified", 3),
            ("unchanged", 2),
            ("copies", 0),
            ("rejected", 4),
            ("held", 0),
        )
    ),
    Case("sync_run_read_is_accounted_for", SyncRun, {"absent": 0}),
    Case("sync_run_live_records_add_up", SyncRun, {"live_after": 7}),
    Case("sync_run_live_records_add_up", SyncRun, {"live_before": 9}),
    Case("change_action_known", Change, {"action": "delete"}),
    Case("change_action_known", Change, {"action": ""}),
    Case("sync_link_key_once_a_stream", SyncLink, {"key": "A1#1"}),
    Case("sync_link_object_only_while_live", SyncLink, {"live": False}),
    Case("run_page_once_a_run", RunPage, {"number": 1}),
    Case("rejected_record_outcome_known", RejectedRecord, {"outcome": "lost"}),
    Case("rejected_record_says_why", RejectedRecord, {"rule": ""}),
    Case("rejected_record_says_why", RejectedRecord, {"reason": ""}),
    Case("outbox_message_status_known", OutboxMessage, {"status": "lost", "ended_at": NOW}),
    Case("outbox_message_error_class_known", OutboxMessage, {"error_class": "bad luck"}),
    *(
        Case("outbox_message_says_what", OutboxMessage, {name: ""})
        for name in ("kind", "key", "subject", "cause")
    ),
    Case("outbox_message_escalated_says_why", OutboxMessage, {"status": "escalated"}),
    Case("outbox_message_escalated_says_why", OutboxMessage, {"status": "escalated", "reason": "it failed"}),
    Case(
        "outbox_message_is_held_while_waiting",
        OutboxMessage,
        {"status": "delivered", "ended_at": NOW, "lease_ends_at": NOW},
    ),
    Case("outbox_message_ended_says_when", OutboxMessage, {"status": "delivered"}),
    Case("outbox_message_ended_says_when", OutboxMessage, {"ended_at": NOW}),
    Case("delivery_attempt_numbered_once", DeliveryAttempt, {"number": 1}),
    Case("delivery_attempt_outcome_known", DeliveryAttempt, {"outcome": "lost", "ended_at": NOW}),
    Case("delivery_attempt_error_class_known", DeliveryAttempt, {"error_class": "bad luck"}),
    Case("delivery_attempt_ended_has_an_outcome", DeliveryAttempt, {"outcome": "delivered"}),
    Case("delivery_attempt_ended_has_an_outcome", DeliveryAttempt, {"ended_at": NOW}),
    Case("delivery_pause_says_who_and_why", DeliveryPause, {"reason": ""}),
    Case("delivery_pause_says_who_and_why", DeliveryPause, {"paused_by": ""}),
    Case("alert_one_open_an_incident", Alert, {"incident": "sync:aid"}),
    Case("alert_says_what", Alert, {"title": ""}),
    Case("alert_says_what", Alert, {"text": ""}),
    Case(
        "webhook_subscription_once_an_address", WebhookSubscription, {"url": "https://partner.example/hooks"}
    ),
    Case("webhook_subscription_over_https", WebhookSubscription, {"url": "http://partner.example/others"}),
    Case("webhook_subscription_present_one_has_a_secret", WebhookSubscription, {"secret": b""}),
    Case("webhook_subscription_present_one_has_a_secret", WebhookSubscription, {"ended_at": NOW}),
    *(Case("alert_severity_known", Alert, {"severity": wrong}) for wrong in (0, 4)),
    Case("alert_notice_once_a_moment", AlertNotice, {"moment": "opened", "person": reader}),
    Case("alert_notice_moment_known", AlertNotice, {"moment": "later"}),
    Case("alert_subscription_letters_known", AlertSubscription, {"letters": "some"}),
    Case("alert_is_about_one_thing", Alert, {"connection": lambda: stream().connection}),
    Case("breaker_state_known", Breaker, {"state": "ajar", "opened_at": NOW}),
    Case("breaker_hold_known", Breaker, {"hold": "tight"}),
    Case("breaker_not_closed_says_since", Breaker, {"state": "open"}),
    Case("breaker_half_open_has_one_probe", Breaker, {"state": "half_open", "opened_at": NOW}),
    Case(
        "breaker_half_open_has_one_probe",
        Breaker,
        {"state": "half_open", "opened_at": NOW, "probe": "a"},
    ),
    Case("breaker_half_open_has_one_probe", Breaker, {"probe": "a", "probe_ends_at": NOW}),
    Case("logged_request_error_class_known", LoggedRequest, {"error_class": "bad luck", "error": "Why"}),
    Case("logged_request_purpose_known", LoggedRequest, {"purpose": "fun"}),
    Case("logged_request_failure_says_why", LoggedRequest, {"error_class": "retry"}),
    Case("logged_request_failure_says_why", LoggedRequest, {"error": "Why"}),
    Case("logged_request_failure_says_why", LoggedRequest, {"body": "What"}),
    Case("allowance_named", Allowance, {"key": ""}),
    Case("pulse_part_known", Pulse, {"part": "heart"}),
    Case("passage_ends_after_it_began", Passage, {"ends_at": NOW - datetime.timedelta(seconds=1)}),
]

# Rows that look odd and are right.
RIGHT_TOO: list[tuple[type[models.Model], dict[str, Any]]] = [
    (Connection, {"every_minutes": 5}),
    (Connection, {"every_minutes": None}),
    (Connection, {"every_minutes": None, "time_of_day": datetime.time(2), "jitter_minutes": 700}),
    (Connection, {"every_minutes": None, "cron": "*/5 * * * *"}),
    (Connection, {"every_minutes": 10, "jitter_minutes": 5}),
    (SyncRun, {"slot_at": None}),
    (ConnectionToken, {"fetched_at": None, "renew_at": None, "expires_at": None}),
    (SyncLink, {"live": False, "object_id": None}),
    (TermCode, {"code": "202610", "from_on": NOW.date()}),
    (TermCode, {"code": "", "through_on": NOW.date()}),
    (SyncLink, {"live": True, "object_id": None}),
    (Alert, {"incident": "sync:aid", "resolved_at": NOW}),
    (Breaker, {"state": "open", "hold": "closed", "opened_at": NOW}),
    (Breaker, {"state": "half_open", "opened_at": NOW, "probe": "a", "probe_ends_at": NOW}),
    (LoggedRequest, {"status": None, "error_class": "refresh token", "error": "Why", "body": "What"}),
    # Only what was applied has to add up.
    (SyncRun, {"status": "failed", "reason": "Why", "read": 99}),
    (SyncRun, {"status": "cancelled", "live_after": 99}),
]


def test_each_named_constraint_has_a_case_that_breaks_it() -> None:
    assert {case.constraint for case in CASES} == set(named_constraints("integrations"))


def test_each_case_is_of_the_model_that_its_constraint_is_on() -> None:
    owners = named_constraints("integrations")
    assert [case for case in CASES if owners[case.constraint] is not case.model] == []


def test_each_model_is_tried() -> None:
    assert set(RIGHT) == set(apps.get_app_config("integrations").get_models())


@pytest.mark.parametrize("model", RIGHT, ids=lambda model: model.__name__)
def test_a_row_that_is_right_is_accepted(model: type[models.Model]) -> None:
    before = model._default_manager.count()
    insert(model, RIGHT[model]())
    assert model._default_manager.count() == before + 1


@pytest.mark.parametrize(("model", "values"), RIGHT_TOO, ids=str)
def test_a_row_that_looks_odd_and_is_right_is_accepted(
    model: type[models.Model], values: dict[str, Any]
) -> None:
    row = insert(model, RIGHT[model]() | values)
    assert model._default_manager.filter(pk=row.pk, **values).exists()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_insert_that_breaks_a_constraint_is_refused_by_name(case: Case) -> None:
    row = RIGHT[case.model]() | case.wrong_values()
    with refused_by(case.constraint):
        insert(case.model, row)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_update_that_breaks_a_constraint_is_refused_by_name(case: Case) -> None:
    row = insert(case.model, RIGHT[case.model]())
    with refused_by(case.constraint):
        case.model._default_manager.filter(pk=row.pk).update(**case.wrong_values())


def test_every_status_and_action_is_accepted() -> None:
    said = {"reason": "Why", "decided_by": "ana", "decided_at": NOW, "decision_reason": "Why"}
    for status in RunStatus:
        SyncRun.objects.filter(status__in=LIVE_STATUSES).delete()
        with rolled_back():
            finished_at = None if status in LIVE_STATUSES else NOW
            row = insert(SyncRun, RIGHT[SyncRun]() | said | {"status": status, "finished_at": finished_at})
            assert SyncRun.objects.filter(pk=row.pk, status=status.value).exists()
    for action in ChangeAction:
        row = insert(Change, RIGHT[Change]() | {"action": action})
        assert Change.objects.filter(pk=row.pk, action=action.value).exists()


@pytest.mark.parametrize(
    ("model", "field"),
    [
        (model, field.name)
        for model in RIGHT
        for field in model._meta.concrete_fields
        if field.unique and not isinstance(field, models.AutoField)
    ],
    ids=lambda part: getattr(part, "__name__", part),
)
def test_what_names_a_row_names_no_other(model: type[models.Model], field: str) -> None:
    row = insert(model, RIGHT[model]())
    another = resolved(RIGHT[model]() | {field: getattr(row, field)})
    with pytest.raises(IntegrityError), transaction.atomic():
        insert(model, another)
