"""Every named constraint of registration refuses what it is there to refuse, whoever writes.

A row that is right is written past everything but the database, once as it is and once with one thing wrong.
"""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from django.apps import apps
from django.db import IntegrityError, connection, models, transaction
from django.db.models import ProtectedError

from apiauth.models import Consumer, User
from apiauth.operations import create_consumer
from registration.models import (
    BillingAccount,
    CalendarEvent,
    College,
    CollegeMember,
    Course,
    Enrollment,
    FeeChange,
    FeeItem,
    FeeSchedule,
    HousingAssignment,
    LedgerEntry,
    LibraryAccount,
    Program,
    RefundStep,
    Section,
    SectionMeeting,
    Student,
    StudentGrant,
    Term,
)
from registration.models.billing import EntryKind
from registration.models.calendar import CalendarKind, Weekday
from registration.models.enrollment import EnrollmentStatus
from registration.models.fee_change import FeeChangeStatus
from registration.models.fees import FeeBasis
from registration.models.housing import HousingStatus
from registration.models.people import StudentStatus, TuitionResidency
from tests.refusals import (
    Case,
    Values,
    execute,
    insert,
    named_constraints,
    refused_by,
    resolved,
    rolled_back,
)
from tests.university import make_section, make_students, make_terms

pytestmark = pytest.mark.django_db
NOW = datetime.datetime(2026, 9, 1, 12, tzinfo=datetime.UTC)
DAY = datetime.date(2026, 9, 1)
EARLIER = datetime.date(2026, 8, 31)
NEXT_DAY = datetime.date(2026, 9, 2)


@pytest.fixture(autouse=True)
def university(db: None) -> None:
    """Two terms, a section, S0000001 who is enrolled in it and has a bill, S0000002 with neither."""
    fall, _ = make_terms()
    section = make_section(fall)
    first, second = make_students(2)
    second.billing_account.delete()
    Enrollment.objects.create(student=first, section=section, status_since_at=NOW)
    consumer = create_consumer("Library", scopes=["enrollment:read"]).consumer
    for target in GRANTED:
        StudentGrant.objects.create(consumer=consumer, purpose="Books", granted_by="dana", **resolved(target))
    schedule = FeeSchedule.objects.create(term=fall, living_arrangement="on_campus", residency="in_state")
    fee = FeeItem.objects.create(
        schedule=schedule, code="TUITION", description="Tuition", basis="per_credit", amount_minor=1
    )
    RefundStep.objects.create(schedule=schedule, applies_to="drop", through_on=DAY, percent=100)
    LedgerEntry.objects.create(**RIGHT[LedgerEntry]() | {"fee_item": fee, "code": "TUITION"})
    HousingAssignment.objects.create(**RIGHT[HousingAssignment]() | {"student": first})
    FeeChange.objects.create(**RIGHT[FeeChange]() | {"student": first})
    SectionMeeting.objects.create(**RIGHT[SectionMeeting]() | {"begins": datetime.time(8)})
    CalendarEvent.objects.create(**RIGHT[CalendarEvent]() | {"starts_on": EARLIER, "ends_on": DAY})


def first_student() -> Student:
    return Student.objects.get(number="S0000001")


def corrected_entry() -> LedgerEntry:
    """An entry that was voided by hand and has a live one in its place."""
    void = {"state": "void", "voided_at": NOW, "voided_by": "bursar", "void_reason": "a mistake"}
    original = insert(LedgerEntry, RIGHT[LedgerEntry]() | void)
    assert isinstance(original, LedgerEntry)
    insert(LedgerEntry, RIGHT[LedgerEntry]() | {"corrects": original})
    return original


# What the library may see already, once each.
GRANTED: list[dict[str, Any]] = [
    {"audience": "all"},
    {"audience": "program", "program": Program.objects.get},
    {"audience": "college", "college": College.objects.get},
    {"audience": "student", "student": first_student},
]


# Who has said something of a library account, and why.
SAID = {"override_reason": "visits us", "overridden_by": "ana"}

