"""Every page in every look: accessible, within its window, and without a word of complaint from the browser."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from django.urls import reverse
from django.utils import timezone

from apiauth.models import Consumer, ConsumerUsage
from apiauth.operations import create_consumer
from apiauth.scopes import SCOPES
from audit.context import Actor, acting
from integrations.models import Alert, Change, Connection, RejectedRecord, Stream, SyncRun
from integrations.models.run import RunTrigger
from integrations.operations import request_run
from integrations.subscriptions import subscribe, unsubscribe
from integrations.sync.runner import execute_run
from registration.disclosure import Shown, grant, record_disclosures, students_named
from registration.models import Student, Term
from tests.browser.conftest import SlowFeed, Visit
from tests.browser.visitor import LOOKS, Visitor
from tests.integrations.feed import award, fund
from tests.university import make_section

# Every page that people work with, by the name of its picture: how its address is found.
PAGES: dict[str, Callable[[], str]] = {
    "today": lambda: reverse("admin:index"),
    "connections": lambda: reverse("admin:integrations_connection_changelist"),
    "connection": lambda: change_page(Connection.objects.get()),
    "new-connection": lambda: reverse("admin:integrations_connection_add"),
    "archive-connection": lambda: reverse(
        "admin:integrations_connection_delete", args=[Connection.objects.get().pk]
    ),
    "runs": lambda: reverse("admin:integrations_syncrun_changelist"),
    "applied-run": lambda: change_page(SyncRun.objects.filter(status="applied").latest("pk")),
    "held-run": lambda: change_page(SyncRun.objects.get(status="held")),
    "failed-run": lambda: change_page(SyncRun.objects.get(status="failed")),
    "undo": lambda: reverse(
        "admin:integrations_syncrun_undo", args=[SyncRun.objects.filter(status="applied").latest("pk").pk]
    ),
    "rejected-records": lambda: reverse("admin:integrations_rejectedrecord_changelist"),
    "rejected-record": lambda: change_page(RejectedRecord.objects.latest("pk")),
    "alerts": lambda: reverse("admin:integrations_alert_changelist"),
    "alert": lambda: change_page(Alert.objects.earliest("pk")),
    "alert-letters": lambda: reverse("admin:integrations_alert_letters"),
    "students": lambda: reverse("admin:registration_student_changelist"),
    "students-sought": lambda: reverse("admin:registration_student_changelist") + "?q=Okafor",
    "student": lambda: change_page(Student.objects.get(number="S0000001")),
    "enrollments": lambda: reverse("admin:registration_enrollment_changelist"),
    "ledger": lambda: reverse("admin:registration_ledgerentry_changelist"),
    "terms": lambda: reverse("admin:registration_term_changelist"),
    "term": lambda: change_page(Term.objects.first()),
    "sections": lambda: reverse("admin:registration_section_changelist"),
    "courses": lambda: reverse("admin:registration_course_changelist"),
    "audit": lambda: reverse("admin:audit_auditevent_changelist"),
    "consumers": lambda: reverse("admin:apiauth_consumer_changelist"),
    "consumer": lambda: change_page(Consumer.objects.get()),
    "change-password": lambda: reverse("admin:password_change"),
    "roles": lambda: reverse("admin:roles"),
    "sign-on": lambda: reverse("admin:sign_on"),
    "set-up-second-step": lambda: reverse("admin:set_up_second_step"),
}


def change_page(row: object) -> str:
    meta = row._meta  # type: ignore[attr-defined]
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[row.pk])  # type: ignore[attr-defined]


@pytest.fixture
def busy_office(stream: Stream, feed: SlowFeed, students: list[Student]) -> None:
    """One run of each kind, with changes, rejections, and an alert."""
    make_section(Term.objects.get(code="2026FA"))
    feed.page_size = 100

    def sync(status: int = 200) -> None:
        feed.status = status
        execute_run(request_run(Stream.objects.get(), RunTrigger.COMMAND).pk)

    with acting(Actor(kind="user", name="Ada Administrator")):
        feed.awards = [award(number) for number in range(1, 12)]
        sync()
        long = fund("grant", code="A-VERY-LONG-FUND-CODE-OF-A-STATE-PROGRAM")
        feed.awards = [award(number) for number in range(2, 12)]
        feed.awards += [award(1, amount="80.00", fund=long), award(12, amount="12,50"), award(99)]
        sync()
        sync(status=503)
        feed.awards = [award(12)]
        sync()
        make_partner()
    assert set(SyncRun.objects.values_list("status", flat=True)) == {"applied", "failed", "held"}
    assert Change.objects.exists()


def make_partner() -> None:
    """A consumer with students, webhooks and a number of requests, to whom a student was disclosed."""
    consumer = create_consumer("Loan servicer", scopes=list(SCOPES), contact="loans@example.org").consumer
    given = grant(consumer, students_named("all"), purpose="Deferment of loans while students are enrolled")
    subscribe(
        consumer,
        url="https://hooks.example.org/matricula/of-the-registration-system/production?key=4711",
        event_types=["enrollment.changed", "balance.changed", "term.changed"],
    )
    ended = subscribe(consumer, url="https://hooks.example.org/old", event_types=["term.changed"])
    unsubscribe(consumer, ended.subscription.pk)
    ConsumerUsage.objects.create(consumer=consumer, hour_at=timezone.now(), requests=128)
    student = Student.objects.get(number="S0000001")
    shown = [Shown(student.pk, student.number, given.pk, given.purpose)]
    with acting(Actor(kind="consumer", name=consumer.name)):
        for what in ("enrollment status", "balance"):
            record_disclosures(what, shown)


@pytest.mark.any_database  # the queries behind each page have tests of their own; these look at what the browser draws
@pytest.mark.timeout(300)  # some hundred looks, beside another test on the same two processors
def test_every_page_is_accessible_and_fits_its_window_in_every_look(visit: Visit, busy_office: None) -> None:
    stranger, visitor = visit(role=None), visit()
    stranger.open("/admin/login/")
    faults = faults_in_every_look(stranger, "login")
    for name, address in PAGES.items():
        visitor.open(address())
        faults += faults_in_every_look(visitor, name)
    assert not faults, "\n".join(faults)


def faults_in_every_look(visitor: Visitor, name: str) -> list[str]:
    """What is wrong with the page that is open. Pictures of it are kept where the environment names a folder."""
    faults = []
    for look, rules in LOOKS:
        visitor.change_look(look)
        faults += [f"{look.name} {fault}" for fault in visitor.look_at(rules)]
        if folder := os.environ.get("KEEP_SCREENSHOTS"):
            visitor.keep_picture(Path(folder) / look.name / f"{name}.png")
    return faults
