"""When a record that does not come is gone, and when it is not."""

from __future__ import annotations

from typing import Any

import pytest

from integrations.sync.verification import verify_ledger
from registration.models import LedgerEntry, Term
from tests.integrations.conftest import Balance, Ledger, Load, Sync, approved
from tests.integrations.feed import MAPPING, Feed, award


def test_an_empty_feed_where_there_was_one_voids_only_when_a_person_says_so(
    feed: Feed, sync: Sync, balance: Balance
) -> None:
    feed.awards = [award(number) for number in range(1, 4)]
    sync()
    feed.awards = []
    run = sync()
    assert (run.status, run.reason) == (
        "held",
        "The feed is empty: it would void 3 records that it should still bring.",
    )
    assert [balance(number) for number in range(1, 4)] == [-10_000] * 3
    run = approved(run)
    assert (run.status, run.read, run.absent, run.live_after) == ("applied", 0, 3, 0)
    assert [balance(number) for number in range(1, 4)] == [0, 0, 0]


def test_an_empty_feed_where_nothing_was_is_nothing_to_do(feed: Feed, sync: Sync) -> None:
    run = sync()
    assert (run.status, run.read, run.created, run.voided) == ("applied", 0, 0, 0)


def test_an_absent_award_that_returns_as_it_was_is_created_again(
    feed: Feed, sync: Sync, ledger: Ledger
) -> None:
    for awards in ([award(1)], [], [award(1)], [], [award(1)]):
        feed.awards = awards
        sync(approve=True)
    assert ledger(1) == [("aid", "void", 10_000), ("aid", "void", 10_000), ("aid", "posted", 10_000)]
    assert sync().unchanged == 1


def test_a_cancelled_award_that_returns_is_created_again(feed: Feed, sync: Sync, ledger: Ledger) -> None:
    for state in ("disbursed", "cancelled", "disbursed"):
        feed.awards = [award(1, state=state)]
        run = sync()
    assert run.created == 1
    assert ledger(1) == [("aid", "void", 10_000), ("aid", "posted", 10_000)]


def test_a_cancelled_award_that_then_goes_missing_is_not_voided_twice(
    feed: Feed, sync: Sync, ledger: Ledger
) -> None:
    for awards in ([award(1)], [award(1, state="cancelled")], []):
        feed.awards = awards
        run = sync()
    assert (run.status, run.voided) == ("applied", 0)
    assert ledger(1) == [("aid", "void", 10_000)]


# --- rejections -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        {"amount": "ten"},
        {"amount": None},
        {"state": "perhaps"},
        {"student": {"number": "S9999999"}},
        {"term": "1999XX"},
        {"paid_on": "yesterday"},
        {"fund": "PELL"},
    ],
)
def test_a_rejected_record_that_was_live_stays_as_it_was(
    feed: Feed, sync: Sync, balance: Balance, bad: dict[str, Any]
) -> None:
    feed.awards = [award(1), award(2)]
    sync()
    feed.awards = [award(1, **bad)]
    run = sync()
    assert (run.status, run.rejected, run.absent) == ("applied", 1, 1)
    assert (balance(1), balance(2)) == (-10_000, 0)
    feed.awards = [award(1)]
    assert sync().unchanged == 1


@pytest.mark.parametrize(
    ("good", "bad"), [(1, "01"), (1, 1.0), (1, "1"), ("01", 1), (1, None), (None, 1), (1, " 1 ")]
)
def test_a_rejected_record_is_recognised_however_it_writes_its_disbursement_number(
    feed: Feed, sync: Sync, balance: Balance, good: object, bad: object
) -> None:
    feed.awards = [award(1, disbursement=good)]
    sync()
    feed.awards = [award(1, disbursement=bad, amount="ten")]
    run = sync()
    assert (run.rejected, run.voided) == (1, 0)
    assert balance(1) == -10_000