# Of each model, a row that nothing is wrong with and that is not there yet.
RIGHT: dict[type[models.Model], Values] = {
    College: lambda: {"code": "SCI", "name": "Sciences"},
    Program: lambda: {"code": "BSBIO", "name": "Biology", "college": College.objects.get()},
    Student: lambda: {"number": "S0000003", "family_name": "Ng"},
    Term: lambda: {
        "code": "2027FA",
        "name": "Fall 2027",
        "starts_on": datetime.date(2027, 8, 23),
        "ends_on": datetime.date(2027, 12, 17),
        "census_on": datetime.date(2027, 9, 10),
    },
    LibraryAccount: lambda: {"student": first_student(), "requested_at": NOW, "why": "Enrolled"},
    CollegeMember: lambda: {
        "user": User.objects.create_user(f"principal-{User.objects.count()}"),
        "college": College.objects.get(),
    },
    Course: lambda: {"code": "CS 201", "title": "Methods", "credits": 3, "college": College.objects.get()},
    Section: lambda: {
        "term": Term.objects.get(code="2026FA"),
        "course": Course.objects.get(),
        "crn": "10002",
        "capacity": 0,
    },
    Enrollment: lambda: {
        "student": Student.objects.get(number="S0000002"),
        "section": Section.objects.get(),
        "status_since_at": NOW,
    },
    BillingAccount: lambda: {"student": Student.objects.get(number="S0000002"), "currency": "USD"},
    StudentGrant: lambda: {
        "consumer": Consumer.objects.get(),
        "audience": "student",
        "student": Student.objects.get(number="S0000002"),
        "purpose": "Rooms",
        "granted_by": "dana",
    },
    LedgerEntry: lambda: {
        "account": first_student().billing_account,
        "term": Term.objects.get(code="2026FA"),
        "kind": "charge",
        "state": "posted",
        "amount_minor": 1,
        "currency": "USD",
        "code": "TUITION",
        "posted_at": NOW,
        "posted_by": "bursar",
    },
    HousingAssignment: lambda: {
        "student": Student.objects.get(number="S0000002"),
        "term": Term.objects.get(code="2026FA"),
        "hall": "North Hall",
        "room": "12",
        "recorded_at": NOW,
        "recorded_by": "housing office",
    },
    FeeSchedule: lambda: {
        "term": Term.objects.get(code="2026FA"),
        "living_arrangement": "off_campus",
        "residency": "in_state",
    },
    FeeItem: lambda: {
        "schedule": FeeSchedule.objects.get(),
        "code": "LAB",
        "description": "Laboratory",
        "basis": "flat",
        "amount_minor": 0,
    },
    RefundStep: lambda: {
        "schedule": FeeSchedule.objects.get(),
        "applies_to": "withdrawal",
        "through_on": DAY,
        "percent": "12.5",
    },
    FeeChange: lambda: {
        "student": Student.objects.get(number="S0000002"),
        "term": Term.objects.get(code="2026FA"),
        "lines": [],
        "before_minor": 0,
        "after_minor": 1,
        "currency": "USD",
        "why": "moved",
        "raised_at": NOW,
    },
    SectionMeeting: lambda: {
        "section": Section.objects.get(),
        "weekday": "mon",
        "begins": datetime.time(9),
        "ends": datetime.time(10),
        "first_on": DAY,
        "last_on": DAY,
    },
    CalendarEvent: lambda: {
        "term": Term.objects.get(code="2026FA"),
        "kind": "holiday",
        "name": "Labor Day",
        "starts_on": DAY,
        "ends_on": DAY,
    },
}
DECIDED = {"decided_at": NOW, "decided_by": "bursar", "reason": "seen"}

