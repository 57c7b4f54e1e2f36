"""The guards as they are when nobody has set any, and what each says."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from integrations.models import Alert, Connection
from integrations.operations import save_connection
from integrations.sync.guards import GuardLimits
from integrations.sync.verification import verify_ledger
from registration.models import BillingAccount
from tests.integrations.conftest import Balance, Load, Sync, approved
from tests.integrations.feed import Feed, award
from tests.university import make_students

LIVE = 200


@pytest.fixture
def term_time(feed: Feed, load: Load, sync: Sync) -> None:
    """200 live awards of 100.00 each; from then on the connection has the guards that nobody has changed."""
    make_students(LIVE)
    feed.page_size = 1000
    feed.awards = [award(number) for number in range(1, LIVE + 1)]
    assert sync().created == LIVE
    load(guards={})


def cents_as_dollars(record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "amount": record["amount"].replace(".", "")}


@pytest.mark.usefixtures("students")
def test_the_first_load_of_money_waits_for_a_person(feed: Feed, load: Load, sync: Sync) -> None:
    load(guards={})
    feed.awards = [award(1)]
    held = sync()
    assert (held.status, held.reason) == (
        "held",
        "This is the first load: it would create 1 record where there were none.",
    )
    assert approved(held).created == 1
    feed.awards.append(award(2))
    assert sync().status == "applied"


@pytest.mark.usefixtures("term_time")
@pytest.mark.parametrize(
    ("gone", "status"), [(10, "applied"), (20, "applied"), (21, "held"), (LIVE // 2, "held"), (LIVE, "held")]
)
def test_voids_over_a_tenth_and_over_ten_are_held(feed: Feed, sync: Sync, gone: int, status: str) -> None:
    feed.awards = feed.awards[gone:]
    run = sync()
    assert run.status == status
    if status == "held":
        assert (
            f"It would void {gone} of 200 live records ({gone / LIVE:.1%}); the limit is 10% and 10 records."
            in run.reason
        )


@pytest.mark.usefixtures("term_time")
def test_eleven_of_fifty_are_held_and_ten_of_fifty_are_not(feed: Feed, load: Load, sync: Sync) -> None:
    feed.awards = feed.awards[:50]
    sync(approve=True)
    feed.awards = feed.awards[:40]
    assert sync().status == "applied"
    feed.awards = feed.awards[:29]
    assert sync().status == "held"


@pytest.mark.usefixtures("term_time")
@pytest.mark.parametrize(("changed", "status"), [(20, "applied"), (21, "held")])
def test_modifications_over_a_tenth_are_held(feed: Feed, sync: Sync, changed: int, status: str) -> None:
    feed.awards[:changed] = [award(number, amount="100.01") for number in range(1, changed + 1)]
    run = sync()
    assert run.status == status
    assert ("It would modify 21 of 200" in run.reason) == (status == "held")


@pytest.mark.usefixtures("term_time")
def test_an_empty_feed_where_there_was_one_is_held_however_few_it_had(feed: Feed, sync: Sync) -> None:
    feed.awards = feed.awards[:5]
    assert sync(approve=True).live_after == 5
    feed.awards = []
    run = sync()
    assert run.status == "held"
    assert run.reason == "The feed is empty: it would void 5 records that it should still bring."


@pytest.mark.usefixtures("term_time")
def test_a_shuffled_feed_changes_nothing(feed: Feed, sync: Sync) -> None:
    random.Random(4).shuffle(feed.awards)  # noqa: S311 - any order but theirs
    run = sync()
    assert (run.status, run.unchanged, run.created, run.modified, run.voided) == ("applied", LIVE, 0, 0, 0)


@pytest.mark.usefixtures("term_time")
def test_cents_sent_as_dollars_are_held_though_they_are_few(feed: Feed, sync: Sync, balance: Balance) -> None:
    feed.awards[:2] = [cents_as_dollars(record) for record in feed.awards[:2]]
    run = sync()
    assert run.status == "held"
    assert (
        "It would move 19,800.00 USD, swaps counted on both sides, where 20,000.00 USD is live; "
        "the limit is 20% and 10,000.00 USD." in run.reason
    )
    assert balance(1) == -10_000


@pytest.mark.usefixtures("term_time")
def test_a_gross_change_needs_both_its_share_and_its_sum(feed: Feed, sync: Sync) -> None:
    feed.awards[0] = award(1, amount="10099.99")
    assert sync().status == "applied"  # 9,999.99: more than 20% of 20,000.00, and not more than 10,000.00
    feed.awards[1] = award(2, amount="10100.02")
    assert "It would move 10,000.02 USD" in sync().reason


@pytest.mark.usefixtures("term_time")
def test_a_swap_of_amounts_between_students_does_not_hide(feed: Feed, load: Load, sync: Sync) -> None:
    feed.awards[:2] = [award(1, amount="6000.00"), award(2, amount="100.00")]
    sync(approve=True)
    feed.awards[:2] = [award(1, amount="100.00"), award(2, amount="6000.00")]
    run = sync()
    assert run.status == "held"
    assert "It would move 11,800.00 USD" in run.reason


@pytest.mark.usefixtures("term_time")
def test_an_award_that_goes_to_another_student_moves_two_bills(feed: Feed, sync: Sync) -> None:
    feed.awards[0] = award(1, amount="9000.00")
    sync(approve=True)
    feed.awards[0] = award(1, amount="9000.00", student={"number": "S0000002"})
    assert "It would move 18,000.00 USD" in sync().reason


@pytest.mark.usefixtures("term_time")
def test_aid_that_turns_from_accepted_to_paid_moves_its_amount(feed: Feed, sync: Sync) -> None:
    feed.awards[0] = award(1, amount="11000.00", state="accepted")
    sync(approve=True)
    feed.awards[0] = award(1, amount="11000.00")
    assert "It would move 11,000.00 USD" in sync().reason


@pytest.mark.usefixtures("term_time")
def test_offered_aid_is_on_no_bill_and_moves_nothing(feed: Feed, sync: Sync) -> None:
    feed.awards += [award(1, id=f"O{number}", state="offered", amount="90000.00") for number in range(5)]
    run = sync()
    assert (run.status, run.created) == ("applied", 5)
    assert run.changes.filter(moved__gt=0).count() == 0


@pytest.mark.usefixtures("term_time")
def test_more_than_fifty_thousand_for_one_student_is_held(feed: Feed, load: Load, sync: Sync) -> None:
    load(guards={"max_gross_change": None, "max_gross_change_share": None})
    feed.awards.append(award(1, id="BIG", amount="50000.00"))
    assert sync().status == "applied"
    feed.awards.append(award(2, id="BIGGER", amount="50000.01"))
    run = sync()
    assert run.reason == "It would move 50,000.01 USD for a single student; the limit is 50,000.00 USD."


@pytest.mark.usefixtures("term_time")
def test_a_page_that_is_missing_is_held_and_raises_one_alert(
    feed: Feed, sync: Sync, balance: Balance
) -> None:
    feed.awards = [*feed.awards[:50], *feed.awards[100:]]
    run = sync()
    assert (run.status, balance(60)) == ("held", -10_000)
    assert sync().status == "held"
    assert Alert.objects.open().count() == 1


@pytest.mark.usefixtures("term_time")
def test_a_rejected_key_that_was_live_stays_while_the_rest_goes_on(
    feed: Feed, sync: Sync, balance: Balance
) -> None:
    feed.awards[0] = award(1, amount="NaN")
    feed.awards[1] = award(2, amount="90.00")
    run = sync()
    assert (run.status, run.rejected, run.modified, run.voided) == ("applied", 1, 1, 0)
    assert (balance(1), balance(2)) == (-10_000, -9_000)


@pytest.mark.usefixtures("term_time")
def test_what_is_held_twice_and_approved_is_on_each_bill_once(feed: Feed, sync: Sync) -> None:
    feed.awards = feed.awards[100:]
    sync()
    run = approved(sync())
    assert (run.status, run.voided) == ("applied", 100)
    assert sum(account.totals().posted_aid for account in BillingAccount.objects.all()) == 100 * 10_000
    assert verify_ledger().faults == []


# --- limits that a connection names -----------------------------------------------------------------------


@pytest.mark.usefixtures("term_time")
def test_null_switches_a_guard_off(feed: Feed, load: Load, sync: Sync) -> None:
    load(
        guards={
            "max_void_share": None,
            "max_void_count": None,
            "max_gross_change": None,
            "max_gross_change_share": None,
        }
    )
    feed.awards = feed.awards[:20]
    assert sync().status == "applied"


@pytest.mark.usefixtures("term_time")
def test_with_its_share_switched_off_a_number_decides_alone(feed: Feed, load: Load, sync: Sync) -> None:
    load(guards={"max_void_share": None, "max_void_count": 4})
    feed.awards = feed.awards[5:]
    assert sync().reason == "It would void 5 of 200 live records (2.5%); the limit is 4 records."


def test_what_a_connection_does_not_name_is_as_usual(connection: Connection, feed: Feed) -> None:
    save_connection(feed.document(guards={"max_void_count": 3}))
    limits = GuardLimits.of(connection.streams.select_related("connection").get())
    connection.refresh_from_db()
    assert connection.guards == {"max_void_count": 3}
    assert (limits.first_load, limits.max_void_share, limits.max_void_count) == ("hold", 0.1, 3)
    assert str(limits.max_student_change) == "50000"


def test_each_guard_can_say_which_changes_are_the_part_that_tripped(
    feed: Feed, sync: Sync, load: Load, students: list[Any], balance: Callable[[int], int]
) -> None:
    make_students(40)
    feed.awards = [award(number) for number in range(1, 51)]
    sync()
    load(guards={"max_gross_change": None, "max_gross_change_share": None})
    feed.awards = [award(1, amount="90.00"), *feed.awards[20:], award(3, id="NEW")]
    held = sync()
    assert [trip["guard"] for trip in held.trips] == ["voids"]
    run = approved(held, withhold=True)
    assert (run.created, run.modified, run.voided) == (1, 1, 0)
    assert (balance(1), balance(2), balance(3)) == (-9_000, -10_000, -20_000)
