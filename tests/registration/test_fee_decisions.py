"""Many changes of fees decided at once are decided as each would be by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from audit.context import Actor, acting
from audit.models import AuditEvent
from registration import operations
from registration.models import FeeChange, FeeItem, Section, Student, Term
from registration.models.fee_change import FeeChangeStatus
from registration.operations import Refused, decide_fee_changes
from tests.racing import race
from tests.registration.bills import charged, move_in, noon, signed_on
from tests.university import HALL_FEE, make_schedules, make_section, make_students, make_terms

APPROVED, REFUSED = FeeChangeStatus.APPROVED, FeeChangeStatus.REFUSED
STUDENTS = 4


@pytest.fixture(autouse=True)
def clock(db: None) -> Iterator[time_machine.Traveller]:
    with time_machine.travel(noon(9, 1), tick=False) as coordinates, acting(Actor(kind="user", name="bea")):
        yield coordinates


@pytest.fixture
def term() -> Term:
    term = make_terms()[0]
    make_schedules(term)
    return term


@pytest.fixture
def section(term: Term) -> Section:
    return make_section(term, capacity=STUDENTS)


@pytest.fixture
def students(section: Section) -> list[Student]:
    students = make_students(STUDENTS)
    for student in students:
        operations.enroll(student, section)
    return students


@pytest.fixture
def waiting(clock: time_machine.Traveller, students: list[Student], term: Term) -> list[FeeChange]:
    """Students who moved on campus after the census."""
    operations.assess_fees(term)
    clock.move_to(noon(10, 20))
    for student in students:
        move_in(student, term)
    return list(FeeChange.objects.waiting().order_by("student"))


def has_hall_fee(student: Student, term: Term) -> bool:
    return charged(student, term).get("HALL-FEE") == HALL_FEE


def test_each_that_is_approved_is_charged_and_on_the_trail_with_its_reason(
    waiting: list[FeeChange], students: list[Student], term: Term
) -> None:
    chosen = FeeChange.objects.filter(pk__in=[change.pk for change in waiting[:3]])
    done = decide_fee_changes(chosen, APPROVED, reason=" moved in late ")
    assert (done.decided, done.left_out) == (3, {})
    assert [has_hall_fee(student, term) for student in students] == [True, True, True, False]
    decided = FeeChange.objects.filter(status=APPROVED)
    assert {(change.decided_by, change.reason) for change in decided} == {("bea", "moved in late")}
    events = AuditEvent.objects.filter(action="fee_change.approved").order_by("pk")
    assert [event.detail["student"] for event in events] == [student.number for student in students[:3]]
    assert {event.reason for event in events} == {"moved in late"}


def test_each_that_is_refused_leaves_its_bill(
    waiting: list[FeeChange], students: list[Student], term: Term
) -> None:
    assert decide_fee_changes(FeeChange.objects.all(), REFUSED, reason="no").decided == STUDENTS
    assert not any(has_hall_fee(student, term) for student in students)
    assert operations.assess_fees(term).waiting == 0


def test_one_that_was_decided_or_has_become_another_is_left_as_it_is_and_the_others_are_decided(
    waiting: list[FeeChange], students: list[Student], term: Term
) -> None:
    operations.refuse_fee_change(waiting[0], reason="no")
    FeeChange.objects.filter(pk=waiting[1].pk).update(lines=[{"code": "HALL-FEE", "before": 0, "after": 1}])
    done = decide_fee_changes(FeeChange.objects.all(), APPROVED, reason="yes")
    assert done.decided == STUDENTS - 2
    assert {change.pk: why for change, why in done.left_out.items()} == {
        waiting[0].pk: "it is refused already",
        waiting[1].pk: "what the fee schedule says has changed since: assess the term's fees again",
    }
    assert [has_hall_fee(student, term) for student in students] == [False, False, True, True]


def test_a_term_whose_books_are_closed_is_not_charged_any_more(
    waiting: list[FeeChange], students: list[Student], term: Term
) -> None:
    Term.objects.filter(pk=term.pk).update(is_closed=True, is_current=False)
    done = decide_fee_changes(FeeChange.objects.all(), APPROVED, reason="yes")
    assert done.decided == 0
    assert set(done.left_out.values()) == {f"the books of {term} are closed"}
    assert not any(has_hall_fee(student, term) for student in students)


@pytest.mark.parametrize("reason", ["", "  "])
def test_without_a_reason_nothing_is_decided(waiting: list[FeeChange], reason: str) -> None:
    with pytest.raises(Refused, match="Say why"):
        decide_fee_changes(FeeChange.objects.all(), APPROVED, reason=reason)
    assert FeeChange.objects.waiting().count() == STUDENTS


def test_it_asks_the_database_as_often_for_many_as_for_few(
    waiting: list[FeeChange], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    for chosen in (waiting[:1], waiting[1:]):
        with CaptureQueriesContext(connection) as queries:
            decide_fee_changes(
                FeeChange.objects.filter(pk__in=[change.pk for change in chosen]), APPROVED, reason="yes"
            )
        asked.append(len(queries))
    assert asked[0] == asked[1]


def test_parts_make_no_difference(
    waiting: list[FeeChange], students: list[Student], term: Term, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registration.operations.fee_decisions._PART", 3)
    assert decide_fee_changes(FeeChange.objects.all(), APPROVED, reason="yes").decided == STUDENTS
    assert all(has_hall_fee(student, term) for student in students)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("many", [False, True])
def test_approving_and_assessing_at_once_wait_for_each_other_and_never_for_ever(
    waiting: list[FeeChange], students: list[Student], term: Term, many: bool
) -> None:
    FeeItem.objects.filter(code="HALL-FEE").update(amount_minor=HALL_FEE + 1)

    def approve() -> object:
        if many:
            return decide_fee_changes(FeeChange.objects.all(), APPROVED, reason="late")
        return operations.approve_fee_change(waiting[0], reason="late")

    acts: list[Callable[[], object]] = [approve, lambda: operations.assess_fees(term)]
    # Held at the change: whoever took the change before the account would now wait for who has the account, and the other way
    # round.
    done = race(waiting[0], acts)
    assert [each for each in done if isinstance(each, Exception) and not isinstance(each, Refused)] == []
    assert not any(charged(student, term).get("HALL-FEE") == HALL_FEE for student in students)


def press(client: Client, action: str, changes: list[FeeChange], reason: str) -> list[str]:
    url = reverse("admin:registration_feechange_changelist")
    form = {"action": action, "_selected_action": [change.pk for change in changes], "reason": reason}
    return [str(message) for message in client.post(url, form, follow=True).context["messages"]]


def test_the_selected_are_decided_from_the_list_with_one_reason(
    waiting: list[FeeChange], students: list[Student], term: Term
) -> None:
    office = signed_on("Administrator")
    assert 'name="reason"' in office.get(reverse("admin:registration_feechange_changelist")).content.decode()
    assert press(office, "approve_selected", waiting, "") == [
        "Say why: the reason is kept with each decision. Write it beside the action."
    ]
    assert press(office, "approve_selected", waiting[:2], "late") == ["2 approved."]
    assert press(office, "refuse_selected", waiting[1:], "no") == [
        "2 refused.",
        f"{waiting[1]} was left as it is: it is approved already.",
    ]
    assert [has_hall_fee(student, term) for student in students] == [True, True, False, False]


@pytest.mark.parametrize("role", ["Auditor", "Advisor"])
def test_who_may_not_decide_decides_nothing_from_the_list(waiting: list[FeeChange], role: str) -> None:
    url = reverse("admin:registration_feechange_changelist")
    chosen = [change.pk for change in waiting]
    signed_on(role).post(url, {"action": "approve_selected", "_selected_action": chosen, "reason": "late"})
    assert FeeChange.objects.waiting().count() == STUDENTS