@pytest.mark.parametrize(
    "keyless",
    [
        award(9, id=None),
        award(9, id=""),
        award(9, id=1.5),
        award(9, id=True),
        award(9, id=["A0001"]),
        award(9, id="A\x000009", amount="ten"),
        award(9, id="A" * 121),
        award(1, disbursement="two"),
        award(1, disbursement=True),
        award(1, disbursement=[2]),
        "not an object",
        None,
        7,
        [],
    ],
    ids=repr,
)
def test_a_rejection_without_a_readable_key_could_be_anyone_so_nothing_is_absent(
    feed: Feed, sync: Sync, balance: Balance, keyless: object
) -> None:
    feed.awards = [award(1), award(2)]
    sync()
    feed.awards = [award(2, amount="20.00"), keyless]
    run = sync()
    assert (run.status, run.modified, run.rejected, run.voided) == ("applied", 1, 1, 0)
    assert (balance(1), balance(2)) == (-10_000, -2_000)
    feed.awards = [award(2, amount="20.00")]
    assert sync().absent == 1


def test_a_disbursement_number_that_cannot_be_transformed_protects_every_disbursement(
    feed: Feed, load: Load, sync: Sync, balance: Balance
) -> None:
    integer = {"path": "disbursement", "transforms": ["integer"]}
    load(datasets={"aid_awards": feed.dataset(mapping={**MAPPING, "disbursement_number": integer})})
    feed.awards = [award(1, disbursement=1), award(1, disbursement=2)]
    sync()
    feed.awards = [award(1, disbursement=1), award(1, disbursement="two")]
    run = sync()
    assert (run.rejected, run.voided) == (1, 0)
    assert balance(1) == -20_000


def test_an_explicit_cancellation_is_carried_out_beside_a_keyless_rejection(
    feed: Feed, sync: Sync, balance: Balance
) -> None:
    feed.awards = [award(1), award(2)]
    sync()
    feed.awards = [award(1, state="cancelled"), award(9, id=None)]
    run = sync()
    assert (run.voided, run.absent) == (1, 0)
    assert (balance(1), balance(2)) == (0, -10_000)


# --- closed terms -----------------------------------------------------------------------------------------


def test_nothing_is_absent_in_a_term_whose_books_are_closed(feed: Feed, sync: Sync, balance: Balance) -> None:
    feed.awards = [award(1, term="2027SP"), award(2)]
    sync()
    Term.objects.filter(code="2027SP").update(is_closed=True)
    feed.awards = []
    run = sync(approve=True)
    assert (run.status, run.absent) == ("applied", 1)
    assert (balance(1), balance(2)) == (-10_000, 0)
    assert verify_ledger().faults == []
    Term.objects.filter(code="2027SP").update(is_closed=False)
    assert sync(approve=True).absent == 1
    assert balance(1) == 0


def test_a_record_of_a_closed_term_that_says_it_is_cancelled_is(
    feed: Feed, sync: Sync, balance: Balance
) -> None:
    feed.awards = [award(1, term="2027SP")]
    sync()
    Term.objects.filter(code="2027SP").update(is_closed=True)
    feed.awards = [award(1, term="2027SP", state="cancelled")]
    assert sync().voided == 1
    assert balance(1) == 0


# --- copies -----------------------------------------------------------------------------------------------


def test_identical_copies_count_once(feed: Feed, sync: Sync, balance: Balance) -> None:
    feed.awards = [award(1), award(1), award(1, updated_at="2026-09-30T00:00:00Z"), award(2)]
    run = sync()
    assert (run.status, run.read, run.created, run.copies) == ("applied", 4, 2, 2)
    assert (balance(1), balance(2)) == (-10_000, -10_000)


def test_identical_copies_of_what_is_known_count_once(feed: Feed, sync: Sync, balance: Balance) -> None:
    feed.awards = [award(1)]
    sync()
    feed.awards = [award(1), award(1), award(1, updated_at="2026-09-30T00:00:00Z")]
    run = sync()
    assert (run.read, run.unchanged, run.copies, run.modified) == (3, 1, 2, 0)
    assert balance(1) == -10_000


def test_differing_copies_are_all_rejected_and_what_was_live_stays(
    feed: Feed, sync: Sync, balance: Balance
) -> None:
    feed.awards = [award(1)]
    sync()
    feed.awards = [award(1, amount="1.00"), award(1, amount="2.00"), award(1, amount="1.00"), award(2)]
    run = sync()
    assert (run.status, run.rejected, run.created, run.modified, run.voided) == ("applied", 3, 1, 0, 0)
    assert set(run.rejections.values_list("rule", "key")) == {("differing_copies", "A0001#1")}
    assert (balance(1), balance(2)) == (-10_000, -10_000)


