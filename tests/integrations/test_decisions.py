"""Held plans, and what a person decides about them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client

from audit.context import Actor, acting
from audit.models import AuditEvent
from integrations.decisions import Undecided, approve_run, cancel_run, refuse_run
from integrations.models import Alert, Connection, SyncRun
from integrations.models.run import RunTrigger
from integrations.operations import request_run, save_connection
from integrations.sync.lease import LeaseLost, take
from integrations.sync.runner import execute_run
from integrations.sync.verification import verify_ledger
from tests.integrations.conftest import Sync
from tests.integrations.feed import UNGUARDED, Feed, award

Balance = Callable[[int], int]
REGISTRAR = Actor(kind="user", name="rita")


@pytest.fixture(autouse=True)
def a_person_decides() -> Iterator[None]:
    with acting(REGISTRAR):
        yield


@pytest.fixture
def guarded(connection: Connection, feed: Feed) -> Callable[..., None]:
    """Set the connection's guards."""

    def set_guards(**limits: Any) -> None:
        save_connection(feed.document(guards={**UNGUARDED, **limits}))

    return set_guards


def carried_out(held: SyncRun, **options: Any) -> SyncRun:
    """Approve as the page does, with the checksum that it shows, and carry it out."""
    return execute_run(approve_run(held, checksum=held.plan_checksum, reason="seen", **options).pk)


@pytest.fixture
def held(feed: Feed, sync: Sync, guarded: Callable[..., None]) -> SyncRun:
    """Ten awards are live; half of them have gone from the feed, one has changed, and one is new."""
    feed.awards = [award(number) for number in range(1, 11)]
    sync()
    guarded(max_void_share=0.1, max_void_count=3)
    feed.awards = [award(1, amount="80.00"), *(award(number) for number in range(2, 6)), award(11)]
    run = sync()
    assert run.status == "held"
    return run


def test_a_held_plan_changes_no_bill_and_says_why_in_a_sentence(held: SyncRun, balance: Balance) -> None:
    assert [balance(number) for number in (1, 6, 11)] == [-10_000, -10_000, 0]
    assert held.reason == "It would void 5 of 10 live records (50.0%); the limit is 10% and 3 records."
    assert Alert.objects.open().get().run == held


def test_approving_applies_the_plan_and_closes_the_alert(held: SyncRun, balance: Balance) -> None:
    run = carried_out(held)
    assert (run.status, run.created, run.modified, run.voided, run.held) == ("applied", 1, 1, 5, 0)
    assert [balance(number) for number in (1, 6, 11)] == [-8_000, 0, -10_000]
    held.refresh_from_db()
    assert (held.status, held.decided_by, held.decision_reason) == ("approved", "rita", "seen")
    assert not Alert.objects.open().exists()
    assert AuditEvent.objects.get(action="sync_run.approved").reason == "seen"
    assert not verify_ledger().faults


def test_withholding_applies_all_but_the_part_that_tripped(
    held: SyncRun, balance: Balance, sync: Sync
) -> None:
    run = carried_out(held, withhold=True)
    assert (run.status, run.created, run.modified, run.voided) == ("applied", 1, 1, 0)
    assert [balance(number) for number in (1, 6, 11)] == [-8_000, -10_000, -10_000]
    # What was withheld is not forgotten: the next run brings it up again.
    again = sync()
    assert (again.status, again.voided, again.created) == ("held", 5, 0)


def test_refusing_applies_nothing_and_the_next_run_looks_again(
    held: SyncRun, balance: Balance, sync: Sync
) -> None:
    refuse_run(held, reason="the aid office sent half")
    assert [balance(number) for number in (1, 6)] == [-10_000, -10_000]
    assert not Alert.objects.open().exists()
    assert sync().status == "held"


def test_an_approval_is_a_ceiling_when_the_source_has_moved(
    held: SyncRun, feed: Feed, balance: Balance, sync: Sync
) -> None:
    # Since the plan was seen: 1 has changed again, 6 is back, 12 is new; 7 to 10 are still gone, 11 is still new.
    feed.awards = [award(1, amount="1.00"), *(award(number) for number in range(2, 7)), award(11), award(12)]
    run = carried_out(held)
    assert (run.status, run.created, run.modified, run.voided, run.held) == ("applied", 1, 0, 4, 2)
    assert [balance(number) for number in (1, 6, 7, 11, 12)] == [-10_000, -10_000, 0, -10_000, 0]
    # The rest is planned anew, under the guards.
    rest = sync()
    assert (rest.status, rest.created, rest.modified) == ("applied", 1, 1)
    assert [balance(number) for number in (1, 12)] == [-100, -10_000]


