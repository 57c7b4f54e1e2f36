"""The trail: written with the change or not at all, ascribed to whoever acted, and never changed again."""

from __future__ import annotations

import datetime
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.apps import apps
from django.db import ProgrammingError, connection, models, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden
from django.test import Client
from django.urls import path
from django.utils import timezone

import audit
from apiauth.models import User
from audit.context import SYSTEM, Actor, acting, ascribe, current_actor, current_context
from audit.database_roles import APPEND_ONLY
from audit.models import AuditCheckpoint, AuditEvent, AuditSeal, EventFlood
from tests.database_roles import as_owner, past_the_triggers
from tests.refusals import (
    Case,
    copy_over_itself,
    execute,
    insert,
    named_constraints,
    refused_as_unchangeable,
    refused_by,
)

pytestmark = pytest.mark.django_db
TABLE = "audit_auditevent"
NOW = datetime.datetime(2026, 9, 1, 12, tzinfo=datetime.UTC)
RITA = Actor(kind="user", name="rita", id="7")


@pytest.fixture
def subject(db: None) -> User:
    return User.objects.create(username="subject", email="subject@example.edu")


@pytest.fixture
def event(subject: User) -> AuditEvent:
    with acting(RITA, request_id="f" * 32, address="192.0.2.1"):
        return audit.record("user.changed", subject, reason="asked by phone", detail={"fields": ["email"]})


# --- what is kept -----------------------------------------------------------------------------------------


def test_an_event_keeps_what_was_done_to_what_by_whom_when_why_and_from_where(
    event: AuditEvent, subject: User
) -> None:
    kept = AuditEvent.objects.get()
    assert timezone.now() - kept.at < datetime.timedelta(minutes=5)
    said = {
        name: value for name, value in AuditEvent.objects.values().get().items() if name not in ("id", "at")
    }
    assert said == {
        "action": "user.changed",
        "subject_type": "apiauth.user",
        "subject_id": str(subject.pk),
        "actor_kind": "user",
        "actor_id": "7",
        "actor_name": "rita",
        "reason": "asked by phone",
        "detail": {"fields": ["email"]},
        "request_id": "f" * 32,
        "address": "192.0.2.1",
    }


def test_who_acts_where_nobody_does_is_the_system(subject: User) -> None:
    assert current_actor() == SYSTEM
    kept = audit.record("user.changed", subject)
    assert (kept.actor_kind, kept.actor_name, kept.request_id, kept.address) == ("system", "system", "", "")


def test_an_actor_that_is_named_goes_before_the_one_at_hand(subject: User) -> None:
    with acting(RITA, request_id="a" * 32):
        kept = audit.record("user.changed", subject, actor=Actor(kind="consumer", name="housing", id="9"))
    assert (kept.actor_kind, kept.actor_name, kept.actor_id, kept.request_id) == (
        "consumer",
        "housing",
        "9",
        "a" * 32,
    )


def test_the_actor_s_name_stays_when_the_account_is_gone(subject: User) -> None:
    leaving = User.objects.create(username="leaving")
    with acting(Actor(kind="user", name=leaving.get_username(), id=str(leaving.pk))):
        audit.record("user.changed", subject)
    leaving.delete()
    assert AuditEvent.objects.get().actor_name == "leaving"


def test_an_event_stays_when_its_subject_is_gone(event: AuditEvent, subject: User) -> None:
    label, pk = "apiauth.user", str(subject.pk)
    subject.delete()
    assert AuditEvent.objects.get(subject_type=label, subject_id=pk) == event


def test_a_name_too_long_for_its_column_is_cut_and_never_loses_the_event(subject: User) -> None:
    kept = audit.record("user.changed", subject, actor=Actor(kind="command", name="é" * 500))
    kept.refresh_from_db()
    assert kept.actor_name == "é" * 150


def test_the_events_about_one_subject_are_its_own(event: AuditEvent, subject: User) -> None:
    other = User.objects.create(username="other")
    audit.record("user.changed", other)
    assert list(AuditEvent.objects.about(subject)) == [event]


