"""The road as a whole: what a feed says stands right on bills."""

from __future__ import annotations

from collections.abc import Callable

from registration.models import LedgerEntry
from tests.integrations.conftest import Sync
from tests.integrations.feed import Feed, award

Balance = Callable[[int], int]


def test_a_disbursed_award_lowers_the_balance_and_says_which_run_posted_it(
    feed: Feed, sync: Sync, balance: Balance
) -> None:
    feed.awards = [award(1), award(2, amount="250.50")]
    run = sync()
    assert (run.status, run.read, run.created) == ("applied", 2, 2)
    assert (balance(1), balance(2)) == (-10_000, -25_050)
    assert set(LedgerEntry.objects.values_list("posted_run", flat=True)) == {run.pk}


def test_a_second_run_of_the_same_feed_changes_nothing(feed: Feed, sync: Sync) -> None:
    feed.awards = [award(number) for number in range(1, 6)]
    sync()
    before = list(LedgerEntry.objects.values())
    run = sync()
    assert (run.status, run.unchanged, run.created, run.modified, run.voided) == ("applied", 5, 0, 0, 0)
    assert list(LedgerEntry.objects.values()) == before
    assert not run.changes.exists()


def test_a_modification_voids_the_entry_and_posts_a_new_one(feed: Feed, sync: Sync, balance: Balance) -> None:
    feed.awards = [award(1)]
    sync()
    feed.awards = [award(1, amount="80.00")]
    run = sync()
    assert run.modified == 1
    assert balance(1) == -8_000
    old, new = LedgerEntry.objects.order_by("id")
    assert (old.state, old.voided_run, new.state, new.amount_minor) == ("void", run.pk, "posted", 8_000)
    change = run.changes.get()
    assert (change.amount_before, change.amount_after) == (10_000, 8_000)


def test_absence_and_cancellation_void_and_a_return_creates_again(
    feed: Feed, sync: Sync, balance: Balance
) -> None:
    feed.awards = [award(1), award(2)]
    sync()
    feed.awards = [award(2, state="cancelled")]
    run = sync()
    assert (run.voided, run.absent) == (2, 1)
    assert (balance(1), balance(2)) == (0, 0)
    feed.awards = [award(1), award(2)]
    run = sync()
    assert run.created == 2
    assert (balance(1), balance(2)) == (-10_000, -10_000)