def test_an_amount_that_grew_after_approval_is_not_applied(
    held: SyncRun, feed: Feed, balance: Balance
) -> None:
    feed.awards = [*feed.awards[:-1], award(11, amount="9999.00")]
    carried_out(held)
    assert balance(11) == 0


def test_approving_twice_is_one_approval(held: SyncRun, balance: Balance) -> None:
    carried_out(held)
    with pytest.raises(Undecided, match="approved: there is nothing to decide"):
        approve_run(held, checksum=held.plan_checksum, reason="again")
    assert SyncRun.objects.filter(carries_out=held).count() == 1


def test_a_plan_that_was_not_the_one_seen_is_not_approved(held: SyncRun) -> None:
    with pytest.raises(Undecided, match="another than the one that you saw"):
        approve_run(held, checksum="0" * 64, reason="seen")
    held.refresh_from_db()
    assert held.status == "held"


def test_a_newer_run_supersedes_a_held_plan(held: SyncRun, feed: Feed, sync: Sync) -> None:
    feed.awards = [award(number) for number in range(1, 11)]
    sync()
    held.refresh_from_db()
    assert held.status == "superseded"
    with pytest.raises(Undecided, match="superseded"):
        approve_run(held, checksum=held.plan_checksum, reason="seen")


def test_a_dry_run_supersedes_nothing(held: SyncRun, sync: Sync) -> None:
    sync(dry_run=True)
    held.refresh_from_db()
    assert held.status == "held"


def test_nothing_is_approved_while_another_run_is_under_way(held: SyncRun) -> None:
    request_run(held.stream, RunTrigger.SCHEDULE)
    with pytest.raises(Undecided, match="is under way"):
        approve_run(held, checksum=held.plan_checksum, reason="seen")


@pytest.mark.parametrize("kind", ["worker", "consumer", "system"])
def test_machines_cannot_decide(held: SyncRun, kind: Any) -> None:
    with acting(Actor(kind=kind, name="robot")):
        for decide in (
            lambda: approve_run(held, checksum=held.plan_checksum, reason="x"),
            lambda: refuse_run(held, reason="x"),
        ):
            with pytest.raises(Undecided, match="Only a person"):
                decide()


def test_a_decision_needs_a_reason(held: SyncRun) -> None:
    with pytest.raises(Undecided, match="Say why"):
        refuse_run(held, reason="  ")


def test_with_four_eyes_who_edited_or_started_cannot_approve_alone(
    held: SyncRun, connection: Connection
) -> None:
    Connection.objects.filter(pk=connection.pk).update(four_eyes=True, changed_by="eddie")
    SyncRun.objects.filter(pk=held.pk).update(started_by="stella")
    for name, word in (("eddie", "edited"), ("stella", "started")):
        with acting(Actor(kind="user", name=name)), pytest.raises(Undecided, match=word):
            approve_run(held, checksum=held.plan_checksum, reason="seen")
    assert carried_out(held).status == "applied"


def test_a_queued_run_can_be_cancelled_and_never_starts(sync: Sync, held: SyncRun) -> None:
    run = request_run(held.stream, RunTrigger.ADMIN)
    cancel_run(run, reason="wrong day")
    assert execute_run(run.pk).status == "cancelled"
    run.refresh_from_db()
    assert run.reason == "Cancelled by rita: wrong day"


def test_a_running_run_that_was_cancelled_applies_nothing(held: SyncRun) -> None:
    run = request_run(held.stream, RunTrigger.ADMIN)
    lease = take(run.pk)
    assert lease is not None
    run.refresh_from_db()
    cancel_run(run, reason="wrong day")
    with pytest.raises(LeaseLost):
        lease.renew()
    with pytest.raises(Undecided, match="ended already"):
        cancel_run(run, reason="again")


