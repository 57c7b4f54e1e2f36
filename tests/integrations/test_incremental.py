"""Incremental feeds: asked only for what has changed, never past what was not applied, and completely once in a while."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st

from audit.context import Actor, acting
from integrations.decisions import release_pins, undo_run
from integrations.models import Stream
from integrations.sync.watermark import read_moment
from registration.models import LedgerEntry
from registration.operations import void
from tests.integrations.conftest import Balance, Load, Sync, approved
from tests.integrations.feed import MAPPING, Feed, award

INCREMENTAL = {"param": "updated_since", "field": "updated_at"}
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
NOON = datetime.datetime(2026, 11, 2, 12, tzinfo=datetime.UTC)


@pytest.fixture
def stream(feed: Feed, load: Load) -> Stream:
    """A feed that may be asked for what has changed: it answers as such systems do."""
    load(datasets={"aid_awards": feed.dataset(incremental=INCREMENTAL)})
    return Stream.objects.select_related("connection").get()


@pytest.fixture(autouse=True)
def answers_only_what_has_changed(feed: Feed) -> None:
    whole = feed.page

    def changed(request: Any) -> dict[str, Any]:
        since = request.args.get("updated_since", "")
        everything = feed.awards
        feed.awards = [record for record in everything if record["updated_at"] >= since]
        try:
            return whole(request)
        finally:
            feed.awards = everything

    feed.page = changed  # type: ignore[method-assign]


def at(hour: int, minute: int = 0) -> str:
    return f"2026-11-02T{hour:02d}:{minute:02d}:00Z"


def asked(feed: Feed) -> list[str]:
    """What the first page of each run was asked for, the last one last."""
    return [request.args.get("updated_since", "") for request in feed.requests if request.args["page"] == "1"]


def test_the_first_extract_is_complete_and_the_next_asks_from_where_it_came_to(
    feed: Feed, sync: Sync
) -> None:
    feed.awards = [award(1, updated_at=at(9)), award(2, updated_at=at(11))]
    first = sync()
    assert (first.is_complete, first.asked_since) == (True, "")
    second = sync()
    assert (second.status, second.is_complete) == ("applied", False)
    # Ten minutes of overlap, and the seconds that the reading took.
    assert at(10, 49) <= second.asked_since <= at(10, 50)
    assert asked(feed) == ["", second.asked_since]
    assert (second.read, second.unchanged) == (1, 1)


def test_what_an_incremental_answer_does_not_bring_is_not_absent(
    feed: Feed, sync: Sync, balance: Balance
) -> None:
    feed.awards = [award(1, updated_at=at(9)), award(2, updated_at=at(11))]
    sync()
    feed.awards = [award(2, amount="70.00", updated_at=at(12))]
    run = sync()
    assert (run.status, run.read, run.modified, run.voided) == ("applied", 1, 1, 0)
    assert (balance(1), balance(2)) == (-10_000, -7_000)


def test_an_empty_incremental_answer_is_normal(feed: Feed, sync: Sync, balance: Balance) -> None:
    feed.awards = [award(1, updated_at=at(9))]
    sync()
    watermark = Stream.objects.get().watermark
    feed.awards = []
    run = sync()
    assert (run.status, run.read, run.live_after) == ("applied", 0, 1)
    assert balance(1) == -10_000
    assert Stream.objects.get().watermark == watermark


@pytest.mark.parametrize(("full_every", "days", "is_complete"), [(7, 6, False), (7, 7, True), (1, 1, True)])
def test_a_complete_extract_is_due_every_so_many_days_and_voids_what_is_gone(
    feed: Feed, load: Load, sync: Sync, balance: Balance, full_every: int, days: int, is_complete: bool
) -> None:
    load(datasets={"aid_awards": feed.dataset(incremental={**INCREMENTAL, "full_every": full_every})})
    feed.awards = [award(1, updated_at=at(9)), award(2, updated_at=at(11))]
    with time_machine.travel(NOON, tick=True):
        sync()
    feed.awards = [award(2, updated_at=at(11))]
    with time_machine.travel(NOON + datetime.timedelta(days=days), tick=True):
        run = sync()
    assert (run.is_complete, run.voided) == (is_complete, int(is_complete))
    assert balance(1) == (0 if is_complete else -10_000)


def test_the_watermark_never_passes_a_rejected_record(feed: Feed, sync: Sync, balance: Balance) -> None:
    feed.awards = [
        award(1, updated_at=at(5)),
        award(2, updated_at=at(6), term="2099XX"),
        award(3, updated_at=at(11)),
    ]
    assert sync().rejected == 1
    run = sync()
    assert at(5, 49) <= run.asked_since <= at(5, 50)
    assert run.rejected == 1
    feed.awards[1] = award(2, updated_at=at(6))  # mended at the source, which did not touch its time
    sync()
    assert balance(2) == -10_000
    assert sync().asked_since >= at(10, 49)


def test_a_rejected_record_that_does_not_say_when_it_changed_leaves_the_watermark_where_it_was(
    feed: Feed, sync: Sync
) -> None:
    feed.awards = [award(1, updated_at=at(5))]
    sync()
    before = Stream.objects.get().watermark
    feed.awards += [award(3, updated_at=at(11)), award(2, updated_at="yesterday", amount="x")]
    assert sync().rejected == 1
    assert Stream.objects.get().watermark == before


def test_the_watermark_stays_when_a_page_cannot_be_read(feed: Feed, sync: Sync) -> None:
    feed.awards = [award(1, updated_at=at(5))]
    sync()
    before = Stream.objects.get().watermark
    feed.awards.append(award(2, updated_at=at(11)))
    feed.status = 500
    assert sync().status == "failed"
    assert Stream.objects.get().watermark == before
    feed.status = 200
    assert sync().created == 1


@pytest.mark.parametrize("decision", ["refused", "withheld", "a dry run"])
def test_the_watermark_stays_while_something_that_was_read_is_not_applied(
    feed: Feed, load: Load, sync: Sync, decision: str, balance: Balance
) -> None:
    feed.awards = [award(1, updated_at=at(5))]
    sync()
    before = Stream.objects.get().watermark
    load(
        datasets={"aid_awards": feed.dataset(incremental=INCREMENTAL)},
        guards={"max_student_change": "500"},
    )
    feed.awards += [award(2, updated_at=at(11), amount="900.00")]
    run = sync(dry_run=decision == "a dry run")
    if decision == "withheld":
        assert approved(run, withhold=True).held == 1
    assert Stream.objects.get().watermark == before
    assert approved(sync()).created == 1
    assert Stream.objects.get().watermark > before


@pytest.mark.parametrize("change", ["another mapping", "another filter"])
def test_whoever_asks_otherwise_asks_for_everything(feed: Feed, load: Load, sync: Sync, change: str) -> None:
    feed.awards = [award(1, updated_at=at(5)), award(2, updated_at=at(11))]
    sync()
    mapping = {**MAPPING, "fund_name": "fund.code"} if change == "another mapping" else MAPPING
    params = {"year": "2027"} if change == "another filter" else {}
    load(datasets={"aid_awards": feed.dataset(incremental=INCREMENTAL, mapping=mapping, params=params)})
    run = sync()
    assert (run.is_complete, run.read) == (True, 2)
    assert not sync().is_complete


def test_what_is_released_from_a_pin_is_asked_for_again(feed: Feed, sync: Sync, balance: Balance) -> None:
    feed.awards = [award(1, updated_at=at(5)), award(2, updated_at=at(11))]
    sync()
    feed.awards[1] = award(2, amount="70.00", updated_at=at(11, 30))
    with acting(Actor(kind="user", name="rita")):
        undo = undo_run(sync(), reason="wrong")
        feed.awards.append(award(3, updated_at=at(23)))
        sync()
        assert balance(2) == -10_000
        release_pins(undo, reason="right after all")
    assert sync().is_complete
    assert balance(2) == -7_000


def test_a_hand_edit_is_found_when_the_source_speaks_of_the_record(feed: Feed, sync: Sync) -> None:
    feed.awards = [award(1, updated_at=at(5)), award(2, updated_at=at(11))]
    first = sync()
    with acting(Actor(kind="user", name="bea")):
        void(LedgerEntry.objects.get(account__student__number="S0000001"), reason="not hers")
    assert first.is_complete
    assert sync().status == "applied"
    feed.awards[0] = award(1, amount="60.00", updated_at=at(12))
    assert sync().status == "held"


# --- moments, as sources write them -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "again"),
    [
        ("2026-11-02T11:00:00Z", "2026-11-02T11:00:00Z"),
        ("2026-11-02T11:00:00.999Z", "2026-11-02T11:00:00Z"),
        ("2026-11-02T11:00:00+02:00", "2026-11-02T09:00:00Z"),
        ("2026-11-02 11:00:00", "2026-11-02 11:00:00"),
        ("2026-11-02T11:00", "2026-11-02T11:00:00"),
        ("2026-11-02", "2026-11-02"),
        (1793617200, "1793617200"),
        ("1793617200", "1793617200"),
        (1793617200123, "1793617200000"),
    ],
)
def test_a_moment_is_given_back_as_the_source_writes_it_and_never_later(written: Any, again: str) -> None:
    assert str(read_moment(written)) == again


@pytest.mark.parametrize(
    "written", [None, True, "", "yesterday", "2026-13-01", [], {}, "9" * 400, -1, 0, float("nan")]
)
def test_what_is_no_moment_is_none(written: Any) -> None:
    assert read_moment(written) is None


@given(
    st.integers(1, 7_000_000_000_000).map(
        lambda milliseconds: EPOCH + datetime.timedelta(milliseconds=milliseconds)
    ),
    st.sampled_from([0, 90, -300]),
)
def test_any_moment_with_an_offset_survives_to_the_second(moment: datetime.datetime, minutes: int) -> None:
    zone = datetime.timezone(datetime.timedelta(minutes=minutes))
    aware = moment.astimezone(zone)
    read = read_moment(aware.isoformat())
    assert read is not None
    again = datetime.datetime.fromisoformat(str(read))
    assert datetime.timedelta() <= aware - again < datetime.timedelta(seconds=1)
