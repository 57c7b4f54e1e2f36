"""Who is to have a library account: by enrollment, terms, the bridge between them, the grace, and what a person says."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as checked
from hypothesis import strategies as st

from audit.models import AuditEvent
from registration import operations
from registration.models import Enrollment, LibraryAccount, Section, Student, Term
from registration.models.enrollment import EnrollmentStatus
from registration.models.library import LibraryStatus
from registration.operations.library import accounts_ending, checksum_of
from tests.university import make_section, make_students, make_terms

pytestmark = pytest.mark.django_db
IN_FALL = datetime.datetime(2026, 10, 1, 12, tzinfo=datetime.UTC)


@pytest.fixture(autouse=True)
def october() -> Any:
    """The fall term is under way, and flagged."""
    with time_machine.travel(IN_FALL, tick=False) as clock:
        yield clock


@pytest.fixture
def terms() -> tuple[Term, Term]:
    return make_terms()


@pytest.fixture
def students(terms: tuple[Term, Term]) -> list[Student]:
    return make_students(3)


@pytest.fixture
def fall(terms: tuple[Term, Term]) -> Section:
    return make_section(terms[0], capacity=10)


@pytest.fixture
def spring(terms: tuple[Term, Term]) -> Section:
    return make_section(terms[1], crn="20001", capacity=10)


def account_of(student: Student) -> LibraryAccount:
    return LibraryAccount.objects.get(student=student)


def settle(*students: Student) -> None:
    """Let the library have confirmed what it was asked for."""
    for student in students:
        account = account_of(student)
        status = "provisioned" if account.is_wanted else "deprovisioned"
        LibraryAccount.objects.filter(pk=account.pk).update(status=status, settled_at=timezone.now())


def make_enrollments(students: list[Student], section: Section) -> None:
    """Seats that no operation has given: as a bulk load or a restored backup leaves them."""
    Enrollment.objects.bulk_create(
        Enrollment(student=student, section=section, status_since_at=timezone.now()) for student in students
    )


# --- by enrollment --------------------------------------------------------------------------------------------


def test_the_first_enrollment_asks_for_an_account_and_the_second_for_nothing(
    students: list[Student], fall: Section, spring: Section
) -> None:
    operations.enroll(students[0], fall)
    account = account_of(students[0])
    assert (account.status, account.is_wanted, account.request_number) == ("pending", True, 1)
    operations.enroll(students[0], spring)
    assert account_of(students[0]).request_number == 1


def test_a_place_on_a_waiting_list_gives_no_access(students: list[Student], terms: tuple[Term, Term]) -> None:
    full = make_section(terms[0], crn="10009", capacity=0)
    operations.enroll(students[0], full)
    assert not LibraryAccount.objects.exists()


def test_an_enrollment_in_the_next_regular_term_gives_access_and_one_after_it_does_not(
    students: list[Student], spring: Section
) -> None:
    day = datetime.date
    summer = Term.objects.create(
        code="2027SU", name="Summer 2027", is_regular=False,
        starts_on=day(2026, 12, 20), ends_on=day(2027, 1, 5), census_on=day(2026, 12, 21),
    )  # fmt: skip
    autumn = Term.objects.create(
        code="2027FA", name="Fall 2027",
        starts_on=day(2027, 8, 20), ends_on=day(2027, 12, 18), census_on=day(2027, 9, 10),
    )  # fmt: skip
    operations.enroll(students[0], spring)
    operations.enroll(students[1], make_section(summer, crn="30001"))
    operations.enroll(students[2], make_section(autumn, crn="40001"))
    assert list(LibraryAccount.objects.values_list("student", flat=True)) == [students[0].pk]


def test_dropping_everything_starts_the_grace_and_asks_for_nothing(
    students: list[Student], fall: Section, settings: Any
) -> None:
    settings.LIBRARY_GRACE_HOURS = 24
    enrollment = operations.enroll(students[0], fall)
    settle(students[0])
    operations.drop(enrollment)
    account = account_of(students[0])
    assert (account.status, account.is_wanted) == ("provisioned", True)
    assert account.grace_ends_at == IN_FALL + datetime.timedelta(hours=24)


def test_a_drop_and_an_enrollment_within_the_grace_ask_for_nothing(
    students: list[Student], fall: Section, october: Any
) -> None:
    enrollment = operations.enroll(students[0], fall)
    settle(students[0])
    operations.drop(enrollment)
    october.shift(datetime.timedelta(hours=23))
    operations.enroll(students[0], fall)
    account = account_of(students[0])
    assert (account.grace_ends_at, account.request_number, account.status) == (None, 1, "provisioned")
    october.shift(datetime.timedelta(hours=2))
    assert operations.sweep_library_access().ended == 0


def test_after_the_grace_a_sweep_asks_for_the_end_once(
    students: list[Student], fall: Section, october: Any
) -> None:
    enrollment = operations.enroll(students[0], fall)
    settle(students[0])
    operations.drop(enrollment)
    october.shift(datetime.timedelta(hours=23, minutes=59))
    assert operations.sweep_library_access().ended == 0
    october.shift(datetime.timedelta(minutes=2))
    assert operations.sweep_library_access().ended == 1
    account = account_of(students[0])
    assert (account.status, account.is_wanted, account.request_number) == ("pending", False, 2)
    assert operations.sweep_library_access().ended == 0


def test_who_comes_back_after_the_end_is_asked_for_again(
    students: list[Student], fall: Section, october: Any
) -> None:
    operations.drop(operations.enroll(students[0], fall))
    october.shift(datetime.timedelta(hours=25))
    operations.sweep_library_access()
    settle(students[0])
    operations.enroll(students[0], fall)
    account = account_of(students[0])
    assert (account.status, account.is_wanted, account.request_number) == ("pending", True, 3)
    assert account.requested_at == timezone.now()


@pytest.mark.parametrize("leave", ["withdraw", "graduate", "by SQL"])
def test_whoever_leaves_loses_access_after_the_grace(
    leave: str, students: list[Student], fall: Section, terms: tuple[Term, Term], october: Any
) -> None:
    operations.enroll(students[0], fall)
    if leave == "withdraw":
        operations.withdraw(students[0], terms[0], reason="moves away")
    elif leave == "graduate":
        operations.graduate([students[0].number], reason="degree awarded")
    else:
        Student.objects.filter(pk=students[0].pk).update(status="withdrawn")
        operations.sweep_library_access()
    october.shift(datetime.timedelta(hours=25))
    assert operations.sweep_library_access().ended == 1


# --- by terms -------------------------------------------------------------------------------------------------


def at(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("now", "flag", "is_kept"),
    [
        ("2026-12-01T12:00:00+00:00", "fall", True),
        ("2026-12-05T12:00:00+00:00", "spring", True),  # the flag moves while fall still runs
        ("2026-12-28T12:00:00+00:00", "spring", True),  # between the terms
        ("2027-01-17T12:00:00+00:00", "spring", True),  # the last day of the bridge: December 18 and 30 days
        ("2027-01-18T12:00:00+00:00", "spring", False),
        ("2027-03-01T12:00:00+00:00", "fall", True),  # nobody has moved the flag: the registrar's word counts
    ],
)
def test_a_bridge_of_days_keeps_access_between_two_terms(
    now: str,
    flag: str,
    is_kept: bool,
    students: list[Student],
    fall: Section,
    terms: tuple[Term, Term],
    october: Any,
) -> None:
    operations.enroll(students[0], fall)
    settle(students[0])
    october.move_to(at(now))
    if flag == "spring":
        Term.objects.update(is_current=False)
        Term.objects.filter(pk=terms[1].pk).update(is_current=True)
    operations.sweep_library_access()
    assert (account_of(students[0]).grace_ends_at is None) is is_kept


def test_the_bridge_is_as_long_as_the_installation_says_and_ends_with_the_day_there(
    students: list[Student], fall: Section, terms: tuple[Term, Term], october: Any, settings: Any
) -> None:
    settings.LIBRARY_BRIDGE_DAYS, settings.TIME_ZONE = 2, "America/Los_Angeles"
    operations.enroll(students[0], fall)
    Term.objects.update(is_current=False)
    Term.objects.filter(pk=terms[1].pk).update(is_current=True)
    # In UTC it is the 21st already; in Los Angeles the 20th, the second day after the term, has an hour to go.
    october.move_to(at("2026-12-21T07:00:00+00:00"))
    operations.sweep_library_access()
    assert account_of(students[0]).grace_ends_at is None
    october.move_to(at("2026-12-21T08:30:00+00:00"))
    operations.sweep_library_access()
    assert account_of(students[0]).grace_ends_at is not None


def test_without_a_current_term_nobody_loses_anything(
    students: list[Student], fall: Section, october: Any
) -> None:
    operations.drop(operations.enroll(students[0], fall))
    Term.objects.update(is_current=False)
    october.shift(datetime.timedelta(days=400))
    assert operations.sweep_library_access().ended == 0
    assert operations.sweep_library_access().held == 0


# --- the sweep ------------------------------------------------------------------------------------------------


def leave_all(students: list[Student], gone: int, october: Any) -> None:
    Enrollment.objects.filter(student__in=students[:gone]).update(status=EnrollmentStatus.DROPPED)
    operations.sweep_library_access()
    october.shift(datetime.timedelta(hours=25))


@pytest.mark.parametrize(
    ("everybody", "gone", "is_held"),
    [(20, 10, False), (20, 11, True), (110, 11, False), (109, 11, True)],
)
def test_a_sweep_that_would_end_more_than_a_tenth_and_more_than_ten_waits_for_a_person(
    everybody: int, gone: int, is_held: bool, fall: Section, october: Any
) -> None:
    students = make_students(everybody)
    make_enrollments(students, fall)
    operations.sweep_library_access()
    leave_all(students, gone, october)
    sweep = operations.sweep_library_access()
    assert (sweep.ended, sweep.held) == ((0, gone) if is_held else (gone, 0))
    assert LibraryAccount.objects.filter(is_wanted=False).count() == sweep.ended


def test_a_person_ends_what_they_have_looked_at_and_no_others(fall: Section, october: Any) -> None:
    students = make_students(20)
    make_enrollments(students, fall)
    operations.sweep_library_access()
    leave_all(students, 12, october)
    seen = checksum_of(accounts_ending())
    operations.enroll(students[0], fall)
    with pytest.raises(operations.Refused, match="others by now"):
        operations.approve_library_sweep(seen, reason="they have left")
    with pytest.raises(operations.Refused, match="Say why"):
        operations.approve_library_sweep(checksum_of(accounts_ending()), reason=" ")
    assert operations.approve_library_sweep(checksum_of(accounts_ending()), reason="they have left") == 11
    assert AuditEvent.objects.get(action="library.sweep_approved").detail == {"ended": 11}
    assert account_of(students[0]).is_wanted


def test_a_sweep_heals_what_no_event_told_of(students: list[Student], fall: Section) -> None:
    make_enrollments(students, fall)
    assert operations.sweep_library_access().followed.requested == 3
    assert set(LibraryAccount.objects.values_list("status", flat=True)) == {"pending"}


def test_a_sweep_takes_the_same_statements_for_many_as_for_few(fall: Section) -> None:
    def statements(students: list[Student]) -> tuple[int, int]:
        make_enrollments(students, fall)
        counts = []
        for _ in range(2):
            with CaptureQueriesContext(connection) as seen:
                operations.sweep_library_access()
            counts.append(len(seen))
        return counts[0], counts[1]

    few = statements(make_students(1))
    many = statements(make_students(300))
    assert many == few
    assert LibraryAccount.objects.count() == 301


def test_a_sweep_with_nothing_to_do_leaves_no_event(students: list[Student], fall: Section) -> None:
    make_enrollments(students, fall)
    operations.sweep_library_access()
    before = AuditEvent.objects.count()
    operations.sweep_library_access()
    assert AuditEvent.objects.count() == before


# --- by hand --------------------------------------------------------------------------------------------------


def test_what_a_person_says_counts_until_it_is_taken_back(
    students: list[Student], fall: Section, october: Any
) -> None:
    operations.provision_by_hand(students[0], reason="visiting scholar")
    october.shift(datetime.timedelta(days=3))
    operations.sweep_library_access()
    account = account_of(students[0])
    assert (account.is_wanted, account.grace_ends_at, account.override) == (True, None, "provision")
    operations.follow_enrollment_again(students[0], reason="the visit is over")
    assert account_of(students[0]).grace_ends_at is not None

    operations.enroll(students[1], fall)
    operations.deprovision_by_hand(students[1], reason="books were stolen")
    operations.sweep_library_access()
    account = account_of(students[1])
    assert (account.is_wanted, account.status, account.request_number) == (False, "pending", 2)
    operations.follow_enrollment_again(students[1], reason="settled")
    assert account_of(students[1]).is_wanted


@pytest.mark.parametrize(
    "say", [operations.provision_by_hand, operations.deprovision_by_hand, operations.follow_enrollment_again]
)
def test_nobody_decides_by_hand_without_a_reason(say: Callable[..., Any], students: list[Student]) -> None:
    with pytest.raises(operations.Refused, match="Say why"):
        say(students[0], reason=" ")
    assert not LibraryAccount.objects.exists()


def test_what_answers_an_earlier_request_is_no_news(students: list[Student], fall: Section) -> None:
    operations.enroll(students[0], fall)
    operations.deprovision_by_hand(students[0], reason="a test")
    pk = students[0].pk
    assert not operations.note_library_status(pk, 1, LibraryStatus.PROVISIONED, remote_id="77")
    account = account_of(students[0])
    assert (account.status, account.remote_id) == ("pending", "77")
    assert operations.note_library_status(pk, 2, LibraryStatus.DEPROVISIONED)


# --- graduation -----------------------------------------------------------------------------------------------


def test_many_graduate_in_few_statements_and_each_is_on_their_trail(fall: Section) -> None:
    students = make_students(200)
    make_enrollments(students, fall)
    operations.sweep_library_access()
    with CaptureQueriesContext(connection) as seen:
        done = operations.graduate([student.number for student in students], reason="Class of 2026")
    assert len(done.graduated) == 200
    # One statement for each event, and a handful for all of them together.
    assert len([one for one in seen.captured_queries if "audit_auditevent" not in one["sql"]]) < 20
    assert AuditEvent.objects.of_student("S0000007").filter(action="student.graduated").count() == 1
    assert not LibraryAccount.objects.filter(grace_ends_at__isnull=True).exists()


def test_who_cannot_graduate_is_told_why(students: list[Student], fall: Section, spring: Section) -> None:
    operations.enroll(students[0], fall)
    operations.enroll(students[1], spring)
    Student.objects.filter(pk=students[2].pk).update(status="withdrawn")
    done = operations.graduate([*(one.number for one in students), "S9"], reason="Class of 2026")
    assert done.graduated == (students[0].number,)
    assert done.left_out == {
        students[1].number: "the student has a seat in a term that has not begun: drop it first",
        students[2].number: "the student is withdrawn already",
        "S9": "there is no student with this number",
    }
    assert Enrollment.objects.get(student=students[0]).status == "enrolled"
    with pytest.raises(operations.Refused, match="Say why"):
        operations.graduate([], reason="")


# --- in any order ---------------------------------------------------------------------------------------------

STEPS = st.lists(st.sampled_from(["enroll", "drop", "hour", "day", "sweep", "lost event"]), max_size=12)


@checked(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_in_whatever_order_things_happen_the_account_becomes_what_enrollment_says(
    steps: list[str], students: list[Student], fall: Section, october: Any
) -> None:
    student = students[0]
    LibraryAccount.objects.all().delete()
    Enrollment.objects.all().delete()
    for step in steps:
        seat = Enrollment.objects.filter(student=student, status="enrolled").first()
        if step == "enroll" and not seat:
            operations.enroll(student, fall)
        elif step == "drop" and seat:
            operations.drop(seat)
        elif step in ("hour", "day"):
            october.shift(datetime.timedelta(**{f"{step}s": 1}))
        elif step == "sweep":
            operations.sweep_library_access()
        elif step == "lost event" and seat:
            Enrollment.objects.filter(pk=seat.pk).update(status="dropped")
    for _ in range(2):
        operations.sweep_library_access()
        october.shift(datetime.timedelta(days=2))
    operations.sweep_library_access()
    account = LibraryAccount.objects.filter(student=student).first()
    is_enrolled = Enrollment.objects.filter(student=student, status="enrolled").exists()
    assert (account.is_wanted if account else False) is is_enrolled