@pytest.mark.parametrize(
    "action",
    [
        *(
            "",
            "dropped",
            "user.",
            ".changed",
            "user..changed",
            "User.changed",
            "user.Changed",
            "user changed",
        ),
        *(
            "user.changed ",
            "user.changed\n",
            "user-changed",
            "user.changed1",
            "usér.changed",
            "user.changed;--",
        ),
    ],
)
def test_an_action_that_is_no_dotted_verb_is_refused_and_leaves_nothing(subject: User, action: str) -> None:
    with pytest.raises(ValueError, match="is not a dotted action"):
        audit.record(action, subject)
    assert not AuditEvent.objects.exists()


# --- in the transaction of its change -----------------------------------------------------------------------


def test_when_the_change_is_taken_back_so_is_its_event(subject: User) -> None:
    def change_and_fail() -> None:
        with transaction.atomic():
            User.objects.filter(pk=subject.pk).update(first_name="New")
            audit.record("user.changed", subject)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        change_and_fail()
    subject.refresh_from_db()
    assert (subject.first_name, AuditEvent.objects.count()) == ("", 0)


@pytest.mark.django_db(transaction=True)
def test_the_event_is_there_for_others_when_the_change_is_and_not_before(subject: User) -> None:
    def seen_from_outside() -> tuple[str, int]:
        try:
            return User.objects.get(pk=subject.pk).first_name, AuditEvent.objects.count()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            User.objects.filter(pk=subject.pk).update(first_name="New")
            audit.record("user.changed", subject)
            assert pool.submit(seen_from_outside).result(timeout=30) == ("", 0)
        assert pool.submit(seen_from_outside).result(timeout=30) == ("New", 1)


# --- never changed ----------------------------------------------------------------------------------------

OTHERWISE = {
    "id": "id + 1000",
    "at": "'2020-01-01 00:00:00+00:00'",
    "actor_kind": "'system'",
    "actor_id": "'8'",
    "actor_name": "'somebody else'",
    "action": "'user.created'",
    "subject_type": "'apiauth.consumer'",
    "subject_id": "'0'",
    "reason": "'because'",
    "detail": "'{}'",
    "request_id": "''",
    "address": "''",
}


def test_each_column_is_tried() -> None:
    assert set(OTHERWISE) == {field.column for field in AuditEvent._meta.concrete_fields}


@pytest.mark.parametrize("column", OTHERWISE)
def test_no_column_of_an_event_is_changed_not_even_by_the_owner(event: AuditEvent, column: str) -> None:
    with as_owner(), refused_as_unchangeable(TABLE):
        execute(f"UPDATE {TABLE} SET {column} = {OTHERWISE[column]} WHERE id = %s", event.pk)


def test_an_event_is_not_even_written_again_as_it_is(event: AuditEvent) -> None:
    with as_owner(), refused_as_unchangeable(TABLE):
        event.save()
    with as_owner(), refused_as_unchangeable(TABLE):
        execute(copy_over_itself(TABLE))


def test_an_event_is_not_deleted(event: AuditEvent) -> None:
    with as_owner(), refused_as_unchangeable(TABLE):
        execute(f"DELETE FROM {TABLE} WHERE id = %s", event.pk)
    with as_owner(), refused_as_unchangeable(TABLE):
        event.delete()
    with as_owner(), refused_as_unchangeable(TABLE):
        AuditEvent.objects.all().delete()
    assert AuditEvent.objects.get() == event


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_the_trail_is_not_emptied_by_truncate(event: AuditEvent, table: str) -> None:
    connection.check_constraints()  # PostgreSQL does not truncate what it still has to check
    if connection.vendor == "sqlite":  # it has no TRUNCATE; its word for all rows is DELETE, tried above
        with pytest.raises(Exception, match="TRUNCATE"), transaction.atomic():
            execute(f"TRUNCATE {table}")
        return
    with pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic():
        execute(f"TRUNCATE {table}")
    with as_owner(), refused_as_unchangeable(table):
        execute(f"TRUNCATE {table} CASCADE")


