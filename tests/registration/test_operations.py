"""Each operation does its change, its audit event and its signal: all of them, or none."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import time_machine
from django.db import IntegrityError, connection
from django.dispatch import Signal

from audit.context import Actor, acting
from audit.models import AuditEvent
from registration import operations
from registration.bulk import POSTED_COLUMNS, Selection, reserve_ids
from registration.models import BillingAccount, Enrollment, LedgerEntry, Section, Student, Term
from registration.models.billing import EntryKind
from registration.operations import Line, Refused
from registration.signals import enrollment_changed, ledger_changed
from tests.refusals import refused_by
from tests.university import make_section, make_students, make_terms

NOW = datetime.datetime(2026, 9, 1, 12, tzinfo=datetime.UTC)
REGISTRAR = Actor(kind="user", name="rita", id="7")
GRANT = Line(EntryKind.AID, 250_000, "GRANT", "State grant", effective_on=datetime.date(2026, 9, 1))

Heard = list[tuple[Signal, dict[str, Any]]]


@pytest.fixture
def section(db: None) -> Section:
    """A section of the current term with one seat."""
    fall, _ = make_terms()
    return make_section(fall, capacity=1)


@pytest.fixture
def term(section: Section) -> Term:
    return section.term


@pytest.fixture
def students(section: Section) -> list[Student]:
    return make_students(3)


@pytest.fixture
def student(students: list[Student]) -> Student:
    return students[0]


@pytest.fixture
def heard() -> Iterator[Heard]:
    """Every domain signal that is sent, with what it says."""
    signals: Heard = []

    def listen(signal: Signal, sender: type, **said: Any) -> None:
        signals.append((signal, said))

    for each in (enrollment_changed, ledger_changed):
        each.connect(listen)
    yield signals
    for each in (enrollment_changed, ledger_changed):
        each.disconnect(listen)


def everything() -> list[Any]:
    """All rows that an operation may touch, and the trail."""
    models = (Student, Section, Enrollment, BillingAccount, LedgerEntry, AuditEvent)
    return [list(model._default_manager.order_by("pk").values()) for model in models]


def only_event() -> AuditEvent:
    return AuditEvent.objects.get()


# --- enroll -----------------------------------------------------------------------------------------------


def test_a_student_who_enrolls_has_a_seat_and_the_trail_and_the_listeners_know(
    student: Student, section: Section, heard: Heard
) -> None:
    with acting(REGISTRAR):
        enrollment = operations.enroll(student, section)
    assert Enrollment.objects.get() == enrollment
    assert (enrollment.student, enrollment.section, enrollment.status) == (student, section, "enrolled")
    event = only_event()
    assert (event.action, event.subject_type, event.subject_id, event.actor_name) == (
        "enrollment.enrolled",
        "registration.enrollment",
        str(enrollment.pk),
        "rita",
    )
    assert event.detail == {"student": "S0000001", "crn": "10001"}
    assert heard == [(enrollment_changed, {"enrollment": enrollment})]


def test_a_student_who_finds_the_section_full_waits(
    students: list[Student], section: Section, heard: Heard
) -> None:
    first, second, third = (operations.enroll(student, section) for student in students)
    assert [each.status for each in (first, second, third)] == ["enrolled", "waitlisted", "waitlisted"]
    assert section.enrollments.enrolled().count() == 1
    actions = AuditEvent.objects.order_by("id").values_list("action", flat=True)
    assert list(actions) == ["enrollment.enrolled", "enrollment.waitlisted", "enrollment.waitlisted"]
    assert [said["enrollment"] for _, said in heard] == [first, second, third]


def test_a_seat_that_was_given_up_goes_to_the_next_who_enrolls(
    students: list[Student], section: Section
) -> None:
    operations.drop(operations.enroll(students[0], section))
    assert operations.enroll(students[1], section).status == "enrolled"
    assert operations.enroll(students[0], section).status == "waitlisted"


def test_who_dropped_may_come_back_on_the_same_row(student: Student, section: Section) -> None:
    with time_machine.travel(NOW, tick=False):
        first = operations.enroll(student, section)
        operations.drop(first)
    with time_machine.travel(NOW + datetime.timedelta(days=1), tick=False):
        back = operations.enroll(student, section)
    kept = Enrollment.objects.get()
    assert (kept.pk, kept.status, kept.created_at) == (first.pk, "enrolled", NOW)
    assert back.status_since_at == kept.status_since_at == NOW + datetime.timedelta(days=1)
    assert AuditEvent.objects.about(kept).count() == 3


@pytest.mark.parametrize("status", ["leave", "withdrawn", "graduated"])
def test_only_an_active_student_enrolls(
    student: Student, section: Section, heard: Heard, status: str
) -> None:
    Student.objects.update(status=status)
    before = everything()
    with pytest.raises(Refused, match="only an active student can enroll"):
        operations.enroll(student, section)  # an instance from before the change: what counts is the database
    assert (everything(), heard) == (before, [])


@pytest.mark.parametrize("status", ["enrolled", "waitlisted", "completed"])
def test_nobody_enrolls_twice_in_a_section_or_in_one_that_is_behind_them(
    student: Student, section: Section, heard: Heard, status: str
) -> None:
    Enrollment.objects.create(student=student, section=section, status=status, status_since_at=NOW)
    before = everything()
    with pytest.raises(Refused, match=status):
        operations.enroll(student, section)
    assert (everything(), heard) == (before, [])


def test_nobody_enrolls_in_a_term_whose_books_are_closed(
    student: Student, section: Section, heard: Heard
) -> None:
    Term.objects.filter(pk=section.term_id).update(is_current=False, is_closed=True)
    before = everything()
    with pytest.raises(Refused, match="books of Fall 2026 are closed"):
        operations.enroll(student, section)
    assert (everything(), heard) == (before, [])


def test_a_section_without_seats_has_a_waiting_list_all_the_same(student: Student, section: Section) -> None:
    Section.objects.update(capacity=0)
    assert operations.enroll(student, section).status == "waitlisted"


# --- drop -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["enrolled", "waitlisted"])
def test_a_drop_is_kept_audited_with_its_reason_and_told(
    student: Student, section: Section, heard: Heard, status: str
) -> None:
    row = Enrollment.objects.create(student=student, section=section, status=status, status_since_at=NOW)
    with acting(REGISTRAR):
        dropped = operations.drop(row, reason="moved away")
    kept = Enrollment.objects.get()
    assert (kept.status, dropped.status) == ("dropped", "dropped")
    assert kept.status_since_at > NOW
    event = only_event()
    assert (event.action, event.subject_id, event.reason, event.actor_name) == (
        "enrollment.dropped",
        str(kept.pk),
        "moved away",
        "rita",
    )
    assert event.detail == {"student": "S0000001", "crn": "10001"}
    assert heard == [(enrollment_changed, {"enrollment": kept})]


@pytest.mark.parametrize("status", ["dropped", "withdrawn", "completed"])
def test_there_is_nothing_to_drop_where_no_seat_or_place_is_held(
    student: Student, section: Section, heard: Heard, status: str
) -> None:
    row = Enrollment.objects.create(student=student, section=section, status=status, status_since_at=NOW)
    before = everything()
    row.status = "enrolled"  # what the caller believes counts for nothing
    with pytest.raises(Refused, match=status):
        operations.drop(row)
    assert (everything(), heard) == (before, [])


# --- post -------------------------------------------------------------------------------------------------


def test_a_posted_line_stands_on_the_bill_audited_once_and_told_once(
    student: Student, term: Term, heard: Heard
) -> None:
    with acting(REGISTRAR):
        entry = operations.post(student, term, GRANT, reason="by phone")
    kept = LedgerEntry.objects.get()
    assert kept == entry
    assert (kept.account.student, kept.term, kept.kind, kept.state) == (student, term, "aid", "posted")
    assert (kept.amount_minor, kept.currency, kept.code, kept.description, kept.effective_on) == (
        250_000,
        "USD",
        "GRANT",
        "State grant",
        datetime.date(2026, 9, 1),
    )
    assert (kept.posted_by, kept.posted_run, kept.voided_at) == ("rita", None, None)
    event = only_event()
    assert (event.action, event.subject_id, event.reason) == ("ledger_entry.posted", str(kept.pk), "by phone")
    assert event.detail == {"student": "S0000001"}
    assert heard == [(ledger_changed, {"run": None, "entries": 1})]
    assert student.billing_account.totals().balance == -250_000


def test_an_adjustment_says_which_total_it_corrects(student: Student, term: Term) -> None:
    operations.post(student, term, Line(EntryKind.ADJUSTMENT, -500, "WAIVED", adjusts=EntryKind.CHARGE))
    totals = student.billing_account.totals()
    assert (totals.charges, totals.balance) == (-500, -500)


def test_the_first_line_opens_the_account(term: Term, students: list[Student]) -> None:
    newcomer = Student.objects.create(number="S0000009", family_name="Ng")
    entry = operations.post(newcomer, term, GRANT)
    assert entry.account == BillingAccount.objects.get(student=newcomer)


@pytest.mark.parametrize(
    ("line", "constraint"),
    [
        (Line(EntryKind.CHARGE, 0, "FEE"), "ledger_entry_amount_positive_or_signed_adjustment"),
        (Line(EntryKind.PAYMENT, -1, "CHEQUE"), "ledger_entry_amount_positive_or_signed_adjustment"),
        (Line(EntryKind.ADJUSTMENT, 1, "X"), "ledger_entry_adjustment_names_what_it_adjusts"),
        (
            Line(EntryKind.CHARGE, 1, "FEE", adjusts=EntryKind.AID),
            "ledger_entry_adjustment_names_what_it_adjusts",
        ),
    ],
)
def test_a_line_that_is_no_entry_leaves_nothing_not_even_the_account(
    students: list[Student], term: Term, heard: Heard, line: Line, constraint: str
) -> None:
    newcomer = Student.objects.create(number="S0000009", family_name="Ng")
    before = everything()
    with refused_by(constraint):
        operations.post(newcomer, term, line)
    assert (everything(), heard) == (before, [])


# --- void -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["posted", "anticipated"])
def test_a_voided_line_stays_says_who_and_why_and_counts_no_more(
    student: Student, term: Term, heard: Heard, state: str
) -> None:
    entry = LedgerEntry.objects.create(
        account=student.billing_account, term=term, kind="aid", state=state, amount_minor=100,
        currency="USD", code="GRANT", posted_at=NOW, posted_by="system",
    )  # fmt: skip
    with acting(REGISTRAR):
        operations.void(entry, reason="posted to the wrong student")
    kept = LedgerEntry.objects.get()
    assert (kept.pk, kept.state, kept.amount_minor, kept.posted_at) == (entry.pk, "void", 100, NOW)
    assert (kept.voided_by, kept.void_reason, kept.voided_run) == (
        "rita",
        "posted to the wrong student",
        None,
    )
    assert kept.voided_at is not None
    event = only_event()
    assert (event.action, event.subject_id, event.reason) == (
        "ledger_entry.voided",
        str(kept.pk),
        "posted to the wrong student",
    )
    assert heard == [(ledger_changed, {"run": None, "entries": 1})]
    totals = student.billing_account.totals()
    assert (totals.balance, totals.anticipated_aid) == (0, 0)


def test_a_line_is_voided_once(student: Student, term: Term, heard: Heard) -> None:
    entry = operations.post(student, term, GRANT)
    operations.void(entry, reason="a mistake")
    before = everything()
    with pytest.raises(Refused, match="void already"):
        operations.void(entry, reason="again")  # an instance that still believes itself posted
    assert everything() == before
    assert len(heard) == 2


# --- all or nothing ---------------------------------------------------------------------------------------


def _enrolled(student: Student, section: Section) -> Enrollment:
    return Enrollment.objects.create(student=student, section=section, status_since_at=NOW)


Act = Callable[[], object]


@pytest.fixture(params=["enroll", "drop", "post", "void", "apply a run"])
def act(request: pytest.FixtureRequest, students: list[Student], section: Section) -> Act:
    """One operation, with whatever it needs in its place."""
    student, other = students[:2]
    enrollment = _enrolled(other, section)
    entry = LedgerEntry.objects.create(
        account=student.billing_account, term=section.term, kind="aid", state="posted", amount_minor=100,
        currency="USD", code="GRANT", posted_at=NOW, posted_by="system",
    )  # fmt: skip
    acts: dict[str, Act] = {
        "enroll": lambda: operations.enroll(student, section),
        "drop": lambda: operations.drop(enrollment),
        "post": lambda: operations.post(student, section.term, GRANT),
        "void": lambda: operations.void(entry, reason="a mistake"),
        "apply a run": lambda: operations.apply_run_to_ledger(
            7, voiding=by_id(entry), posting=one_posting(student, section.term), reason="gone"
        ),
    }
    return acts[request.param]


def test_when_a_listener_fails_neither_change_nor_event_is_left(act: Act) -> None:
    def fail(**sent: Any) -> None:
        assert connection.in_atomic_block
        raise ZeroDivisionError

    before = everything()
    for signal in (enrollment_changed, ledger_changed):
        signal.connect(fail)
    try:
        with pytest.raises(ZeroDivisionError):
            act()
    finally:
        for signal in (enrollment_changed, ledger_changed):
            signal.disconnect(fail)
    assert everything() == before


def test_when_the_trail_refuses_the_event_the_change_is_not_done(act: Act) -> None:
    before = everything()
    nobody = Actor(kind="ghost", name="")  # type: ignore[arg-type]
    with acting(nobody), pytest.raises(IntegrityError):
        act()
    assert everything() == before


@pytest.mark.django_db(transaction=True)
def test_an_operation_commits_or_rolls_back_by_itself(student: Student, term: Term) -> None:
    entry = operations.post(student, term, GRANT)
    assert not connection.in_atomic_block
    connection.close()
    assert LedgerEntry.objects.get() == entry
    assert only_event().subject_id == str(entry.pk)


# --- a run's worth at once --------------------------------------------------------------------------------


def by_id(*entries: LedgerEntry) -> Selection:
    marks = ", ".join(["%s"] * len(entries)) or "NULL"
    return Selection(
        f"SELECT id FROM registration_ledgerentry WHERE id IN ({marks})", [entry.pk for entry in entries]
    )


def one_posting(student: Student, term: Term) -> Selection:
    """What a plan selects for one new award."""
    [reserved] = reserve_ids(LedgerEntry, 1)
    row = {
        "id": reserved, "account_id": student.pk, "term_id": term.pk, "kind": "aid", "adjusts": "",
        "state": "posted", "amount_minor": 900, "currency": "USD", "code": "NEW", "description": "New grant",
        "effective_on": "2026-09-03", "posted_change": 5,
    }  # fmt: skip
    columns = ", ".join(f"%s AS {name}" for name in POSTED_COLUMNS)
    return Selection(f"SELECT {columns}", [row[name] for name in POSTED_COLUMNS])


def test_a_run_voids_and_posts_in_two_statements_one_signal_and_leaves_the_event_to_its_caller(
    students: list[Student], term: Term, heard: Heard, django_assert_num_queries: Any
) -> None:
    gone, stays, void_before = (operations.post(students[0], term, GRANT) for _ in range(3))
    operations.void(void_before, reason="by hand")
    before = LedgerEntry.objects.filter(pk=void_before.pk).values().get()
    events = AuditEvent.objects.count()
    heard.clear()
    posting = one_posting(students[1], term)
    with acting(Actor(kind="worker", name="sync run 7")), django_assert_num_queries(4):  # with the savepoint
        counted = operations.apply_run_to_ledger(
            7, voiding=by_id(gone, void_before), posting=posting, reason="absent"
        )
    assert counted == (1, 1)
    gone.refresh_from_db()
    stays.refresh_from_db()
    assert (gone.state, gone.voided_run, gone.voided_by, gone.void_reason) == (
        "void",
        7,
        "sync run 7",
        "absent",
    )
    assert stays.state == "posted"
    assert LedgerEntry.objects.filter(pk=void_before.pk).values().get() == before
    new = LedgerEntry.objects.get(code="NEW")
    assert (new.pk, new.posted_run, new.posted_change, new.posted_by, new.effective_on) == (
        posting.params[0],
        7,
        5,
        "sync run 7",
        datetime.date(2026, 9, 3),
    )
    assert heard == [(ledger_changed, {"run": 7, "entries": 2})]
    assert AuditEvent.objects.count() == events
    assert [each.billing_account.totals().posted_aid for each in students] == [250_000, 900, 0]


def test_a_reserved_id_is_given_to_nobody_else(student: Student, term: Term) -> None:
    first = list(reserve_ids(LedgerEntry, 3))
    between = operations.post(student, term, GRANT).pk
    second = list(reserve_ids(LedgerEntry, 2))
    after = operations.post(student, term, GRANT).pk
    given = [*first, between, *second, after]
    assert len(set(given)) == 7
    assert list(reserve_ids(LedgerEntry, 0)) == []


@pytest.mark.django_db
def test_nothing_is_voided_without_a_reason() -> None:
    term, _ = make_terms()
    entry = operations.post(make_students(1)[0], term, operations.Line(EntryKind.CHARGE, 100, "FEE"))
    with pytest.raises(operations.Refused, match="Say why"):
        operations.void(entry, reason=" ")
    entry.refresh_from_db()
    assert entry.state == "posted"
