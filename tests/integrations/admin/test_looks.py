"""Whoever looks at a student's record is on the trail, through whichever page: each answer is one event, before it is given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.db import DatabaseError, connection, models
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone

from apiauth.models import Consumer, User
from apiauth.operations import create_consumer
from audit.admin import LooksAreAudited
from audit.admin.looks import MASK, masked_query
from audit.models import AuditEvent
from audit.trails import trail_address
from integrations.admin.progress import STOP_ASKING
from integrations.alerts import open_incident
from integrations.models import Connection, OutboxMessage, RejectedRecord, Stream, SyncRun, TermCode
from registration import operations
from registration.models import (
    College,
    CollegeMember,
    FeeChange,
    HousingAssignment,
    LedgerEntry,
    Student,
    Term,
)
from tests.integrations.conftest import Sync
from tests.integrations.feed import Feed, award
from tests.university import make_schedules, make_section

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.any_database,
]  # pages; the trail behind them has tests of its own

# Pages that a browser gets by an address and that show no student's record, and what they show instead.
WITHOUT_RECORDS = {
    "index": "figures of feeds, and alerts",
    "password_change": "a form",
    "password_change_done": "a sentence",
    "app_list": "names of lists",
    "jsi18n": "words",
    "roles": "rights of roles",
    "sign_on": "one's own sessions and events",
    "set_up_second_step": "a form",
    "remove_second_step": "a form",
    "registration_ledgerentry_export": "a form; the file it makes is an export, with an event of its own",
    "integrations_stream_card": "figures",
    "integrations_syncrun_progress": "figures",
    "integrations_syncrun_changelist": "figures",
    "apiauth_consumer_changelist": "settings",
    "audit_auditevent_changelist": "the trail, which names students by number and holds none of their records",
    "audit_auditevent_change": "the same",
    "audit_auditevent_history": "nothing: an event has none",
}
# Their rows are settings, catalogue or staff, and nobody's record.
MODELS_WITHOUT_RECORDS = {
    "apiauth_user",
    "auth_group",
    "registration_section",
    "registration_term",
    "registration_college",
    "registration_program",
    "registration_course",
    "registration_feeschedule",
    "registration_collegemember",
    "integrations_connection",
    "integrations_termcode",
    "integrations_alert",
}


@pytest.fixture
def boss(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("boss", "boss@example.edu", "Clear-Water-99"))
    return client


@pytest.fixture
def university(students: list[Student], feed: Feed, sync: Sync) -> None:
    """At least one row of whatever the admin shows."""
    term = Term.objects.get(code="2026FA")
    feed.awards = [award(1), award(2), award(3, amount="12,50")]
    sync()
    make_schedules(term)
    operations.enroll(students[0], make_section(term))
    operations.record_assignment(
        HousingAssignment(student=students[0], term=term, hall="North", room="1", move_in_on=term.starts_on)
    )
    FeeChange.objects.create(
        student=students[0],
        term=term,
        lines=[{"code": "TUITION", "before": 0, "after": 100}],
        before_minor=0,
        after_minor=100,
        currency="USD",
        why="A test",
        raised_at=timezone.now(),
    )
    TermCode.objects.create(
        connection=Connection.objects.get(),
        code="F26",
        term=term,
        changed_by="boss",
        changed_at=timezone.now(),
    )
    OutboxMessage.objects.create(
        connection=Connection.objects.get(), kind="library.provision", key="library:0:1", subject="library:0",
        payload={"student": students[0].pk},
        cause="Enrolled", created_at=timezone.now(), due_at=timezone.now(),
    )  # fmt: skip
    open_incident("test", title="A test", text="Something is the matter.")
    create_consumer("Partner", scopes=["catalogue:read"])
    CollegeMember.objects.create(user=User.objects.create_user("principal"), college=College.objects.get())


def events() -> list[AuditEvent]:
    return list(AuditEvent.objects.order_by("id"))


def look(client: Client, address: str, **query: str) -> AuditEvent:
    """The one event of a look."""
    newest = AuditEvent.objects.order_by("-id").values_list("id", flat=True).first() or 0
    assert client.get(address, query).status_code == 200
    return AuditEvent.objects.get(id__gt=newest)


# --- every page -------------------------------------------------------------------------------------------


def pages(resolver: Any, before: str = "") -> Iterator[tuple[str, str]]:
    """Every address of the admin: its name, and its pattern."""
    for part in resolver.url_patterns:
        if isinstance(part, URLResolver):
            yield from pages(part, before + str(part.pattern))
        elif isinstance(part, URLPattern) and part.name:
            yield part.name, before + str(part.pattern)


def argument_of(name: str) -> dict[str, Any]:
    """What an address needs to be one of a row that is there."""
    student = Student.objects.order_by("pk")[0]
    if "statement" in name:
        return {"pk": student.pk, "code": "2026FA"}
    if "stream" in name:
        return {"pk": Stream.objects.get().pk}
    app, _, rest = name.partition("_")
    for model in admin.site._registry:
        if model._meta.app_label == app and rest.startswith(f"{model._meta.model_name}_"):
            return {"row": model._default_manager.order_by("pk")[0].pk}
    return {}


def addresses() -> Iterator[tuple[str, str]]:
    """Every page of the admin that a browser may get: its name, and the address of one with a row on it."""
    for name, pattern in pages(get_resolver()):
        if not pattern.startswith("admin/"):
            continue
        given = argument_of(name)
        kwargs = {key: value for key, value in given.items() if f":{key}>" in pattern}
        if "row" in given:
            kwargs = {key: given["row"] for key in ("pk", "object_id") if f":{key}>" in pattern}
        if name == "app_list":
            kwargs = {"app_label": "registration"}
        if pattern.count("<") == len(kwargs):
            yield name, reverse(f"admin:{name}", kwargs=kwargs)


def test_every_page_that_shows_records_leaves_one_event(boss: Client, university: None) -> None:
    looked: set[str] = set()
    silent: set[str] = set()
    for name, address in addresses():
        newest = AuditEvent.objects.order_by("-id").values_list("id", flat=True).first() or 0
        if boss.get(address).status_code not in (200, STOP_ASKING):
            continue  # it takes a POST, or leads elsewhere
        left = list(AuditEvent.objects.filter(id__gt=newest))
        assert len(left) <= 1, name
        (looked if left else silent).add(name)
        for event in left:
            assert (event.actor_name, event.address) == ("boss", "127.0.0.1"), name
            assert event.request_id
            assert event.action.endswith((".viewed", ".listed")), name
    assert {
        name
        for name in silent
        if name.rpartition("_")[0] not in MODELS_WITHOUT_RECORDS and not name.endswith("_add")
    } == set(WITHOUT_RECORDS)
    assert len(looked) > 25
    assert {
        "registration_student_change",
        "integrations_syncrun_undo",
        "registration_ledgerentry_history",
    } <= looked


def about_students(model: type[models.Model], depth: int = 3) -> bool:
    """Whether rows of the model lead to a student."""
    return model is Student or any(
        about_students(field.related_model, depth - 1)
        for field in model._meta.fields
        if depth and field.is_relation and isinstance(field.related_model, type)
    )


def test_the_admin_of_every_model_about_students_audits_looks() -> None:
    found = {model for model in admin.site._registry if about_students(model)}
    assert {Student, LedgerEntry, FeeChange, HousingAssignment} <= found
    unlooked = {
        model.__name__ for model in found if not isinstance(admin.site._registry[model], LooksAreAudited)
    }
    assert unlooked == set()


def test_every_page_of_a_row_leads_to_its_trail(boss: Client, university: None) -> None:
    seen = 0
    for model in admin.site._registry:
        row = model._default_manager.order_by("pk").first()
        if row is None or model is AuditEvent:
            continue
        address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_change", args=[row.pk])
        assert trail_address(row).replace("&", "&amp;") in boss.get(address).content.decode(), model
        assert boss.get(trail_address(row)).status_code == 200
        seen += 1
    assert seen > 15


def test_the_page_of_an_event_leads_to_the_trail_of_its_subject(boss: Client, university: None) -> None:
    event = AuditEvent.objects.filter(subject_type="apiauth.consumer").first()
    assert event is not None
    page = boss.get(reverse("admin:audit_auditevent_change", args=[event.pk])).content.decode()
    assert trail_address(Consumer.objects.get()) in page


def test_who_may_not_read_the_trail_is_led_to_none(advisor: Client, university: None) -> None:
    page = advisor.get(reverse("admin:registration_student_change", args=[Student.objects.all()[0].pk]))
    assert page.status_code == 200
    assert "auditevent" not in page.content.decode()


# --- what an event says -----------------------------------------------------------------------------------


def test_a_list_says_how_many_it_showed_and_what_was_asked_for_but_no_name(
    boss: Client, students: list[Student]
) -> None:
    event = look(
        boss,
        reverse("admin:registration_student_changelist"),
        q="Okafor",
        status__exact="active",
        family_name__startswith="Oka",
        o="1",
    )
    assert (event.action, event.subject_id) == ("student.listed", "")
    assert event.detail == {
        "shown": 12,
        "found": 12,
        "query": {"q": MASK, "status__exact": "active", "family_name__startswith": MASK, "o": "1"},
    }


def test_a_search_that_comes_down_to_one_student_is_on_their_trail(
    boss: Client, students: list[Student]
) -> None:
    event = look(boss, reverse("admin:registration_student_changelist"), q="S0000007")
    assert event.detail == {"shown": 1, "found": 1, "query": {"q": MASK}, "student": "S0000007"}
    assert AuditEvent.objects.of_student("S0000007").count() == 1


def test_an_empty_list_is_a_look_too(boss: Client, students: list[Student]) -> None:
    event = look(boss, reverse("admin:registration_student_changelist"), q="nobody of this name")
    assert event.detail == {"shown": 0, "found": 0, "query": {"q": MASK}}


def test_a_run_s_page_says_how_many_changes_it_showed(boss: Client, university: None) -> None:
    run = SyncRun.objects.get()
    event = look(boss, run.get_absolute_url(), q="S0000002")
    assert (event.action, event.subject_id) == ("syncrun.viewed", str(run.pk))
    assert event.detail == {"shown": 1, "found": 1, "query": {"q": MASK}, "student": "S0000002"}


def test_a_rejected_record_is_looked_at_by_feed_and_by_itself(boss: Client, university: None) -> None:
    rejected = RejectedRecord.objects.get()
    by_feed = look(
        boss, reverse("admin:integrations_rejectedrecord_of_stream", args=[Stream.objects.get().pk])
    )
    assert (by_feed.action, by_feed.detail) == ("rejectedrecord.viewed", {"shown": 1, "found": 1})
    by_itself = look(boss, reverse("admin:integrations_rejectedrecord_change", args=[rejected.pk]))
    assert by_itself.subject_id == str(rejected.pk)


def test_an_entry_of_the_ledger_is_looked_at_on_its_student_s_trail(boss: Client, university: None) -> None:
    entry = LedgerEntry.objects.from_aid().select_related("account__student")[0]
    event = look(boss, reverse("admin:registration_ledgerentry_change", args=[entry.pk]))
    assert event.detail == {"student": entry.account.student.number}


def test_what_a_field_suggests_is_a_look(boss: Client, students: list[Student]) -> None:
    field = {"app_label": "registration", "model_name": "enrollment", "field_name": "student"}
    event = look(boss, reverse("admin:autocomplete"), term="S0000003", **field)
    assert event.action == "student.listed"
    assert (event.detail["found"], event.detail["student"]) == (1, "S0000003")
    assert event.detail["query"]["term"] == MASK


@pytest.mark.parametrize("method", ["options", "trace", "delete", "propfind"])
def test_no_method_shows_a_record_without_an_event(
    boss: Client, students: list[Student], method: str
) -> None:
    address = reverse("admin:registration_student_change", args=[students[0].pk])
    answer = boss.generic(method.upper(), address)
    assert ("Okafor" in answer.content.decode()) == AuditEvent.objects.filter(
        action="student.viewed"
    ).exists()


def test_a_form_that_comes_back_with_a_fault_is_a_look(boss: Client, students: list[Student]) -> None:
    address = reverse("admin:registration_student_change", args=[students[0].pk])
    answer = boss.post(address, {"number": ""})
    assert "Okafor" in answer.content.decode()
    assert [event.action for event in events()] == ["student.viewed"]


def test_who_may_not_look_leaves_no_look(client: Client, students: list[Student]) -> None:
    client.force_login(User.objects.create_user("nobody", is_staff=True))
    for name in ("changelist", "change", "history"):
        arguments = [] if name == "changelist" else [students[0].pk]
        assert client.get(reverse(f"admin:registration_student_{name}", args=arguments)).status_code == 403
    assert events() == []


def test_a_look_that_cannot_be_recorded_shows_nothing(
    boss: Client, students: list[Student], monkeypatch: pytest.MonkeyPatch
) -> None:
    boss.raise_request_exception = False
    monkeypatch.setattr("audit.admin.looks.audit.record", unwritable)
    for name, arguments in (("changelist", []), ("change", [students[0].pk])):
        answer = boss.get(reverse(f"admin:registration_student_{name}", args=arguments))
        assert answer.status_code == 500
        assert "Okafor" not in answer.content.decode()


def unwritable(*_: Any, **__: Any) -> None:
    raise DatabaseError("no room")


def test_a_look_costs_one_insert(boss: Client, students: list[Student]) -> None:
    statements: list[str] = []

    def noting(execute: Any, sql: str, *rest: Any) -> Any:
        statements.append(sql)
        return execute(sql, *rest)

    with connection.execute_wrapper(noting):
        boss.get(reverse("admin:registration_student_changelist"))
    assert len([sql for sql in statements if "audit_" in sql]) == 1


def test_a_query_is_masked_whatever_is_in_it() -> None:
    given = {
        "q": "Ada",
        "p": "3",
        "Ada Okafor": "1",
        "x" * 100: "1",
        **{f"n{place}": "v" for place in range(50)},
    }
    masked = masked_query(given, ["n1"])
    assert len(masked) <= 20
    assert "Ada" not in str(masked)
    assert (masked["q"], masked["p"], masked["n0"], masked["n1"]) == (MASK, "3", MASK, "v")
