"""Undo: what a run changed comes back, to the minor unit, and stays back until the source says something else."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.context import Actor, acting
from audit.models import AuditEvent
from integrations.decisions import Undecided, release_pins, undo_run
from integrations.models import Stream, SyncRun
from integrations.models.run import RunTrigger
from integrations.operations import request_run
from integrations.sync.undo import steps_to_undo
from integrations.sync.verification import verify_ledger
from registration.models import BillingAccount, LedgerEntry, Student, Term
from registration.operations import refund, void
from tests.integrations.conftest import Sync
from tests.integrations.feed import Feed, award

Balance = Callable[[int], int]


@pytest.fixture(autouse=True)
def a_person_decides() -> Iterator[None]:
    with acting(Actor(kind="user", name="rita")):
        yield


def undo(run: SyncRun, **options: Any) -> SyncRun:
    return undo_run(run, reason="a mistake", **options)


def balances() -> dict[int, tuple[int, int]]:
    """Balance and anticipated aid of every account, in cents."""
    accounts = {account.pk: account.totals() for account in BillingAccount.objects.all()}
    return {pk: (totals.balance, totals.anticipated_aid) for pk, totals in accounts.items()}


@pytest.fixture
def second_run(feed: Feed, sync: Sync) -> SyncRun:
    """1 was modified, 2 cancelled, 3 is missing, 4 is new, 5 is as it was."""
    feed.awards = [award(1), award(2), award(3), award(5)]
    sync()
    feed.awards = [award(1, amount="70.00"), award(2, state="cancelled"), award(4), award(5)]
    return sync()


def test_undo_brings_every_balance_back(second_run: SyncRun, balance: Balance) -> None:
    run = undo(second_run)
    assert (run.status, run.trigger, run.undoes_id) == ("applied", "undo", second_run.pk)
    assert (run.created, run.modified, run.voided) == (2, 1, 1)
    assert [balance(number) for number in (1, 2, 3, 4, 5)] == [-10_000, -10_000, -10_000, 0, -10_000]
    assert not verify_ledger().faults
    assert AuditEvent.objects.get(action="sync_run.undone").reason == "a mistake"


def test_what_was_undone_stays_undone_while_the_source_says_the_same(
    second_run: SyncRun, sync: Sync, balance: Balance
) -> None:
    undo(second_run)
    run = sync()
    assert (run.status, run.created, run.modified, run.voided, run.unchanged) == ("applied", 0, 0, 0, 4)
    assert [balance(number) for number in (1, 2, 3, 4)] == [-10_000, -10_000, -10_000, 0]


def test_it_stays_undone_though_the_source_only_touched_it(
    second_run: SyncRun, feed: Feed, sync: Sync, balance: Balance
) -> None:
    undo(second_run)
    feed.awards = [{**record, "updated_at": "2026-10-10T10:10:10Z"} for record in feed.awards]
    run = sync()
    assert (run.created, run.modified, run.voided) == (0, 0, 0)
    assert [balance(number) for number in (1, 2, 3, 4)] == [-10_000, -10_000, -10_000, 0]
    assert sync().modified == 0


def test_another_value_of_the_source_ends_the_pin(
    second_run: SyncRun, feed: Feed, sync: Sync, balance: Balance
) -> None:
    undo(second_run)
    feed.awards = [
        award(1, amount="60.00"),
        award(2, amount="20.00"),
        award(3, amount="30.00"),
        award(4, amount="40.00"),
        award(5),
    ]
    run = sync()
    assert (run.created, run.modified) == (1, 3)
    assert [balance(number) for number in (1, 2, 3, 4)] == [-6_000, -2_000, -3_000, -4_000]
    # The pins are gone: the values that were undone are followed when the source comes back to them.
    feed.awards = [award(1, amount="70.00"), award(2, state="cancelled"), award(4), award(5)]
    sync()
    assert [balance(number) for number in (1, 2, 3, 4)] == [-7_000, 0, 0, -10_000]


def test_a_released_value_is_followed_by_the_next_run(
    second_run: SyncRun, sync: Sync, balance: Balance
) -> None:
    run = undo(second_run)
    assert release_pins(run, reason="it was right after all") == 4
    sync()
    assert [balance(number) for number in (1, 2, 3, 4)] == [-7_000, 0, 0, -10_000]


def test_undo_of_an_undo_brings_the_run_back(second_run: SyncRun, sync: Sync, balance: Balance) -> None:
    undo(undo(second_run))
    assert [balance(number) for number in (1, 2, 3, 4)] == [-7_000, 0, 0, -10_000]
    assert not Stream.objects.get().links.filter(pinned__isnull=False).exists()
    run = sync()
    assert (run.created, run.modified, run.voided) == (0, 0, 0)
    assert not verify_ledger().faults


def test_undone_again_and_again_it_is_as_after_the_first_time(
    second_run: SyncRun, feed: Feed, sync: Sync, balance: Balance
) -> None:
    undo(undo(undo(second_run)))
    feed.awards = [{**record, "updated_at": "2026-10-10T10:10:10Z"} for record in feed.awards]
    sync()
    assert [balance(number) for number in (1, 2, 3, 4)] == [-10_000, -10_000, -10_000, 0]


def test_undoing_twice_is_refused_in_words(second_run: SyncRun) -> None:
    undo(second_run)
    with pytest.raises(Undecided, match="all of it has changed since"):
        undo(second_run)


def test_what_changed_since_is_skipped_and_listed(
    second_run: SyncRun, feed: Feed, sync: Sync, balance: Balance
) -> None:
    feed.awards[0] = award(1, amount="50.00")
    third = sync()
    skipped = {step.change.key: step.skipped for step in steps_to_undo(second_run) if step.skipped}
    assert skipped == {"A0001#1": f"changed since, by run {third.pk}"}
    undo(second_run)
    assert [balance(number) for number in (1, 4)] == [-5_000, 0]


def test_what_was_voided_by_hand_since_is_skipped_and_listed(second_run: SyncRun) -> None:
    void(LedgerEntry.objects.live().get(account__student__number="S0000004"), reason="by hand")
    skipped = {step.change.key: step.skipped for step in steps_to_undo(second_run) if step.skipped}
    assert skipped == {"A0004#1": "voided by hand since, by rita"}


def test_aid_that_was_refunded_to_the_student_since_is_skipped_and_listed(
    second_run: SyncRun, balance: Balance
) -> None:
    student = Student.objects.get(number="S0000004")
    refund(student, Term.objects.get(code="2026FA"), 10_000, reason="cheque 17")
    assert balance(4) == 0
    skipped = {step.change.key: step.skipped for step in steps_to_undo(second_run) if step.skipped}
    today = f"{datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d}"
    assert skipped == {"A0004#1": f"refunded to the student on {today}"}
    undo(second_run)
    assert [balance(number) for number in (1, 2, 3, 4)] == [-10_000, -10_000, -10_000, 0]
    assert not verify_ledger().faults


def test_a_refund_keeps_no_aid_from_coming_back(
    second_run: SyncRun, feed: Feed, sync: Sync, balance: Balance
) -> None:
    """Only what takes aid off a bill is kept back: 3 was missing, and comes back to a student who had a refund."""
    feed.awards.append(award(3, id="A9"))
    sync()
    refund(Student.objects.get(number="S0000003"), Term.objects.get(code="2026FA"), 5_000, reason="cheque 18")
    undo(second_run)
    assert balance(3) == -15_000


def test_a_refund_before_the_aid_came_is_about_other_money(feed: Feed, sync: Sync, balance: Balance) -> None:
    feed.awards = [award(1, id="A9")]
    sync()
    refund(
        Student.objects.get(number="S0000001"), Term.objects.get(code="2026FA"), 10_000, reason="cheque 19"
    )
    feed.awards.append(award(1))
    undo(sync())
    assert balance(1) == 0


def test_a_selection_is_undone_alone(second_run: SyncRun, balance: Balance) -> None:
    undo(second_run, only=[second_run.changes.get(key="A0001#1").pk])
    assert [balance(number) for number in (1, 2, 3, 4)] == [-10_000, 0, 0, -10_000]


def test_offered_aid_can_be_undone_though_it_posts_nothing(feed: Feed, sync: Sync) -> None:
    feed.awards = [award(1, state="offered")]
    run = undo(sync())
    assert (run.voided, LedgerEntry.objects.count()) == (1, 0)


def test_nothing_is_undone_while_another_run_is_under_way(second_run: SyncRun) -> None:
    request_run(second_run.stream, RunTrigger.SCHEDULE)
    with pytest.raises(Undecided, match="under way"):
        undo(second_run)


def test_only_an_applied_run_can_be_undone(sync: Sync, feed: Feed) -> None:
    feed.awards = [award(1)]
    with pytest.raises(Undecided, match="only an applied run"):
        undo(sync(dry_run=True))


def test_a_machine_cannot_undo(second_run: SyncRun) -> None:
    with acting(Actor(kind="worker", name="robot")), pytest.raises(Undecided, match="Only a person"):
        undo(second_run)


RECORDS = st.dictionaries(
    st.integers(1, 4),
    st.tuples(
        st.sampled_from(["10.00", "0.01", "99999.99", "0.00", "-5.25"]),
        st.sampled_from(["offered", "accepted", "disbursed", "cancelled"]),
    ),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=RECORDS, second=RECORDS)
def test_plan_apply_undo_returns_every_ledger_to_the_minor_unit(
    feed: Feed, sync: Sync, first: dict[int, Any], second: dict[int, Any]
) -> None:
    def serve(records: dict[int, Any]) -> None:
        feed.awards = [
            award(number, amount=amount, state=state) for number, (amount, state) in records.items()
        ]

    serve(first)
    sync(approve=True)
    before = balances()
    serve(second)
    run = sync(approve=True)
    after = balances()
    if run.changes.exists():
        undone = undo(run)
        assert balances() == before
        assert not verify_ledger().faults
        undo(undone)
    assert balances() == after
    assert not verify_ledger().faults


# --- the page and the command -----------------------------------------------------------------------------


def test_the_page_previews_what_comes_back_and_what_stays(
    second_run: SyncRun, feed: Feed, sync: Sync, administrator: Client, balance: Balance
) -> None:
    feed.awards[0] = award(1, amount="50.00")
    sync()
    url = f"/admin/integrations/syncrun/{second_run.pk}/undo/"
    page = administrator.get(url).content.decode()
    assert "3 changes for 3 students would be taken back" in page
    assert "changed since, by run" in page
    chosen = second_run.changes.get(key="A0004#1").pk
    response = administrator.post(
        f"/admin/integrations/syncrun/{second_run.pk}/decide/undo/",
        {"reason": "wrong student", "selected": "1", "only": [chosen]},
        follow=True,
    )
    page = response.content.decode()
    assert "took back" in page
    assert (balance(2), balance(4)) == (0, 0)
    assert "the source still says what was undone" in page


def test_nobody_undoes_without_the_permission(second_run: SyncRun, auditor: Client, advisor: Client) -> None:
    base = f"/admin/integrations/syncrun/{second_run.pk}"
    for client in (auditor, advisor):
        assert client.get(f"{base}/undo/").status_code == 403
        assert client.post(f"{base}/decide/undo/", {"reason": "x"}).status_code == 403


def test_the_command_undoes_and_prints_one_json_value(
    second_run: SyncRun, capsys: pytest.CaptureFixture[str], balance: Balance
) -> None:
    call_command("runs", "undo", str(second_run.pk), "--reason", "a mistake", "--json")
    report = json.loads(capsys.readouterr().out)
    assert (report["status"], report["undoes"], report["created"]) == ("applied", second_run.pk, 2)
    assert balance(4) == 0
    with pytest.raises(SystemExit) as stopped:
        call_command("runs", "undo", str(second_run.pk), "--reason", "again", "--json")
    assert stopped.value.code == 1
    assert "changed since" in json.loads(capsys.readouterr().out)["reason"]


def test_an_undo_of_nothing_says_that_nothing_was_chosen(second_run: SyncRun, administrator: Client) -> None:
    with pytest.raises(Undecided, match="Nothing was chosen"):
        undo(second_run, only=[])
    url = f"/admin/integrations/syncrun/{second_run.pk}/decide/undo/"
    response = administrator.post(
        url, {"reason": "x", "selected": "1", "only": ["abc", "9" * 23, "9" * 5000]}, follow=True
    )
    assert "Nothing was chosen" in response.content.decode()


def test_releasing_what_is_not_pinned_is_refused(second_run: SyncRun) -> None:
    with pytest.raises(Undecided, match="any more"):
        release_pins(second_run, reason="x")


def test_an_undo_that_cannot_post_all_of_it_takes_nothing_back(second_run: SyncRun, balance: Balance) -> None:
    Term.objects.filter(code="2026FA").update(code="2026XX")
    with pytest.raises(Undecided, match="Nothing was taken back"):
        undo(second_run)
    assert [balance(number) for number in (1, 2, 3, 4)] == [-7_000, 0, 0, -10_000]
    assert not SyncRun.objects.filter(undoes=second_run).exists()