CASES = [
    Case("student_grant_audience_known", StudentGrant, {"audience": "campus"}),
    Case("student_grant_names_its_audience", StudentGrant, {"student": None}),
    Case("student_grant_names_its_audience", StudentGrant, {"program": Program.objects.get}),
    Case("student_grant_names_its_audience", StudentGrant, {"audience": "all"}),
    Case("student_grant_has_a_purpose", StudentGrant, {"purpose": ""}),
    Case("student_grant_has_a_purpose", StudentGrant, {"granted_by": ""}),
    Case("student_grant_revoked_by_somebody", StudentGrant, {"revoked_at": NOW}),
    Case("student_grant_revoked_by_somebody", StudentGrant, {"revoke_reason": "Over"}),
    *(
        Case(
            f"student_grant_{target['audience']}_once",
            StudentGrant,
            {"student": None, **target},
        )
        for target in GRANTED
    ),
    Case("college_named", College, {"code": ""}),
    Case("college_named", College, {"name": ""}),
    Case("program_named", Program, {"code": ""}),
    Case("program_full_time_credits_positive", Program, {"full_time_credits": 0}),
    Case("program_named", Program, {"name": ""}),
    Case("student_numbered_and_named", Student, {"number": ""}),
    Case("student_numbered_and_named", Student, {"family_name": ""}),
    Case("student_status_known", Student, {"status": "asleep"}),
    Case("student_status_known", Student, {"status": "Active"}),
    Case("student_residency_known", Student, {"residency": ""}),
    Case("term_named", Term, {"code": ""}),
    Case("term_named", Term, {"name": ""}),
    Case("term_dates_in_order", Term, {"ends_on": datetime.date(2027, 8, 22)}),
    Case(
        "term_dates_in_order",
        Term,
        {name: datetime.date(2027, 8, 23) for name in ("starts_on", "ends_on", "census_on")},
    ),
    Case("term_dates_in_order", Term, {"census_on": datetime.date(2027, 8, 22)}),
    Case("term_dates_in_order", Term, {"census_on": datetime.date(2027, 12, 18)}),
    Case("term_one_current", Term, {"is_current": True}),
    Case("term_current_is_regular_and_open", Term, {"is_current": True, "is_regular": False}),
    Case("term_current_is_regular_and_open", Term, {"is_current": True, "is_closed": True}),
    Case("course_named", Course, {"code": ""}),
    Case("course_named", Course, {"title": ""}),
    Case("course_credits_not_negative", Course, {"credits": "-0.01"}),
    Case("section_crn_once_a_term", Section, {"crn": "10001"}),
    Case("section_numbered", Section, {"crn": ""}),
    Case("enrollment_once_a_section", Enrollment, {"student": first_student}),
    Case("enrollment_status_known", Enrollment, {"status": "auditing"}),
    Case("enrollment_status_known", Enrollment, {"status": ""}),
    Case("billing_account_currency_is_iso_code", BillingAccount, {"currency": "usd"}),
    Case("billing_account_currency_is_iso_code", BillingAccount, {"currency": "US"}),
    Case("billing_account_currency_is_iso_code", BillingAccount, {"currency": ""}),
    Case("ledger_entry_kind_known", LedgerEntry, {"kind": "tip"}),
    Case("ledger_entry_state_known", LedgerEntry, {"state": "pending"}),
    Case("ledger_entry_amount_positive_or_signed_adjustment", LedgerEntry, {"amount_minor": 0}),
    Case("ledger_entry_amount_positive_or_signed_adjustment", LedgerEntry, {"amount_minor": -1}),
    Case(
        "ledger_entry_amount_positive_or_signed_adjustment", LedgerEntry, {"amount_minor": -1, "kind": "aid"}
    ),
    Case(
        "ledger_entry_amount_positive_or_signed_adjustment",
        LedgerEntry,
        {"amount_minor": 0, "kind": "adjustment", "adjusts": "aid"},
    ),
    Case("ledger_entry_adjustment_names_what_it_adjusts", LedgerEntry, {"kind": "adjustment"}),
    Case(
        "ledger_entry_adjustment_names_what_it_adjusts",
        LedgerEntry,
        {"kind": "adjustment", "adjusts": "adjustment"},
    ),
    Case("ledger_entry_adjustment_names_what_it_adjusts", LedgerEntry, {"adjusts": "aid"}),
    *(
        Case("ledger_entry_only_aid_is_anticipated", LedgerEntry, {"state": "anticipated", "kind": kind})
        for kind in ("charge", "payment", "refund")
    ),
    Case(
        "ledger_entry_only_aid_is_anticipated",
        LedgerEntry,
        {"state": "anticipated", "kind": "adjustment", "adjusts": "charge"},
    ),
    Case("ledger_entry_void_says_when_who_and_why", LedgerEntry, {"state": "void"}),
    Case("ledger_entry_void_says_when_who_and_why", LedgerEntry, {"state": "void", "voided_at": NOW}),
    Case("ledger_entry_void_says_when_who_and_why", LedgerEntry, {"state": "void", "voided_by": "bursar"}),
    Case("ledger_entry_void_says_when_who_and_why", LedgerEntry, {"voided_at": NOW}),
    Case("ledger_entry_void_says_when_who_and_why", LedgerEntry, {"voided_by": "bursar"}),
    Case("ledger_entry_void_says_when_who_and_why", LedgerEntry, {"voided_run": 1}),
    Case("ledger_entry_void_says_when_who_and_why", LedgerEntry, {"void_reason": "wrong term"}),
    Case(
        "ledger_entry_void_says_when_who_and_why",
        LedgerEntry,
        {"state": "void", "voided_at": NOW, "voided_by": "bursar"},
    ),
    Case("ledger_entry_says_who_posted", LedgerEntry, {"posted_by": ""}),
    Case("ledger_entry_one_live_correction", LedgerEntry, {"corrects": corrected_entry}),
    Case("ledger_entry_currency_is_iso_code", LedgerEntry, {"currency": "usd"}),
    Case("ledger_entry_currency_is_iso_code", LedgerEntry, {"currency": "US"}),
    *(
        Case(
            "ledger_entry_only_a_charge_follows_a_schedule",
            LedgerEntry,
            {"kind": kind, "fee_item": FeeItem.objects.first},
        )
        for kind in ("aid", "payment", "refund")
    ),
    Case("ledger_entry_one_live_charge_a_fee", LedgerEntry, {"fee_item": FeeItem.objects.first}),
    Case("ledger_entry_only_a_void_was_something_else", LedgerEntry, {"voided_from": "posted"}),
    Case(
        "ledger_entry_only_a_void_was_something_else",
        LedgerEntry,
        {
            "state": "void",
            "voided_at": NOW,
            "voided_by": "bursar",
            "void_reason": "a mistake",
            "voided_from": "void",
        },
    ),
    Case("enrollment_seat_given_up_says_when_and_how", Enrollment, {"seat_given_up_on": DAY}),
    Case("enrollment_seat_given_up_says_when_and_how", Enrollment, {"seat_given_up_by": "drop"}),
    Case(
        "enrollment_seat_given_up_says_when_and_how",
        Enrollment,
        {"seat_given_up_on": DAY, "seat_given_up_by": "flight"},
    ),
    Case("housing_assignment_status_known", HousingAssignment, {"status": "asleep"}),
    Case("housing_assignment_placed", HousingAssignment, {"hall": ""}),
    Case("housing_assignment_placed", HousingAssignment, {"room": ""}),
    Case(
        "housing_assignment_dates_in_order", HousingAssignment, {"move_in_on": NEXT_DAY, "move_out_on": DAY}
    ),
    Case("housing_assignment_checked_out_says_when", HousingAssignment, {"status": "checked_out"}),
    Case("housing_assignment_one_live_a_term", HousingAssignment, {"student": first_student}),
    Case(
        "housing_assignment_one_live_a_term",
        HousingAssignment,
        {"student": first_student, "status": "checked_in"},
    ),
    Case(
        "housing_assignment_cancelled_from_only_when_cancelled",
        HousingAssignment,
        {"cancelled_from": "checked_in"},
    ),
    Case("housing_assignment_says_who", HousingAssignment, {"recorded_by": ""}),
    Case("housing_assignment_edit_says_when_and_who", HousingAssignment, {"edited_at": NOW}),
    Case("housing_assignment_edit_says_when_and_who", HousingAssignment, {"edited_by": "rita"}),
    Case(
        "fee_schedule_once_a_term_arrangement_and_residency", FeeSchedule, {"living_arrangement": "on_campus"}
    ),
    Case("fee_schedule_arrangement_known", FeeSchedule, {"living_arrangement": "abroad"}),
    Case("fee_schedule_residency_known", FeeSchedule, {"residency": ""}),
    Case("fee_schedule_currency_is_iso_code", FeeSchedule, {"currency": "usd"}),
    Case("fee_item_code_once_a_schedule", FeeItem, {"code": "TUITION"}),
    Case("fee_item_named", FeeItem, {"code": ""}),
    Case("fee_item_named", FeeItem, {"description": ""}),
    Case("fee_item_basis_known", FeeItem, {"basis": "weekly"}),
    Case("fee_item_amount_within_bounds", FeeItem, {"amount_minor": -1}),
    Case("fee_item_amount_within_bounds", FeeItem, {"amount_minor": 10**11 + 1}),
    Case("refund_step_once_a_day", RefundStep, {"applies_to": "drop"}),
    Case("refund_step_applies_to_known", RefundStep, {"applies_to": "flight"}),
    Case("refund_step_percent_within_bounds", RefundStep, {"percent": "-0.01"}),
    Case("refund_step_percent_within_bounds", RefundStep, {"percent": "100.01"}),
    Case("fee_change_status_known", FeeChange, {"status": "lost", **DECIDED}),
    Case("fee_change_one_waiting_a_term", FeeChange, {"student": first_student}),
    Case("fee_change_decision_says_when_who_and_why", FeeChange, {"status": "approved"}),
    Case("fee_change_decision_says_when_who_and_why", FeeChange, DECIDED),
    *(
        Case(
            "fee_change_decision_says_when_who_and_why",
            FeeChange,
            {"status": "refused", **DECIDED, missing: None if missing == "decided_at" else ""},
        )
        for missing in DECIDED
    ),
    Case("fee_change_amounts_not_negative", FeeChange, {"before_minor": -1}),
    Case("fee_change_amounts_not_negative", FeeChange, {"after_minor": -1}),
    Case("fee_change_currency_is_iso_code", FeeChange, {"currency": "US"}),
    Case("library_account_status_known", LibraryAccount, {"status": "lost"}),
    Case("library_account_override_known", LibraryAccount, {"override": "maybe", **SAID}),
    Case("library_account_override_says_who_and_why", LibraryAccount, {"override": "provision"}),
    *(
        Case(
            "library_account_override_says_who_and_why",
            LibraryAccount,
            {**SAID, "override": "provision", name: ""},
        )
        for name in SAID
    ),
    Case(
        "library_account_settled_is_as_wanted",
        LibraryAccount,
        {"status": "provisioned", "is_wanted": False, "settled_at": NOW},
    ),
    Case(
        "library_account_settled_is_as_wanted", LibraryAccount, {"status": "deprovisioned", "settled_at": NOW}
    ),
    Case("library_account_confirmed_says_when", LibraryAccount, {"status": "provisioned"}),
    Case("library_account_trouble_says_why", LibraryAccount, {"status": "failed"}),
    Case("library_account_trouble_says_why", LibraryAccount, {"status": "blocked"}),
    Case("section_meeting_weekday_known", SectionMeeting, {"weekday": "Mon"}),
    Case("section_meeting_times_in_order", SectionMeeting, {"ends": datetime.time(9)}),
    Case("section_meeting_dates_in_order", SectionMeeting, {"first_on": NEXT_DAY}),
    Case("section_meeting_once", SectionMeeting, {"begins": datetime.time(8)}),
    Case("calendar_event_kind_known", CalendarEvent, {"kind": "party"}),
    Case("calendar_event_named", CalendarEvent, {"name": ""}),
    Case("calendar_event_dates_in_order", CalendarEvent, {"starts_on": NEXT_DAY}),
    Case("calendar_event_once_a_day", CalendarEvent, {"starts_on": EARLIER}),
]

