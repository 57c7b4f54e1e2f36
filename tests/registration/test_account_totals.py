"""A balance is what its entries say, whatever they are."""

from __future__ import annotations

import dataclasses
import datetime
from dataclasses import dataclass
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from registration.models import BillingAccount, LedgerEntry, Student, Term
from registration.models.billing import AccountTotals
from registration.money import MAX_MINOR
from registration.operations import open_account
from tests.refusals import rolled_back
from tests.university import make_students, make_terms

pytestmark = pytest.mark.django_db
NOW = datetime.datetime(2026, 9, 1, 12, tzinfo=datetime.UTC)


@dataclass(frozen=True)
class Line:
    """One entry of a bill, as it matters to the totals."""

    kind: str
    amount: int
    state: str = "posted"
    adjusts: str = ""


amounts = st.integers(1, MAX_MINOR)
signed = amounts | amounts.map(lambda amount: -amount)
lines = st.one_of(
    st.builds(
        Line, st.sampled_from(["charge", "payment", "refund"]), amounts, st.sampled_from(["posted", "void"])
    ),
    st.builds(Line, st.just("aid"), amounts, st.sampled_from(["anticipated", "posted", "void"])),
    st.builds(
        Line,
        st.just("adjustment"),
        signed,
        st.sampled_from(["posted", "void"]),
        st.sampled_from(["charge", "aid", "payment", "refund"]),
    ),
    st.builds(Line, st.just("adjustment"), signed, st.just("anticipated"), st.just("aid")),
)


@pytest.fixture
def account() -> BillingAccount:
    make_terms()
    return make_students(2)[0].billing_account


def write(account: BillingAccount, written: list[Line]) -> None:
    term = Term.objects.get(code="2026FA")
    LedgerEntry.objects.bulk_create(
        LedgerEntry(
            account=account,
            term=term,
            kind=line.kind,
            adjusts=line.adjusts,
            state=line.state,
            amount_minor=line.amount,
            currency="USD",
            code="X",
            posted_at=NOW,
            posted_by="bursar",
            voided_at=NOW if line.state == "void" else None,
            voided_by="bursar" if line.state == "void" else "",
            void_reason="a mistake" if line.state == "void" else "",
        )
        for line in written
    )


def total(written: list[Line], kind: str, *, state: str = "posted") -> int:
    """What the entries of one kind come to, with the adjustments that correct them: the long way round."""
    sum_ = 0
    for line in written:
        if line.state != state:
            continue
        if line.kind == kind:
            sum_ += line.amount
        if line.adjusts == kind:
            # Positive raises the balance, as charges and refunds do; it takes away from aid and payments.
            sum_ += line.amount if kind in ("charge", "refund") else -line.amount
    return sum_


def effect(line: Line) -> int:
    """What one entry does to the balance."""
    if line.state != "posted":
        return 0
    return -line.amount if line.kind in ("aid", "payment") else line.amount


@given(st.lists(lines, max_size=12))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example([])
@example([Line("charge", MAX_MINOR)] * 12)
@example([Line("aid", 1, "void"), Line("adjustment", -1, "void", "aid")])
def test_the_balance_is_charges_less_aid_less_payments_plus_refunds(
    account: BillingAccount, written: list[Line]
) -> None:
    with rolled_back():
        write(account, written)
        totals = account.totals()
    assert totals == AccountTotals(
        currency="USD",
        charges=total(written, "charge"),
        posted_aid=total(written, "aid"),
        anticipated_aid=total(written, "aid", state="anticipated"),
        payments=total(written, "payment"),
        refunds=total(written, "refund"),
    )
    assert totals.balance == totals.charges - totals.posted_aid - totals.payments + totals.refunds
    assert totals.balance == sum(effect(line) for line in written)
    assert {type(value) for name, value in dataclasses.asdict(totals).items() if name != "currency"} == {int}


def test_anticipated_aid_stands_beside_the_balance_and_does_not_lower_it(account: BillingAccount) -> None:
    write(account, [Line("charge", 500_000), Line("aid", 200_000, "anticipated")])
    totals = account.totals()
    assert (totals.balance, totals.posted_aid, totals.anticipated_aid) == (500_000, 0, 200_000)


def test_returned_aid_raises_the_balance_and_lowers_posted_aid(account: BillingAccount) -> None:
    write(account, [Line("charge", 1_000), Line("aid", 600), Line("adjustment", 250, "posted", "aid")])
    totals = account.totals()
    assert (totals.balance, totals.posted_aid) == (650, 350)


def test_a_void_entry_counts_nowhere(account: BillingAccount) -> None:
    write(account, [Line(kind, 700, "void") for kind in ("charge", "aid", "payment", "refund")])
    assert account.totals() == AccountTotals(currency="USD")


def test_a_credit_is_a_negative_balance(account: BillingAccount) -> None:
    write(account, [Line("charge", 100), Line("payment", 250)])
    assert account.totals().as_decimal_texts() == {
        "balance": "-1.50",
        "charges": "1.00",
        "posted_aid": "0.00",
        "anticipated_aid": "0.00",
        "payments": "2.50",
        "refunds": "0.00",
    }
    assert account.totals().as_displayed()["balance"] == "-1.50 USD"


def test_an_account_counts_only_its_own_entries(account: BillingAccount) -> None:
    other = Student.objects.get(number="S0000002").billing_account
    write(account, [Line("charge", 100)])
    write(other, [Line("charge", 900)])
    assert (account.totals().balance, other.totals().balance) == (100, 900)


def test_totals_are_written_in_the_digits_of_the_currency() -> None:
    totals = AccountTotals(currency="JPY", charges=54_000)
    assert totals.as_decimal_texts()["balance"] == "54000"
    assert totals.as_displayed()["charges"] == "54,000 JPY"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (Line("charge", 100), "1.00 USD"),
        (Line("aid", 100), "-1.00 USD"),
        (Line("payment", 100), "-1.00 USD"),
        (Line("refund", 100), "1.00 USD"),
        (Line("adjustment", -100, "posted", "charge"), "-1.00 USD"),
        (Line("adjustment", 100, "posted", "aid"), "1.00 USD"),
        (Line("aid", 100, "anticipated"), ""),
        (Line("aid", 100, "void"), ""),
    ],
)
def test_an_entry_shows_what_it_does_to_the_balance(account: BillingAccount, line: Line, shown: str) -> None:
    write(account, [line])
    entry = LedgerEntry.objects.get()
    assert entry.displayed_effect == shown
    assert Decimal(effect(line)) / 100 == Decimal((shown or "0").partition(" ")[0])


def test_live_and_from_aid_narrow_to_what_they_say(account: BillingAccount) -> None:
    written = [
        Line("charge", 1),
        Line("aid", 2),
        Line("aid", 3, "void"),
        Line("aid", 4, "anticipated"),
        Line("adjustment", 5, "posted", "aid"),
        Line("adjustment", 6, "posted", "payment"),
    ]
    write(account, written)
    entries = LedgerEntry.objects.order_by("amount_minor")
    assert list(entries.live().values_list("amount_minor", flat=True)) == [1, 2, 4, 5, 6]
    assert list(entries.from_aid().values_list("amount_minor", flat=True)) == [2, 3, 4, 5]


def test_a_student_has_one_account_however_often_it_is_opened(account: BillingAccount) -> None:
    newcomer = Student.objects.create(number="S0000009", family_name="Ng")
    opened = open_account(newcomer)
    assert (opened, open_account(newcomer)) == (BillingAccount.objects.get(student=newcomer), opened)
    assert opened.currency == "USD"
    assert open_account(account.student) == account
