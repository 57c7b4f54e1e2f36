"""Edits by hand: a sync never overwrites them unasked, unless the connection says that the source wins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.context import Actor, acting
from audit.models import AuditEvent
from integrations.decisions import release_pins, undo_run
from integrations.models import SyncRun
from integrations.sync.runner import execute_run
from integrations.sync.verification import verify_ledger
from registration.models import BillingAccount, LedgerEntry
from registration.operations import Refused, correct, void
from tests.integrations.conftest import Balance, Ledger, Load, Sync, approved
from tests.integrations.feed import Feed, award
from tests.refusals import rolled_back


@pytest.fixture(autouse=True)
def a_person_edits() -> Iterator[None]:
    with acting(Actor(kind="user", name="bea")):
        yield


def live_entry(number: int) -> LedgerEntry:
    return LedgerEntry.objects.live().get(account__student__number=f"S{number:07d}")


def corrected(number: int, cents: int) -> LedgerEntry:
    return correct(live_entry(number), cents, reason="the letter says so")


def voided(number: int) -> LedgerEntry:
    return void(live_entry(number), reason="not hers")


@pytest.fixture
def edited(feed: Feed, sync: Sync) -> None:
    """Three awards of 100.00 are live. The first was corrected to 60.00 by hand, the second voided."""
    feed.awards = [award(1), award(2), award(3)]
    sync()
    corrected(1, 6_000)
    voided(2)


# --- the edit itself --------------------------------------------------------------------------------------


def test_a_correction_voids_the_line_and_posts_the_same_with_another_amount(
    edited: None, ledger: Ledger
) -> None:
    assert ledger(1) == [("aid", "void", 10_000), ("aid", "posted", 6_000)]
    entry = live_entry(1)
    assert entry.corrects is not None
    assert (entry.posted_by, entry.posted_run, entry.corrects.void_reason) == (
        "bea",
        None,
        "the letter says so",
    )
    assert AuditEvent.objects.filter(action="ledger_entry.corrected").get().reason == "the letter says so"


def test_a_correction_of_a_correction_stands_for_the_first_entry(edited: None, ledger: Ledger) -> None:
    first = live_entry(1).corrects
    assert corrected(1, 5_000).corrects == first
    assert ledger(1) == [("aid", "void", 10_000), ("aid", "void", 6_000), ("aid", "posted", 5_000)]


@pytest.mark.parametrize(
    ("cents", "words"), [(10_000, "already"), (0, "void it instead"), (-1, "never negative")]
)
def test_a_correction_that_makes_no_sense_is_refused_in_words(
    feed: Feed, sync: Sync, ledger: Ledger, cents: int, words: str
) -> None:
    feed.awards = [award(1)]
    sync()
    with pytest.raises(Refused, match=words):
        corrected(1, cents)
    assert ledger(1) == [("aid", "posted", 10_000)]


# --- hold -------------------------------------------------------------------------------------------------


def test_by_default_an_edit_by_hand_holds_the_plan_even_though_the_source_says_what_it_said(
    edited: None, sync: Sync, balance: Balance
) -> None:
    run = sync()
    assert run.status == "held"
    assert run.reason == (
        "It would overwrite 2 records that somebody edited by hand since the last sync: "
        "which counts is for a person to say."
    )
    assert [balance(number) for number in (1, 2, 3)] == [-6_000, 0, -10_000]
    conflicts: dict[str, Any] = {change.key: change.conflict for change in run.changes.in_conflict()}
    assert {key: (told["amount"], told["by"], told["reason"]) for key, told in conflicts.items()} == {
        "A0001#1": (6_000, "bea", "the letter says so"),
        "A0002#1": (None, "bea", "not hers"),
    }
    assert {change.key: change.moved for change in run.changes.in_conflict()} == {
        "A0001#1": 4_000,
        "A0002#1": 10_000,
    }


def test_approving_follows_the_source(edited: None, sync: Sync, balance: Balance) -> None:
    run = approved(sync())
    assert (run.status, run.modified) == ("applied", 2)
    assert [balance(number) for number in (1, 2, 3)] == [-10_000] * 3
    assert verify_ledger().faults == []
    assert sync().unchanged == 3


def test_withholding_keeps_the_edits_and_does_not_ask_again(
    edited: None, feed: Feed, sync: Sync, balance: Balance
) -> None:
    feed.awards[2] = award(3, amount="90.00")
    run = approved(sync(), withhold=True)
    assert (run.status, run.modified) == ("applied", 1)
    assert [balance(number) for number in (1, 2, 3)] == [-6_000, 0, -9_000]
    run = sync()
    assert (run.status, run.unchanged) == ("applied", 3)
    assert [balance(number) for number in (1, 2, 3)] == [-6_000, 0, -9_000]


def test_a_person_can_keep_one_edit_and_follow_the_source_in_another(
    edited: None, sync: Sync, balance: Balance
) -> None:
    held = sync()
    approved(held, keep=[held.changes.get(key="A0001#1").pk])
    assert [balance(number) for number in (1, 2)] == [-6_000, -10_000]
    assert sync().status == "applied"
    assert [balance(number) for number in (1, 2)] == [-6_000, -10_000]


def test_another_word_of_the_source_is_another_conflict(edited: None, feed: Feed, sync: Sync) -> None:
    approved(sync(), withhold=True)
    feed.awards[0] = award(1, amount="75.00")
    run = sync()
    assert run.status == "held"
    assert [change.key for change in run.changes.in_conflict()] == ["A0001#1"]


def test_a_kept_edit_is_let_go_of_when_a_person_releases_it(
    edited: None, sync: Sync, balance: Balance
) -> None:
    run = approved(sync(), withhold=True)
    assert release_pins(run, reason="the office was right") == 2
    assert sync().status == "held"  # the edits are still there, and are asked about again
    approved(sync())
    assert [balance(number) for number in (1, 2)] == [-10_000, -10_000]


def test_no_conflict_where_both_say_the_same(
    edited: None, feed: Feed, sync: Sync, balance: Balance, ledger: Ledger
) -> None:
    feed.awards = [award(1, amount="60.00"), award(2, state="cancelled"), award(3)]
    run = sync()
    assert (run.status, run.modified, run.voided) == ("applied", 1, 1)
    assert [balance(number) for number in (1, 2, 3)] == [-6_000, 0, -10_000]
    assert ledger(1)[-1] == ("aid", "posted", 6_000)
    assert verify_ledger().faults == []


def test_what_is_missing_from_the_feed_and_was_corrected_by_hand_is_a_conflict(
    edited: None, feed: Feed, sync: Sync, balance: Balance
) -> None:
    feed.awards = [award(3)]
    run = sync()
    assert run.status == "held"
    assert [change.key for change in run.changes.in_conflict()] == ["A0001#1"]  # 2 is void on both sides
    approved(run, withhold=True)
    assert balance(1) == -6_000
    assert sync().status == "applied"
    assert balance(1) == -6_000


# --- one side wins ----------------------------------------------------------------------------------------


def test_where_the_source_wins_the_edit_goes_and_the_run_shows_what_it_was(
    edited: None, load: Load, sync: Sync, balance: Balance
) -> None:
    load(conflicts="source_wins")
    run = sync()
    assert (run.status, run.modified) == ("applied", 2)
    assert [balance(number) for number in (1, 2)] == [-10_000, -10_000]
    assert run.changes.in_conflict().count() == 2
    assert verify_ledger().faults == []


def test_where_the_edit_wins_it_stays_and_the_run_shows_what_the_source_said(
    edited: None, feed: Feed, load: Load, sync: Sync, balance: Balance
) -> None:
    load(conflicts="local_wins")
    run = sync()
    assert (run.status, run.modified, run.unchanged) == ("applied", 0, 3)
    assert [balance(number) for number in (1, 2)] == [-6_000, 0]
    assert {change.action for change in run.changes.in_conflict()} == {"keep"}
    assert not sync().changes.exists()
    feed.awards[0] = award(1, amount="80.00")
    run = sync()
    assert (run.status, balance(1)) == ("applied", -6_000)
    assert [change.amount_after for change in run.changes.in_conflict()] == [8_000]


def test_undoing_a_run_that_overwrote_an_edit_brings_the_edit_back(
    edited: None, load: Load, sync: Sync, balance: Balance
) -> None:
    load(conflicts="source_wins")
    run = sync()
    undone = undo_run(run, reason="she was right")
    assert [balance(number) for number in (1, 2, 3)] == [-6_000, 0, -10_000]
    assert verify_ledger().faults == []
    sync()
    assert [balance(number) for number in (1, 2, 3)] == [-6_000, 0, -10_000]
    undo_run(undone, reason="she was not")
    assert [balance(number) for number in (1, 2, 3)] == [-10_000] * 3
    assert verify_ledger().faults == []


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("feed"), st.sampled_from(["10.00", "20.00", "30.00", "cancelled", "absent"])),
        st.tuples(st.just("correct"), st.sampled_from([500, 1_500])),
        st.tuples(st.just("void"), st.none()),
    ),
    min_size=2,
    max_size=7,
)


def told(word: str) -> list[dict[str, Any]]:
    """A feed with one award beside the one that the test is about, so that it is never empty."""
    other = award(2, amount="5.00")
    if word == "absent":
        return [other]
    return [other, award(1, state="cancelled") if word == "cancelled" else award(1, amount=word)]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=STEPS,
    policy=st.sampled_from(["source_wins", "local_wins", "hold"]),
    person_keeps=st.lists(st.booleans(), min_size=8, max_size=8),
)
def test_whatever_people_and_the_source_do_the_bill_is_that_of_who_counts(
    feed: Feed,
    load: Load,
    sync: Sync,
    balance: Balance,
    steps: list[tuple[str, Any]],
    policy: str,
    person_keeps: list[bool],
) -> None:
    """One award: `bill` is what must stand there in cents, `settled` the word of the source against which it counts."""
    with rolled_back():
        load(conflicts=policy)
        bill, is_edited, settled = 0, False, ""
        for keeps, (what, value) in zip(person_keeps, [("feed", "10.00"), *steps], strict=False):
            if what == "feed":
                feed.awards = told(value)
                says = 0 if value in ("absent", "cancelled") else int(value.replace(".", ""))
                is_conflict = is_edited and says != bill and value != settled
                run = sync()
                assert (run.status == "held") == (policy == "hold" and is_conflict), run.reason
                if run.status == "held":
                    assert balance(1) == -bill
                    run = approved(run, withhold=keeps)
                assert run.status == "applied", run.reason
                ours_counts = policy == "local_wins" or (policy == "hold" and keeps)
                if is_conflict and ours_counts:
                    settled = value
                elif value != settled:
                    bill, is_edited, settled = says, False, ""
            elif bill and what == "correct" and bill != value:
                correct(live_entry(1), value, reason="by hand")
                bill, is_edited = value, True
            elif bill and what == "void":
                voided(1)
                bill, is_edited = 0, True
            assert balance(1) == -bill
            assert verify_ledger().faults == []


# --- the doors --------------------------------------------------------------------------------------------


def test_the_page_shows_both_values_and_who_edited_when_and_decides_each(
    edited: None, sync: Sync, administrator: Client, balance: Balance
) -> None:
    held = sync()
    page = administrator.get(held.get_absolute_url()).content.decode()
    for words in (
        "60.00 USD",
        "100.00 USD, disbursed",
        "bea",
        "the letter says so",
        "not hers",
        "Keep the edit",
    ):
        assert words in page
    kept = held.changes.get(key="A0001#1").pk
    form = {"reason": "asked her", "checksum": held.plan_checksum, "keep": [kept]}
    administrator.post(f"/admin/integrations/syncrun/{held.pk}/decide/approve/", form)
    follower = SyncRun.objects.get(carries_out=held)
    execute_run(follower.pk)
    assert [balance(number) for number in (1, 2)] == [-6_000, -10_000]
    page = administrator.get(held.get_absolute_url()).content.decode()
    assert "the edit by hand" in page


def test_an_entry_is_corrected_and_voided_in_the_admin(
    feed: Feed, sync: Sync, administrator: Client, advisor: Client, balance: Balance
) -> None:
    feed.awards = [award(1)]
    sync()
    entry = live_entry(1)
    url = f"/admin/registration/ledgerentry/{entry.pk}"
    assert "Correct the amount" in administrator.get(f"{url}/change/").content.decode()
    assert "Correct the amount" not in advisor.get(f"{url}/change/").content.decode()
    form = {"amount": "75.50", "reason": "the letter"}
    assert advisor.post(f"{url}/edit/correct/", form).status_code == 403
    assert administrator.get(f"{url}/edit/correct/").status_code == 405
    for bad in (
        {"amount": "12,5", "reason": "x"},
        {"amount": "1.234", "reason": "x"},
        {"amount": "5", "reason": " "},
    ):
        administrator.post(f"{url}/edit/correct/", bad)
        assert balance(1) == -10_000
    page = administrator.post(f"{url}/edit/correct/", form, follow=True).content.decode()
    assert "stands on the bill with 75.50 USD" in page
    assert balance(1) == -7_550
    url = f"/admin/registration/ledgerentry/{live_entry(1).pk}/edit/void/"
    administrator.post(url, {"reason": "not hers at all"})
    assert balance(1) == 0
    assert BillingAccount.objects.get(student__number="S0000001").totals().posted_aid == 0
