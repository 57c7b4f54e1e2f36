"""The bursar's list: who has money coming, since when, and how many days are left to refund it."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

import pytest
import time_machine

from audit.context import Actor, acting
from audit.models import AuditEvent
from registration import operations
from registration.credit_balances import credit_balances
from registration.models import LedgerEntry, Student, Term
from registration.models.billing import EntryKind
from registration.operations import Line, Refused
from tests.racing import race
from tests.registration.bills import noon
from tests.university import make_schedules, make_section, make_students, make_terms

TUITION, FEE = 135_000, 41_200


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(noon(8, 25), tick=False) as coordinates, acting(Actor("user", "bea", "3")):
        yield coordinates


@pytest.fixture
def term(db: None) -> Term:
    fall, _ = make_terms()
    make_schedules(fall)
    return fall


@pytest.fixture
def student(term: Term) -> Student:
    """Charged for three credits on 25 August."""
    one = make_students(1)[0]
    operations.enroll(one, make_section(term))
    operations.assess_fees(term)
    return one


def give_aid(student: Student, term: Term, amount: int) -> LedgerEntry:
    return operations.post(student, term, Line(EntryKind.AID, amount, "PELL"))


def test_a_credit_balance_counts_from_the_day_it_arose(
    clock: time_machine.Traveller, student: Student, term: Term
) -> None:
    assert credit_balances() == []
    clock.move_to(noon(9, 1))
    give_aid(student, term, TUITION + FEE)
    assert credit_balances() == []
    clock.move_to(noon(9, 3))
    give_aid(student, term, 5_000)
    clock.move_to(noon(9, 10))
    give_aid(student, term, 1_000)
    (credit,) = credit_balances()
    assert (credit.student, credit.amount_minor, credit.displayed_amount) == (student, 6_000, "60.00 USD")
    assert (credit.arose_on, credit.due_on) == (datetime.date(2026, 9, 3), datetime.date(2026, 9, 17))
    assert (credit.days_left, credit.tone) == (7, "muted")


def test_a_credit_that_went_and_came_back_counts_from_its_return(
    clock: time_machine.Traveller, student: Student, term: Term
) -> None:
    aid = give_aid(student, term, TUITION + FEE + 100)
    clock.move_to(noon(9, 1))
    operations.void(aid, reason="the wrong student")
    clock.move_to(noon(9, 2))
    give_aid(student, term, TUITION + FEE + 100)
    assert credit_balances()[0].arose_on == datetime.date(2026, 9, 2)


def test_a_drop_after_the_bill_was_paid_is_when_the_credit_arises(
    clock: time_machine.Traveller, student: Student, term: Term
) -> None:
    clock.move_to(noon(8, 26))
    give_aid(student, term, TUITION + FEE)
    clock.move_to(noon(9, 2))
    operations.drop(student.enrollments.get())
    (credit,) = credit_balances()
    assert (credit.amount_minor, credit.arose_on) == ((TUITION + FEE) // 2, datetime.date(2026, 9, 2))


def test_aid_that_was_only_anticipated_never_counted(
    clock: time_machine.Traveller, student: Student, term: Term
) -> None:
    LedgerEntry.objects.create(
        account_id=student.pk, term=term, kind="aid", state="anticipated", amount_minor=10**6,
        currency="USD", code="LOAN", posted_at=noon(8, 26), posted_by="bea",
    )  # fmt: skip
    assert credit_balances() == []
    clock.move_to(noon(9, 2))
    operations.void(LedgerEntry.objects.get(code="LOAN"), reason="paid out")
    give_aid(student, term, 10**6)
    assert credit_balances()[0].arose_on == datetime.date(2026, 9, 2)


def test_the_day_is_the_day_where_the_institution_is(
    clock: time_machine.Traveller, settings: pytest.FixtureRequest, student: Student, term: Term
) -> None:
    settings.TIME_ZONE = "America/Los_Angeles"  # type: ignore[attr-defined]
    clock.move_to(datetime.datetime(2026, 9, 2, 6, 59, tzinfo=datetime.UTC))
    give_aid(student, term, 10**6)
    assert credit_balances()[0].arose_on == datetime.date(2026, 9, 1)


def test_the_most_urgent_stands_first(clock: time_machine.Traveller, student: Student, term: Term) -> None:
    late, early = make_students(2)
    clock.move_to(noon(8, 30))
    give_aid(early, term, 10)
    clock.move_to(noon(9, 1))
    give_aid(late, term, 10)
    clock.move_to(noon(9, 14))
    assert [(credit.student, credit.days_left, credit.tone) for credit in credit_balances()] == [
        (early, -1, "bad"),
        (late, 1, "warn"),
    ]
    assert [credit.student for credit in credit_balances([late.pk])] == [late]


def test_a_refund_is_an_entry_and_ends_the_credit(student: Student, term: Term) -> None:
    give_aid(student, term, TUITION + FEE + 5_000)
    entry = operations.refund(student, term, 5_000, reason="check 4711")
    assert (entry.kind, entry.state, entry.amount_minor, entry.posted_by) == (
        "refund",
        "posted",
        5_000,
        "bea",
    )
    assert credit_balances() == []
    assert AuditEvent.objects.filter(action="ledger_entry.posted").latest("id").reason == "check 4711"
    totals = student.billing_account.totals()
    assert (totals.refunds, totals.balance, totals.credit) == (5_000, 0, 0)


@pytest.mark.parametrize(
    ("amount", "reason", "said"),
    [
        (5_001, "x", "50.00 USD in credit"),
        (0, "x", "more than nothing"),
        (-1, "x", "more than"),
        (1, " ", "why"),
    ],
)
def test_a_refund_that_cannot_be_is_refused_in_words(
    student: Student, term: Term, amount: int, reason: str, said: str
) -> None:
    give_aid(student, term, TUITION + FEE + 5_000)
    with pytest.raises(Refused, match=said):
        operations.refund(student, term, amount, reason=reason)
    assert not LedgerEntry.objects.filter(kind="refund").exists()


@pytest.mark.django_db(transaction=True)
def test_two_who_refund_at_once_pay_a_credit_out_once(student: Student, term: Term) -> None:
    give_aid(student, term, TUITION + FEE + 5_000)
    account = student.billing_account
    done = race(account, [lambda: operations.refund(student, term, 5_000, reason="check")] * 2)
    assert sorted(type(each).__name__ for each in done) == ["LedgerEntry", "Refused"]
    assert account.totals().balance == 0
