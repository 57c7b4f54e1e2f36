"""Charging what the schedules say: once, by the difference, until the census; after it a person decides."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import time_machine

from audit.context import Actor, acting
from audit.models import AuditEvent
from registration import operations
from registration.bulk import Selection
from registration.fees import FeeEffect, effects_of_living
from registration.models import (
    BillingAccount,
    Course,
    Enrollment,
    FeeChange,
    FeeItem,
    FeeSchedule,
    HousingAssignment,
    LedgerEntry,
    Section,
    Student,
    Term,
)
from registration.models.billing import EntryKind
from registration.operations import Refused
from registration.signals import enrollment_changed, housing_changed, ledger_changed
from tests.racing import race
from tests.registration.bills import charged, end_stay, move_in, noon, owed
from tests.university import (
    HALL_FEE,
    STUDENT_FEE,
    TUITION,
    make_schedules,
    make_section,
    make_students,
    make_terms,
)

BURSAR = Actor(kind="user", name="bea", id="3")
IN_STATE, AWAY = TUITION["in_state"], TUITION["out_of_state"]
BEFORE_CENSUS, CENSUS, AFTER_CENSUS = noon(9, 1), noon(9, 11), noon(9, 12)


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    """The tests begin before the census of 11 September."""
    with time_machine.travel(BEFORE_CENSUS, tick=False) as coordinates, acting(BURSAR):
        yield coordinates


@pytest.fixture
def term(db: None) -> Term:
    fall, _ = make_terms()
    make_schedules(fall)
    return fall


@pytest.fixture
def section(term: Term) -> Section:
    """Three credits."""
    return make_section(term, capacity=9)


@pytest.fixture
def student(section: Section) -> Student:
    """Enrolled in the section, and in state."""
    one = make_students(1)[0]
    operations.enroll(one, section)
    return one


def another_section(section: Section, credit: str = "1.50", crn: str = "10002") -> Section:
    course = Course.objects.create(
        code=f"CS {crn}", title="Laboratory", credits=credit, college=section.course.college
    )
    return Section.objects.create(term=section.term, course=course, crn=crn, capacity=9)


def seat(student: Student, section: Section) -> Enrollment:
    return Enrollment.objects.get(student=student, section=section)


# --- charging ---------------------------------------------------------------------------------------------


def test_enrolled_students_are_charged_by_credits_and_where_they_live(student: Student, term: Term) -> None:
    assert charged(student, term) == {}
    done = operations.assess_fees(term)
    assert charged(student, term) == {"TUITION": 3 * IN_STATE, "STUDENT-FEE": STUDENT_FEE}
    assert (done.students, done.posted, done.voided, done.waiting, done.unpriced) == (1, 2, 0, 0, ())
    assert (done.before, done.after, done.currency) == (0, 3 * IN_STATE + STUDENT_FEE, "USD")
    tuition = LedgerEntry.objects.get(code="TUITION")
    assert tuition.fee_item is not None
    assert str(tuition.fee_item.schedule) == "2026FA off campus, in state"
    assert (tuition.basis, tuition.posted_by, tuition.effective_on) == ("3.00 credits", "bea", term.starts_on)


def test_a_second_assessment_changes_nothing(student: Student, term: Term) -> None:
    operations.assess_fees(term)
    rows = list(LedgerEntry.objects.values())
    heard: list[Any] = []

    def listen(sender: type, **said: Any) -> None:
        heard.append(said)

    ledger_changed.connect(listen)
    again = operations.assess_fees(term)
    ledger_changed.disconnect(listen)
    assert (again.posted, again.voided, again.before) == (0, 0, again.after)
    assert list(LedgerEntry.objects.values()) == rows
    assert heard == []


def test_each_assessment_is_one_event_and_one_signal(student: Student, term: Term) -> None:
    heard: list[Any] = []

    def listen(sender: type, **said: Any) -> None:
        heard.append((said["run"], said["entries"]))

    ledger_changed.connect(listen)
    operations.assess_fees(term)
    ledger_changed.disconnect(listen)
    event = AuditEvent.objects.get(action="fees.assessed")
    assert event.detail == {"term": "2026FA", "posted": 2, "voided": 0, "waiting": 0, "unpriced": 0}
    assert heard == [(None, 2)]


def test_a_closed_term_is_never_charged(student: Student, term: Term) -> None:
    Term.objects.filter(pk=term.pk).update(is_current=False, is_closed=True)
    with pytest.raises(Refused, match="closed"):
        operations.assess_fees(term)
    assert not LedgerEntry.objects.exists()


def test_what_was_charged_stays_as_it_is_once_the_books_are_closed(student: Student, term: Term) -> None:
    operations.assess_fees(term)
    Term.objects.filter(pk=term.pk).update(is_current=False, is_closed=True)
    before = charged(student, term)
    student.residency = "out_of_state"
    student.save()
    operations.follow_residency(student)
    move_in(student, Term.objects.get(pk=term.pk))
    operations.drop(seat(student, Section.objects.get()))
    assert charged(student, term) == before
    assert not FeeChange.objects.exists()


def test_a_term_without_a_schedule_is_refused_in_words(student: Student, term: Term) -> None:
    with pytest.raises(Refused, match="has no fee schedule"):
        operations.assess_fees(Term.objects.get(code="2027SP"))


def test_whom_no_schedule_fits_is_named_and_keeps_the_bill_as_it_was(student: Student, term: Term) -> None:
    operations.assess_fees(term)
    before = charged(student, term)
    FeeSchedule.objects.filter(residency="international").update(
        residency="international", term=Term.objects.get(code="2027SP")
    )
    student.residency = "international"
    student.save()
    operations.follow_residency(student)
    assert operations.assess_fees(term).unpriced == (student.pk,)
    assert charged(student, term) == before


def test_an_account_in_another_currency_than_the_schedule_s_is_not_charged(
    student: Student, term: Term
) -> None:
    BillingAccount.objects.filter(student=student).update(currency="JPY")
    assert operations.assess_fees(term).unpriced == (student.pk,)
    assert not LedgerEntry.objects.exists()


def test_a_student_without_an_account_gets_one(section: Section, term: Term) -> None:
    student = make_students(1)[0]
    student.billing_account.delete()
    Enrollment.objects.create(student=student, section=section, status_since_at=noon(9, 1))
    operations.assess_fees(term)
    assert BillingAccount.objects.get(student_id=student.pk).totals().charges == 3 * IN_STATE + STUDENT_FEE


def test_whoever_only_waits_for_a_seat_is_not_charged(student: Student, section: Section, term: Term) -> None:
    Section.objects.filter(pk=section.pk).update(capacity=1)
    waiting = make_students(1)[0]
    assert operations.enroll(waiting, section).status == "waitlisted"
    operations.assess_fees(term)
    assert charged(waiting, term) == {}
    operations.drop(seat(waiting, section))
    operations.assess_fees(term)
    assert charged(waiting, term) == {}


def test_fractions_of_credits_are_rounded_once_half_up(
    student: Student, section: Section, term: Term
) -> None:
    FeeItem.objects.filter(code="TUITION").update(amount_minor=33)
    operations.enroll(student, another_section(section, "0.75", "10002"))
    operations.enroll(student, another_section(section, "0.75", "10003"))
    operations.assess_fees(term)
    # 4.50 credits at 0.33 are 148.5 cents; seat by seat it would have been 99 + 25 + 25.
    assert charged(student, term)["TUITION"] == 149
    assert LedgerEntry.objects.get(code="TUITION").basis == "4.50 credits"


def test_a_fee_of_nothing_posts_nothing(student: Student, term: Term) -> None:
    FeeItem.objects.filter(code="STUDENT-FEE").update(amount_minor=0)
    operations.assess_fees(term)
    assert charged(student, term) == {"TUITION": 3 * IN_STATE}


def test_only_the_fee_that_differs_is_voided_and_posted(student: Student, term: Term) -> None:
    operations.assess_fees(term)
    operations.enroll(student, another_section(Section.objects.get()))
    voided = LedgerEntry.objects.get(state="void")
    assert (voided.code, voided.amount_minor, voided.voided_from, voided.voided_by) == (
        "TUITION", 3 * IN_STATE, "posted", "bea",
    )  # fmt: skip
    assert voided.void_reason == "Enrolled in 10002 CS 10002."
    assert charged(student, term) == {"TUITION": IN_STATE * 9 // 2, "STUDENT-FEE": STUDENT_FEE}
    assert LedgerEntry.objects.filter(code="STUDENT-FEE").count() == 1


def test_a_charge_that_a_person_posted_is_nobody_else_s(student: Student, term: Term) -> None:
    line = operations.Line(EntryKind.CHARGE, 500, "LIBRARY-FINE")
    fine = operations.post(student, term, line)
    operations.assess_fees(term)
    operations.drop(seat(student, Section.objects.get()))
    fine.refresh_from_db()
    assert fine.state == "posted"


def test_a_charge_voided_by_hand_comes_back_with_the_next_assessment(student: Student, term: Term) -> None:
    operations.assess_fees(term)
    operations.void(LedgerEntry.objects.get(code="TUITION"), reason="a slip")
    assert operations.assess_fees(term).posted == 1
    assert charged(student, term) == owed(student, term)


# --- dropping and withdrawing -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("month", "day", "refunded"),
    [(8, 30, "100"), (8, 31, "50"), (9, 6, "50"), (9, 7, "33.33"), (9, 9, "33.33"), (9, 10, "0")],
)
def test_a_drop_refunds_by_the_table_to_the_day(
    clock: time_machine.Traveller, student: Student, term: Term, month: int, day: int, refunded: str
) -> None:
    operations.assess_fees(term)
    clock.move_to(noon(month, day))
    operations.drop(seat(student, Section.objects.get()))
    kept = {"100": (0, 0), "50": (67_500, 20_600), "33.33": (90_005, 27_468), "0": (135_000, 41_200)}[
        refunded
    ]
    assert charged(student, term) == {
        code: amount for code, amount in zip(("TUITION", "STUDENT-FEE"), kept, strict=True) if amount
    }


def test_dropping_one_of_two_keeps_the_flat_fees_whole(
    student: Student, section: Section, term: Term
) -> None:
    lab = another_section(section)
    operations.enroll(student, lab)
    operations.assess_fees(term)
    operations.drop(seat(student, lab))
    # Half of one and a half credits is kept on 1 September.
    assert charged(student, term) == {"TUITION": IN_STATE * 15 // 4, "STUDENT-FEE": STUDENT_FEE}
    basis = LedgerEntry.objects.live().get(code="TUITION").basis
    assert basis == "3.00 credits, and a share of 1.50 given up"


def test_withdrawing_gives_up_every_seat_by_the_table_for_withdrawals(
    student: Student, section: Section, term: Term
) -> None:
    lab, full = another_section(section), another_section(section, crn="10003")
    Section.objects.filter(pk=full.pk).update(capacity=0)
    for each in (lab, full):
        operations.enroll(student, each)
    operations.assess_fees(term)
    told: list[Any] = []

    def listen(sender: type, **said: Any) -> None:
        told.append(said["enrollment"].section.crn)

    enrollment_changed.connect(listen)
    gone = operations.withdraw(student, term, reason="moves abroad")
    enrollment_changed.disconnect(listen)
    assert [enrollment.status for enrollment in gone] == ["withdrawn"] * 3
    assert told == ["10001", "10002", "10003"]
    assert seat(student, full).seat_given_up_on is None
    assert charged(student, term) == {"TUITION": 151_875, "STUDENT-FEE": 30_900}
    event = AuditEvent.objects.get(action="student.withdrawn")
    assert (event.reason, event.detail["crns"]) == ("moves abroad", ["10001", "10002", "10003"])


@pytest.mark.parametrize(
    ("reason", "closed", "said"), [(" ", False, "Say why"), ("x", True, "closed"), ("x", False, "nothing to")]
)
def test_a_withdrawal_that_cannot_be_is_refused_in_words(
    section: Section,
    term: Term,
    reason: str,
    closed: bool,
    said: str,
) -> None:
    Term.objects.filter(pk=term.pk).update(is_current=False, is_closed=closed)
    with pytest.raises(Refused, match=said):
        operations.withdraw(make_students(1)[0], term, reason=reason)


def test_whoever_takes_a_dropped_seat_again_pays_in_full(
    student: Student, section: Section, term: Term
) -> None:
    operations.assess_fees(term)
    operations.drop(seat(student, section))
    operations.enroll(student, section)
    assert charged(student, term) == {"TUITION": 3 * IN_STATE, "STUDENT-FEE": STUDENT_FEE}


def test_waiting_again_for_a_dropped_seat_does_not_get_out_of_what_was_kept(
    student: Student, section: Section, term: Term
) -> None:
    operations.assess_fees(term)
    operations.drop(seat(student, section))
    kept = charged(student, term)
    Section.objects.filter(pk=section.pk).update(capacity=0)
    assert operations.enroll(student, section).status == "waitlisted"
    assert charged(student, term) == kept
    operations.drop(seat(student, section))
    assert charged(student, term) == kept


@pytest.mark.parametrize(
    ("zone", "day"),
    [("UTC", datetime.date(2026, 8, 31)), ("America/New_York", datetime.date(2026, 8, 30))],
)
def test_the_day_of_a_drop_is_the_day_where_the_institution_is(
    clock: time_machine.Traveller,
    settings: Any,
    student: Student,
    term: Term,
    zone: str,
    day: datetime.date,
) -> None:
    settings.TIME_ZONE = zone
    operations.assess_fees(term)
    clock.move_to(datetime.datetime(2026, 8, 31, 3, 59, tzinfo=datetime.UTC))
    operations.drop(seat(student, Section.objects.get()))
    assert seat(student, Section.objects.get()).seat_given_up_on == day
    assert charged(student, term) == ({} if day.day == 30 else {"TUITION": 67_500, "STUDENT-FEE": 20_600})


def test_the_census_ends_at_midnight_where_the_institution_is(
    clock: time_machine.Traveller, settings: Any, student: Student, term: Term
) -> None:
    settings.TIME_ZONE = "Asia/Tokyo"
    operations.assess_fees(term)
    clock.move_to(datetime.datetime(2026, 9, 11, 14, 59, 59, tzinfo=datetime.UTC))
    move_in(student, term)
    assert charged(student, term)["HALL-FEE"] == HALL_FEE
    clock.move_to(datetime.datetime(2026, 9, 11, 15, 0, tzinfo=datetime.UTC))
    end_stay(student, term, "cancelled")
    assert charged(student, term)["HALL-FEE"] == HALL_FEE
    assert FeeChange.objects.waiting().count() == 1


def test_a_leap_day_is_a_day_like_any_other(clock: time_machine.Traveller, section: Section) -> None:
    day = datetime.date
    leap = Term.objects.create(
        code="2028SP", name="Spring 2028", starts_on=day(2028, 2, 14), ends_on=day(2028, 5, 14), census_on=day(2028, 2, 29)
    )  # fmt: skip
    make_schedules(leap)
    for step in leap.fee_schedules.get(
        living_arrangement="off_campus", residency="in_state"
    ).refund_steps.all():
        step.delete()
    leap.fee_schedules.get(living_arrangement="off_campus", residency="in_state").refund_steps.create(
        applies_to="drop", through_on=day(2028, 2, 29), percent=75
    )
    student = make_students(1)[0]
    clock.move_to(datetime.datetime(2028, 2, 29, 23, 59, tzinfo=datetime.UTC))
    enrollment = operations.enroll(student, make_section(leap))
    operations.assess_fees(leap)
    operations.drop(enrollment)
    assert charged(student, leap) == {"TUITION": 33_750, "STUDENT-FEE": 10_300}


# --- housing and residency --------------------------------------------------------------------------------


def test_moving_on_campus_charges_by_the_other_schedule(student: Student, term: Term) -> None:
    operations.assess_fees(term)
    move_in(student, term)
    assert charged(student, term)["HALL-FEE"] == HALL_FEE
    assert LedgerEntry.objects.filter(state="void").count() == 0  # the other fees are what they were
    entry = LedgerEntry.objects.get(code="HALL-FEE")
    assert entry.fee_item is not None
    assert entry.fee_item.schedule.living_arrangement == "on_campus"


@pytest.mark.parametrize("status", ["checked_out", "cancelled"])
def test_leaving_a_hall_before_the_census_takes_its_fees_off(
    student: Student, term: Term, status: str
) -> None:
    move_in(student, term)
    operations.assess_fees(term)
    assert "HALL-FEE" in charged(student, term)
    end_stay(student, term, status)
    assert charged(student, term) == owed(student, term)
    assert "HALL-FEE" not in charged(student, term)


def test_checking_out_after_the_census_is_no_change_of_fees(
    clock: time_machine.Traveller, student: Student, term: Term
) -> None:
    move_in(student, term)
    operations.assess_fees(term)
    clock.move_to(noon(12, 18))
    end_stay(student, term, "checked_out")
    assert charged(student, term)["HALL-FEE"] == HALL_FEE
    assert not FeeChange.objects.exists()


def test_checking_out_on_the_census_day_still_counts_as_before_it(
    clock: time_machine.Traveller, student: Student, term: Term
) -> None:
    move_in(student, term)
    operations.assess_fees(term)
    clock.move_to(CENSUS)
    end_stay(student, term, "checked_out")
    assert "HALL-FEE" not in charged(student, term)


def test_moving_to_another_hall_keeps_the_history_and_the_fees(
    clock: time_machine.Traveller, student: Student, term: Term
) -> None:
    first = move_in(student, term)
    operations.assess_fees(term)
    rows = list(LedgerEntry.objects.values())
    clock.move_to(noon(10, 15))
    second = move_in(student, term, hall="South Hall")
    assert list(LedgerEntry.objects.values()) == rows
    first.refresh_from_db()
    today = datetime.date(2026, 10, 15)
    assert (first.hall, first.status, first.move_out_on) == ("North Hall", "checked_out", today)
    assert (second.hall, second.status, second.move_in_on) == ("South Hall", "assigned", today)
    assert not FeeChange.objects.exists()
    actions = AuditEvent.objects.filter(action__startswith="housing").order_by("pk")
    assert [event.action for event in actions] == ["housing_assignment.recorded", "housing_assignment.moved"]


def test_a_second_live_room_is_refused_in_words(student: Student, term: Term) -> None:
    move_in(student, term)
    another = HousingAssignment(student=student, term=term, hall="South Hall", room="2")
    with pytest.raises(Refused, match="has a room in Fall 2026 already"):
        operations.record_assignment(another)
    assert HousingAssignment.objects.count() == 1


def test_a_change_by_hand_says_who_and_when_so_that_a_sync_can_notice(student: Student, term: Term) -> None:
    row = move_in(student, term)
    assert (row.recorded_by, row.edited_at, row.edited_by) == ("bea", None, "")
    row.on_campus = False
    told: list[Any] = []

    def listen(sender: type, **said: Any) -> None:
        told.append((said["run"], said["students"]))

    housing_changed.connect(listen)
    operations.record_assignment(row)
    housing_changed.disconnect(listen)
    row.refresh_from_db()
    assert (row.edited_at, row.edited_by) == (BEFORE_CENSUS, "bea")
    assert told == [(None, [student.pk])]


def test_looking_at_a_contact_is_kept_in_the_trail(student: Student, term: Term) -> None:
    row = move_in(student, term)
    row.emergency_contact_name = "Grace Okafor"
    operations.record_assignment(row)
    assert operations.contact_of(row)["emergency_contact_name"] == "Grace Okafor"
    event = AuditEvent.objects.get(action="housing_assignment.contact_seen")
    assert event.actor_name == "bea"
    assert "Okafor" not in str(event.detail)


def test_a_residency_that_changes_takes_its_fees_along(student: Student, term: Term) -> None:
    operations.assess_fees(term)
    student.residency = "out_of_state"
    student.save()
    operations.follow_residency(student)
    assert charged(student, term) == {"TUITION": 3 * AWAY, "STUDENT-FEE": STUDENT_FEE}
    assert LedgerEntry.objects.get(state="void").void_reason == "Tuition residency is out of state."


# --- after the census -------------------------------------------------------------------------------------


@pytest.fixture
def waiting(clock: time_machine.Traveller, student: Student, term: Term) -> FeeChange:
    """A student who moved on campus after the census."""
    operations.assess_fees(term)
    clock.move_to(AFTER_CENSUS)
    move_in(student, term)
    return FeeChange.objects.get()


def test_after_the_census_a_change_waits_for_a_person(
    waiting: FeeChange, student: Student, term: Term
) -> None:
    assert "HALL-FEE" not in charged(student, term)
    assert waiting.lines == [{"code": "HALL-FEE", "before": 0, "after": HALL_FEE}]
    assert (waiting.before_minor, waiting.after_minor, waiting.displayed_difference) == (
        0,
        HALL_FEE,
        "+99.99 USD",
    )
    assert waiting.why == "Housing: assigned, North Hall 12, on campus."
    assert operations.assess_fees(term).waiting == 1
    assert FeeChange.objects.count() == 1


def test_the_last_day_before_a_change_waits_is_the_census_itself(
    clock: time_machine.Traveller, student: Student, term: Term
) -> None:
    operations.assess_fees(term)
    clock.move_to(CENSUS)
    move_in(student, term)
    assert charged(student, term)["HALL-FEE"] == HALL_FEE


def test_an_approved_change_is_charged_and_kept_with_its_reason(
    waiting: FeeChange, student: Student, term: Term
) -> None:
    operations.approve_fee_change(waiting, reason="moved in late")
    assert charged(student, term)["HALL-FEE"] == HALL_FEE
    waiting.refresh_from_db()
    assert (waiting.status, waiting.decided_by, waiting.reason) == ("approved", "bea", "moved in late")
    assert AuditEvent.objects.get(action="fee_change.approved").reason == "moved in late"
    with pytest.raises(Refused, match="approved already"):
        operations.approve_fee_change(waiting, reason="again")


def test_a_refused_change_leaves_the_bill_and_is_not_asked_for_again(
    waiting: FeeChange, student: Student, term: Term
) -> None:
    operations.refuse_fee_change(waiting, reason="the hall was closed")
    before = charged(student, term)
    assert operations.assess_fees(term).waiting == 0
    assert charged(student, term) == before
    move_in(student, term, hall="South Hall")
    assert not FeeChange.objects.waiting().exists()


def test_another_change_than_the_refused_one_is_asked_for(
    waiting: FeeChange, student: Student, term: Term
) -> None:
    operations.refuse_fee_change(waiting, reason="no")
    operations.enroll(student, another_section(Section.objects.get()))
    assert [line["code"] for line in FeeChange.objects.waiting().get().lines] == ["HALL-FEE", "TUITION"]


def test_a_refused_change_may_be_approved_after_all(waiting: FeeChange, student: Student, term: Term) -> None:
    operations.refuse_fee_change(waiting, reason="no")
    operations.approve_fee_change(waiting, reason="yes, after all")
    assert charged(student, term)["HALL-FEE"] == HALL_FEE


def test_a_change_whose_cause_goes_away_is_no_longer_asked_for(
    waiting: FeeChange, student: Student, term: Term
) -> None:
    end_stay(student, term, "cancelled")
    waiting.refresh_from_db()
    assert waiting.status == "lapsed"
    with pytest.raises(Refused, match="no longer needed already"):
        operations.approve_fee_change(waiting, reason="x")


def test_a_change_that_grows_while_it_waits_is_the_same_question(
    waiting: FeeChange, student: Student, term: Term
) -> None:
    operations.enroll(student, another_section(Section.objects.get()))
    waiting.refresh_from_db()
    assert [line["code"] for line in waiting.lines] == ["HALL-FEE", "TUITION"]
    assert FeeChange.objects.count() == 1


def test_nothing_is_charged_that_was_not_seen(waiting: FeeChange, student: Student, term: Term) -> None:
    FeeItem.objects.filter(code="HALL-FEE").update(amount_minor=HALL_FEE * 2)
    before = charged(student, term)
    with pytest.raises(Refused, match="has changed since"):
        operations.approve_fee_change(waiting, reason="x")
    assert charged(student, term) == before


@pytest.mark.parametrize("decide", [operations.approve_fee_change, operations.refuse_fee_change])
def test_a_decision_says_why(waiting: FeeChange, decide: Any) -> None:
    with pytest.raises(Refused, match="Say why"):
        decide(waiting, reason=" ")
    waiting.refresh_from_db()
    assert waiting.is_waiting


def test_a_change_of_a_term_that_was_closed_meanwhile_is_not_charged(waiting: FeeChange, term: Term) -> None:
    Term.objects.filter(pk=term.pk).update(is_current=False, is_closed=True)
    with pytest.raises(Refused, match="closed"):
        operations.approve_fee_change(waiting, reason="x")


def test_whoever_was_never_charged_is_charged_after_the_census_too(
    clock: time_machine.Traveller, student: Student, section: Section, term: Term
) -> None:
    operations.assess_fees(term)
    clock.move_to(AFTER_CENSUS)
    late = make_students(1)[0]
    operations.enroll(late, section)
    assert charged(late, term) == {}
    done = operations.assess_fees(term)
    assert charged(late, term) == {"TUITION": 3 * IN_STATE, "STUDENT-FEE": STUDENT_FEE}
    assert (done.posted, done.waiting) == (2, 0)


@pytest.mark.parametrize("assessed", ["before", "between", "after"])
@pytest.mark.parametrize("moves", [("in",), ("in", "out"), ("in", "out", "in")])
@pytest.mark.parametrize("when", [BEFORE_CENSUS, AFTER_CENSUS])
def test_moving_in_and_out_ends_in_the_same_bill_in_each_order(
    clock: time_machine.Traveller,
    student: Student,
    term: Term,
    assessed: str,
    moves: tuple[str, ...],
    when: datetime.datetime,
) -> None:
    clock.move_to(when)
    if assessed == "before":
        operations.assess_fees(term)
    for place, move in enumerate(moves):
        if move == "in":
            move_in(student, term)
        else:
            end_stay(student, term, "cancelled")
        if assessed == "between" and place == 0:
            operations.assess_fees(term)
    operations.assess_fees(term)
    for change in FeeChange.objects.waiting():
        operations.approve_fee_change(change, reason="seen")
    assert charged(student, term) == owed(student, term)


# --- what would change ------------------------------------------------------------------------------------


def test_the_money_of_a_change_of_housing_is_known_without_making_it(
    student: Student, section: Section, term: Term
) -> None:
    second, third = make_students(2)
    operations.enroll(second, section)
    move_in(student, term)
    operations.assess_fees(term)
    sql = " UNION ALL ".join(
        ["SELECT CAST(%s AS bigint) AS student_id, CAST(%s AS bigint) AS term_id, %s AS living_arrangement"]
        * 3
    )
    living = Selection(
        sql,
        [student.pk, term.pk, "off_campus", second.pk, term.pk, "off_campus", third.pk, term.pk, "on_campus"],
    )
    rows = list(LedgerEntry.objects.values())
    base = 3 * IN_STATE + STUDENT_FEE
    # The second lives off campus already, and the third is enrolled in nothing.
    assert effects_of_living(living) == [FeeEffect(student.pk, term.pk, base + HALL_FEE, base)]
    assert list(LedgerEntry.objects.values()) == rows
    Term.objects.filter(pk=term.pk).update(is_current=False, is_closed=True)
    assert effects_of_living(living) == []


def test_many_fees_follow_as_one_set(section: Section, term: Term) -> None:
    students = make_students(4)
    for student in students:
        operations.enroll(student, section)
    for student in students[:3]:
        move_in(student, term)
    operations.assess_fees(term)
    HousingAssignment.objects.filter(student__in=students[:2]).update(status="cancelled")
    moved = operations.follow_fees_of(
        Selection("SELECT student_id FROM registration_housingassignment", []), why="Run 7."
    )
    assert moved == 2
    assert [charged(student, term) for student in students] == [owed(student, term) for student in students]
    assert set(LedgerEntry.objects.filter(state="void").values_list("void_reason", flat=True)) == {"Run 7."}


# --- at once ----------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_two_assessments_at_once_charge_once(student: Student, term: Term) -> None:
    done = race(term, [lambda: operations.assess_fees(term).posted] * 2)
    assert sorted(str(each) for each in done) == ["0", "2"]
    assert charged(student, term) == owed(student, term)


@pytest.mark.django_db(transaction=True)
def test_a_drop_and_an_assessment_at_once_end_in_the_right_bill(student: Student, term: Term) -> None:
    operations.assess_fees(term)
    FeeItem.objects.filter(code="STUDENT-FEE").update(amount_minor=1_000)
    enrollment = student.enrollments.get()
    acts: list[Callable[[], object]] = [
        lambda: operations.drop(enrollment),
        lambda: operations.assess_fees(term),
    ]
    done = race(student.billing_account, acts)
    assert [each for each in done if isinstance(each, Exception)] == []
    assert charged(student, term) == {"TUITION": 67_500, "STUDENT-FEE": 500}