# Rows of a bill that look odd and are right.
RIGHT_ENTRIES: list[dict[str, Any]] = [
    *({"kind": kind} for kind in EntryKind if kind != EntryKind.ADJUSTMENT),
    *(
        {"kind": "adjustment", "adjusts": adjusts, "amount_minor": amount}
        for adjusts in ("charge", "aid", "payment", "refund")
        for amount in (-1, 1)
    ),
    {"kind": "aid", "state": "anticipated"},
    {"code": "TUITION", "basis": "3.00 credits"},
    {"kind": "adjustment", "adjusts": "aid", "state": "anticipated", "amount_minor": -1},
    {"state": "void", "voided_at": NOW, "void_reason": "a mistake", "voided_by": "bursar"},
    {
        "state": "void",
        "voided_at": NOW,
        "void_reason": "a mistake",
        "voided_by": "run",
        "voided_run": 1,
        "kind": "aid",
    },
]


def test_each_named_constraint_has_a_case_that_breaks_it() -> None:
    assert {case.constraint for case in CASES} == set(named_constraints("registration"))


def test_each_case_is_of_the_model_that_its_constraint_is_on() -> None:
    owners = named_constraints("registration")
    assert [case for case in CASES if owners[case.constraint] is not case.model] == []


@pytest.mark.parametrize("model", RIGHT, ids=lambda model: model.__name__)
def test_a_row_that_is_right_is_accepted(model: type[models.Model]) -> None:
    before = model._default_manager.count()
    insert(model, RIGHT[model]())
    assert model._default_manager.count() == before + 1