# --- constraints ------------------------------------------------------------------------------------------

DIGEST = b"d" * 32
# Of each model, a row that nothing is wrong with.
RIGHT: dict[type[models.Model], dict[str, Any]] = {
    AuditEvent: {
        "actor_kind": "user",
        "actor_name": "rita",
        "action": "user.changed",
        "subject_type": "apiauth.user",
        "subject_id": "1",
    },
    AuditSeal: {
        "position": 1,
        "event_id": 1,
        "event_digest": DIGEST,
        "previous_digest": DIGEST,
        "digest": DIGEST,
        "sealed_at": NOW,
    },
    AuditCheckpoint: {
        "position": 5,
        "first_position": 1,
        "digest": DIGEST,
        "archive_name": "2025.jsonl.gz",
        "archive_digest": DIGEST,
        "archived_at": NOW,
        "archived_by": "rita",
        "key": "k" * 16,
        "signature": "s" * 88,
    },
    EventFlood: {
        "action": "user.sign_in_failed",
        "subject_type": "apiauth.user",
        "address": "192.0.2.1",
        "actor_kind": "system",
        "actor_name": "system",
        "ends_at": NOW,
    },
}
CASES = [
    Case("audit_event_actor_kind_known", AuditEvent, {"actor_kind": "ghost"}),
    Case("audit_event_actor_kind_known", AuditEvent, {"actor_kind": ""}),
    Case("audit_event_action_named", AuditEvent, {"action": ""}),
    Case("audit_seal_position_counts", AuditSeal, {"position": 0}),
    Case("audit_seal_one_an_event", AuditSeal, {"position": 2}),
    *(
        Case("audit_seal_digests_whole", AuditSeal, {column: digest})
        for column in ("event_digest", "previous_digest", "digest")
        for digest in (b"", b"d" * 31)
    ),
    Case("audit_checkpoint_range_counts", AuditCheckpoint, {"first_position": 0}),
    Case("audit_checkpoint_range_counts", AuditCheckpoint, {"first_position": 6}),
    Case("audit_checkpoint_digests_whole", AuditCheckpoint, {"digest": b""}),
    Case("audit_checkpoint_digests_whole", AuditCheckpoint, {"archive_digest": b"d"}),
    Case("audit_checkpoint_signed", AuditCheckpoint, {"signature": ""}),
    Case("event_flood_one_a_source", EventFlood, {"times": 1}),
    Case("event_flood_times_counted", EventFlood, {"times": -1}),
]
# These are broken by a second row beside a right one.
OVER_ANOTHER = {"audit_seal_one_an_event", "event_flood_one_a_source"}


def test_each_named_constraint_has_a_case_that_breaks_it() -> None:
    assert {case.constraint for case in CASES} == set(named_constraints("audit"))
    owners: set[type[models.Model]] = set(apps.get_app_config("audit").get_models())
    assert owners == set(RIGHT)


@pytest.mark.parametrize("kind", ["user", "consumer", "worker", "command", "system"])
def test_every_kind_of_actor_is_accepted(kind: str) -> None:
    insert(AuditEvent, {**RIGHT[AuditEvent], "actor_kind": kind})
    assert AuditEvent.objects.get().actor_kind == kind


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_insert_that_breaks_a_constraint_is_refused_by_name(case: Case) -> None:
    # SQLite's trigger would be first to refuse a second seal of an event.
    with past_the_triggers(case.model._meta.db_table):
        if case.constraint in OVER_ANOTHER:
            insert(case.model, RIGHT[case.model])
        with refused_by(case.constraint):
            insert(case.model, {**RIGHT[case.model], **case.wrong_values()})


@pytest.mark.parametrize("model", RIGHT, ids=lambda model: model.__name__)
def test_the_right_row_is_accepted(model: type[models.Model]) -> None:
    with as_owner():
        assert insert(model, RIGHT[model]).pk is not None


# --- who is acting ----------------------------------------------------------------------------------------