@pytest.mark.parametrize("known_times", [1, 2, 3])
def test_differing_copies_are_rejected_though_one_is_the_known_form(
    feed: Feed, sync: Sync, balance: Balance, known_times: int
) -> None:
    feed.awards = [award(1), award(2)]
    sync()
    feed.awards = [*[award(1)] * known_times, award(1, amount="55.00"), award(2)]
    run = sync()
    assert (run.status, run.read) == ("applied", known_times + 2)
    assert (run.rejected, run.unchanged, run.copies, run.modified) == (known_times + 1, 1, 0, 0)
    assert balance(1) == -10_000
    feed.awards = [award(1), award(2)]
    assert sync().unchanged == 2


def test_a_cancelled_copy_beside_a_live_one_cancels_nothing(feed: Feed, sync: Sync, balance: Balance) -> None:
    feed.awards = [award(1)]
    sync()
    for awards in (
        [award(1), award(1, state="cancelled")],
        [award(1, amount="5.00"), award(1, state="cancelled")],
    ):
        feed.awards = awards
        run = sync()
        assert (run.rejected, run.voided, run.modified) == (2, 0, 0)
        assert balance(1) == -10_000


@pytest.mark.parametrize("is_live", [True, False])
def test_a_copy_that_cannot_be_read_differs_so_the_other_is_not_believed_either(
    feed: Feed, sync: Sync, balance: Balance, *, is_live: bool
) -> None:
    if is_live:
        feed.awards = [award(1)]
        sync()
    before = balance(1)
    for other in (award(1, amount="7.00"), award(1, state="cancelled")):
        feed.awards = [other, award(1, amount="ten")]
        run = sync()
        assert (run.status, run.rejected) == ("applied", 2)
        assert (run.created, run.modified, run.voided) == (0, 0, 0)
        assert balance(1) == before


def test_copies_on_different_pages_are_copies_too(feed: Feed, sync: Sync, balance: Balance) -> None:
    feed.page_size = 2
    feed.awards = [award(1), award(2), award(3), award(1), award(2, amount="1.00")]
    run = sync()
    assert (run.created, run.copies, run.rejected) == (2, 1, 2)
    assert (balance(1), balance(2), balance(3)) == (-10_000, 0, -10_000)


# --- a changed mapping ------------------------------------------------------------------------------------


def test_a_changed_mapping_looks_at_every_record_again(
    feed: Feed, load: Load, sync: Sync, balance: Balance
) -> None:
    feed.awards = [award(1, net="90.00"), award(2, net="100.00"), award(3, net="1.00")]
    sync()
    load(datasets={"aid_awards": feed.dataset(mapping={**MAPPING, "amount": "net"})})
    feed.awards = feed.awards[:2]
    run = sync()
    assert (run.modified, run.unchanged, run.absent) == (1, 1, 1)
    assert (balance(1), balance(2), balance(3)) == (-9_000, -10_000, 0)
    run = sync()
    assert (run.unchanged, run.modified, run.voided) == (2, 0, 0)


def test_what_a_changed_mapping_rejects_stays_and_is_looked_at_again(
    feed: Feed, load: Load, sync: Sync, balance: Balance
) -> None:
    feed.awards = [award(1)]
    sync()
    load(datasets={"aid_awards": feed.dataset(mapping={**MAPPING, "amount": "net"})})
    for _ in range(2):
        run = sync()
        assert (run.status, run.rejected, run.voided) == ("applied", 1, 0)
    assert balance(1) == -10_000
    load()
    run = sync()
    assert (run.unchanged, run.rejected) == (1, 0)
    assert LedgerEntry.objects.count() == 1


def test_a_mended_mapping_takes_in_what_was_rejected(
    feed: Feed, load: Load, sync: Sync, balance: Balance
) -> None:
    feed.awards = [award(1, state="BEZAHLT")]
    assert sync().rejected == 1
    lookup = {"path": "state", "lookup": {"BEZAHLT": "disbursed"}}
    load(datasets={"aid_awards": feed.dataset(mapping={**MAPPING, "status": lookup})})
    assert sync().created == 1
    assert balance(1) == -10_000