def test_each_model_is_tried() -> None:
    assert set(RIGHT) == set(apps.get_app_config("registration").get_models())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_insert_that_breaks_a_constraint_is_refused_by_name(case: Case) -> None:
    row = RIGHT[case.model]() | case.wrong_values()
    with refused_by(case.constraint):
        insert(case.model, row)


# Of a bill's rows, and of grants, the triggers refuse every update but one; that one is tried below.
@pytest.mark.parametrize(
    "case", [case for case in CASES if case.model not in (LedgerEntry, StudentGrant)], ids=str
)
def test_an_update_that_breaks_a_constraint_is_refused_by_name(case: Case) -> None:
    row = insert(case.model, RIGHT[case.model]())
    with refused_by(case.constraint):
        case.model._default_manager.filter(pk=row.pk).update(**case.wrong_values())


@pytest.mark.parametrize("said", [{}, {"voided_at": NOW}, {"voided_by": "bursar"}])
def test_an_entry_is_not_voided_without_saying_when_and_who(said: dict[str, Any]) -> None:
    row = insert(LedgerEntry, RIGHT[LedgerEntry]())
    with refused_by("ledger_entry_void_says_when_who_and_why"):
        LedgerEntry.objects.filter(pk=row.pk).update(state="void", **said)


def test_a_grant_is_not_withdrawn_without_saying_who() -> None:
    row = insert(StudentGrant, RIGHT[StudentGrant]())
    with refused_by("student_grant_revoked_by_somebody"):
        StudentGrant.objects.filter(pk=row.pk).update(revoked_at=NOW, revoke_reason="Over")