def test_who_acts_is_kept_for_a_block_and_no_longer() -> None:
    worker = Actor(kind="worker", name="worker 1")
    with acting(RITA, address="192.0.2.1"):
        outer = current_context()
        with acting(worker):
            assert current_actor() == worker
            assert current_context().address == ""
            assert current_context().request_id != outer.request_id
        assert current_context() == outer
    assert current_actor() == SYSTEM


def test_a_block_that_fails_is_over_too() -> None:
    def fail() -> None:
        with acting(RITA):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert current_actor() == SYSTEM


def test_to_ascribe_changes_who_acts_and_nothing_else_until_the_block_is_over() -> None:
    with acting(SYSTEM, request_id="b" * 32, address="192.0.2.9"):
        ascribe(RITA)
        at_hand = current_context()
        assert (at_hand.actor, at_hand.request_id, at_hand.address) == (RITA, "b" * 32, "192.0.2.9")
    assert current_actor() == SYSTEM


def test_who_acts_in_one_thread_does_not_act_in_another() -> None:
    with acting(RITA), ThreadPoolExecutor(1) as pool:
        assert pool.submit(current_actor).result() == SYSTEM


# --- requests ---------------------------------------------------------------------------------------------


def recording(request: HttpRequest) -> HttpResponse:
    """A view that does something on record."""
    kept = audit.record("user.changed", User.objects.get(username="subject"))
    return HttpResponse(kept.request_id)


def failing(request: HttpRequest) -> HttpResponse:
    audit.record("user.changed", User.objects.get(username="subject"))
    raise ZeroDivisionError


def refusing(request: HttpRequest) -> HttpResponse:
    return HttpResponseForbidden()


urlpatterns = [path("recording", recording), path("failing", failing), path("refusing", refusing)]
in_a_site_of_its_own = pytest.mark.urls(__name__)


@in_a_site_of_its_own
def test_an_event_in_a_request_is_ascribed_to_who_signed_on_and_to_the_request(
    client: Client, subject: User
) -> None:
    rita = User.objects.create(username="rita")
    client.force_login(rita)
    response = client.post("/recording", REMOTE_ADDR="2001:db8::1")
    kept = AuditEvent.objects.get()
    assert (kept.actor_kind, kept.actor_name, kept.actor_id) == ("user", "rita", str(rita.pk))
    assert (kept.request_id, kept.address) == (response.headers["X-Request-Id"], "2001:db8::1")
    assert current_actor() == SYSTEM


@in_a_site_of_its_own
def test_an_event_in_a_request_of_nobody_is_the_system_s(client: Client, subject: User) -> None:
    response = client.get("/recording")
    kept = AuditEvent.objects.get()
    assert (kept.actor_kind, kept.actor_id, kept.request_id) == (
        "system",
        "",
        response.headers["X-Request-Id"],
    )


@in_a_site_of_its_own
def test_two_requests_have_two_ids_and_neither_takes_one_that_a_caller_chose(
    client: Client, subject: User
) -> None:
    chosen = "0" * 32
    ids = [
        client.get("/recording", headers={"X-Request-Id": chosen}).headers["X-Request-Id"] for _ in range(2)
    ]
    assert len({*ids, chosen}) == 3
    assert all(len(each) == 32 and int(each, 16) >= 0 for each in ids)


@in_a_site_of_its_own
@pytest.mark.parametrize(
    ("address", "status"), [("/recording", 200), ("/refusing", 403), ("/nowhere", 404), ("/failing", 500)]
)
def test_every_answer_names_its_request_whatever_came_of_it(
    client: Client, subject: User, address: str, status: int
) -> None:
    client.raise_request_exception = False
    response = client.get(address)
    assert response.status_code == status
    assert len(response.headers["X-Request-Id"]) == 32
    assert current_actor() == SYSTEM


@in_a_site_of_its_own
def test_one_user_s_request_is_not_ascribed_to_the_one_before(client: Client, subject: User) -> None:
    client.force_login(User.objects.create(username="rita"))
    client.get("/recording")
    client.logout()
    client.get("/recording")
    assert list(AuditEvent.objects.order_by("id").values_list("actor_name", flat=True)) == ["rita", "system"]