@pytest.mark.parametrize(
    ("guards", "awards", "sentence"),
    [
        ({"max_modified_share": 0.1, "max_modified_count": 3}, {"amount": "90.00"}, "modify 10 of 10"),
        ({"max_gross_change_share": 0.2, "max_gross_change": "500"}, {"amount": "190.00"}, "move 900.00 USD"),
        (
            {"max_student_change": "50"},
            {"amount": "160.00"},
            "move more than the limit for each of 10 students",
        ),
    ],
)
def test_each_guard_says_by_how_much(
    feed: Feed, sync: Sync, guarded: Callable[..., None], guards: Any, awards: Any, sentence: str
) -> None:
    feed.awards = [award(number) for number in range(1, 11)]
    sync()
    guarded(**guards)
    feed.awards = [award(number, **awards) for number in range(1, 11)]
    run = sync()
    assert run.status == "held"
    assert sentence in run.reason


def test_a_swap_between_students_does_not_hide(feed: Feed, sync: Sync, guarded: Callable[..., None]) -> None:
    feed.awards = [award(1, amount="100.00"), award(2, amount="900.00")]
    sync()
    guarded(max_gross_change_share=0.2, max_gross_change="1000")
    feed.awards = [award(1, amount="900.00"), award(2, amount="100.00")]
    assert "move 1,600.00 USD" in sync().reason


def test_a_guarded_first_load_is_held_until_somebody_approves(
    feed: Feed, sync: Sync, guarded: Callable[..., None], balance: Balance
) -> None:
    guarded(first_load="hold")
    feed.awards = [award(1)]
    held = sync()
    assert held.status == "held"
    carried_out(held)
    assert balance(1) == -10_000
    feed.awards.append(award(2))
    assert sync().status == "applied"


def test_withholding_the_student_that_tripped_applies_the_others(
    feed: Feed, sync: Sync, guarded: Callable[..., None], balance: Balance
) -> None:
    guarded(max_student_change="500")
    feed.awards = [award(1, amount="60000.00"), award(2)]
    held = sync()
    carried_out(held, withhold=True)
    assert (balance(1), balance(2)) == (0, -10_000)


# --- the page ---------------------------------------------------------------------------------------------


def test_the_page_of_a_held_plan_shows_people_and_money_largest_first(
    held: SyncRun, administrator: Client
) -> None:
    page = administrator.get(held.get_absolute_url()).content.decode()
    assert "for 7 students" in page
    assert page.index("A0006#1") < page.index("A0001#1")  # 100.00 voided before 20.00 less
    found = administrator.get(held.get_absolute_url(), {"q": "S0000007"}).content.decode()
    assert "A0007#1" in found
    assert "A0006#1" not in found


def test_the_buttons_decide(held: SyncRun, administrator: Client, balance: Balance) -> None:
    url = f"/admin/integrations/syncrun/{held.pk}/decide/approve/"
    response = administrator.post(url, {"reason": "", "checksum": held.plan_checksum}, follow=True)
    assert "Say why" in response.content.decode()
    response = administrator.post(url, {"reason": "agreed", "checksum": held.plan_checksum}, follow=True)
    follower = SyncRun.objects.get(carries_out=held)
    assert response.redirect_chain[0][0] == follower.get_absolute_url()
    execute_run(follower.pk)
    assert balance(6) == 0
    assert "agreed" in administrator.get(held.get_absolute_url()).content.decode()


@pytest.mark.parametrize("decision", ["approve", "withhold", "refuse", "cancel"])
def test_deciding_needs_its_permission_and_a_post(
    held: SyncRun, auditor: Client, advisor: Client, administrator: Client, decision: str
) -> None:
    url = f"/admin/integrations/syncrun/{held.pk}/decide/{decision}/"
    form = {"reason": "x", "checksum": held.plan_checksum}
    assert [client.post(url, form).status_code for client in (auditor, advisor)] == [403, 403]
    assert administrator.get(url).status_code == 405
    held.refresh_from_db()
    assert held.status == "held"
    assert "Approve all" not in auditor.get(held.get_absolute_url()).content.decode()


def test_withholding_a_first_load_applies_none_of_it(
    feed: Feed, sync: Sync, guarded: Callable[..., None], balance: Balance
) -> None:
    guarded(first_load="hold")
    feed.awards = [award(1)]
    run = carried_out(sync(), withhold=True)
    assert (run.status, run.created, run.held) == ("applied", 0, 1)
    assert balance(1) == 0


@pytest.mark.parametrize("reason", ["x" * 501, "a\0b", "two\nlines"])
def test_a_reason_is_one_line_that_any_database_keeps(held: SyncRun, reason: str) -> None:
    with pytest.raises(Undecided, match="on one line"):
        refuse_run(held, reason=reason)