@pytest.mark.parametrize("given", RIGHT_ENTRIES, ids=str)
def test_every_kind_and_state_of_entry_that_the_office_needs_is_accepted(given: dict[str, Any]) -> None:
    row = insert(LedgerEntry, RIGHT[LedgerEntry]() | given)
    assert LedgerEntry.objects.filter(pk=row.pk, **given).exists()


@pytest.mark.parametrize(
    ("model", "field", "choices"),
    [
        (Student, "status", StudentStatus),
        (Student, "residency", TuitionResidency),
        (Enrollment, "status", EnrollmentStatus),
        (SectionMeeting, "weekday", Weekday),
        (CalendarEvent, "kind", CalendarKind),
        (FeeItem, "basis", FeeBasis),
    ],
)
def test_every_declared_choice_is_accepted(
    model: type[models.Model], field: str, choices: type[models.TextChoices]
) -> None:
    for choice in choices:
        with rolled_back():
            row = insert(model, RIGHT[model]() | {field: choice})
            assert model._default_manager.filter(pk=row.pk, **{field: choice.value}).exists()


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


def test_a_crn_may_return_in_another_term() -> None:
    other_term = {"term": Term.objects.get(code="2027SP"), "crn": "10001"}
    row = insert(Section, RIGHT[Section]() | other_term)
    assert Section.objects.filter(crn="10001").exclude(pk=row.pk).exists()


def test_any_number_of_terms_may_be_not_current() -> None:
    Term.objects.update(is_current=False)
    insert(Term, RIGHT[Term]())
    assert Term.objects.filter(is_current=False).count() == 3


def test_a_section_has_no_negative_number_of_seats() -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        insert(Section, RIGHT[Section]() | {"capacity": -1})


def test_nothing_that_a_record_rests_on_is_deleted_with_or_from_under_it() -> None:
    keys = [
        field
        for model in RIGHT
        for field in model._meta.concrete_fields
        if isinstance(field, models.ForeignKey)
    ]
    assert keys
    assert [str(field) for field in keys if field.remote_field.on_delete is not models.PROTECT] == []
    with pytest.raises(ProtectedError):
        Student.objects.filter(number="S0000001").delete()


def test_the_database_itself_refuses_an_enrollment_without_a_student() -> None:
    execute("DELETE FROM registration_student WHERE number = %s", "S0000001")
    with pytest.raises(IntegrityError):
        connection.check_constraints()  # as at the end of the transaction
    transaction.set_rollback(True)


@pytest.mark.parametrize("status", [HousingStatus.CHECKED_OUT, HousingStatus.CANCELLED])
def test_any_number_of_stays_that_are_over_are_kept_beside_the_live_one(status: HousingStatus) -> None:
    for _ in range(2):
        over = {"student": first_student(), "status": status, "move_out_on": DAY}
        insert(HousingAssignment, RIGHT[HousingAssignment]() | over)


@pytest.mark.parametrize(
    "status", [FeeChangeStatus.APPROVED, FeeChangeStatus.REFUSED, FeeChangeStatus.LAPSED]
)
def test_decided_changes_are_kept_beside_the_one_that_waits(status: FeeChangeStatus) -> None:
    for _ in range(2):
        insert(FeeChange, RIGHT[FeeChange]() | {"student": first_student(), "status": status, **DECIDED})


def test_a_fee_that_was_voided_may_be_charged_again() -> None:
    again = {"fee_item": FeeItem.objects.get(), "code": "TUITION"}
    LedgerEntry.objects.live().update(state="void", voided_at=NOW, voided_by="bursar", void_reason="wrong")
    insert(LedgerEntry, RIGHT[LedgerEntry]() | again)
