"""Whatever a feed says and in whatever order: the ledger is that of the last word on each award, to the minor unit."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from integrations.models import SyncRun
from integrations.sync.verification import verify_ledger
from registration.models import BillingAccount, LedgerEntry, Term
from tests.integrations.conftest import Load, Sync
from tests.integrations.feed import Feed, award
from tests.refusals import rolled_back

STUDENTS = 3
Key = tuple[str, int]


@dataclass(frozen=True)
class Award:
    """What a feed says of one award."""

    name: str
    number: int
    student: int
    cents: int
    state: str
    kind: str | None
    term: str
    # What makes a record unusable: nothing, an amount that is none, or no key.
    fault: str = ""
    stamp: int = 0

    @property
    def key(self) -> Key:
        return self.name, self.number

    @property
    def meaning(self) -> tuple[Any, ...]:
        """All that copies of it must agree in."""
        return self.student, self.cents, self.state, self.kind, self.term

    def written(self) -> dict[str, Any]:
        sign = "-" if self.cents < 0 else ""
        amount = f"{sign}{abs(self.cents) // 100}.{abs(self.cents) % 100:02d}"
        return award(
            1,
            id=None if self.fault == "key" else self.name,
            disbursement=self.number,
            student={"number": f"S{self.student:07d}"},
            amount="ten" if self.fault == "amount" else amount,
            state=self.state,
            fund={"code": "F", "name": "F", "type": self.kind},
            term=self.term,
            updated_at=f"2026-09-01T10:00:{self.stamp:02d}Z",
        )


awards = st.builds(
    Award,
    name=st.sampled_from(["A", "B", "C"]),
    number=st.sampled_from([1, 2]),
    student=st.integers(1, STUDENTS),
    cents=st.sampled_from([0, 1, 999, -250]) | st.integers(-(10**11), 10**11),
    state=st.sampled_from(["disbursed", "disbursed", "accepted", "offered", "cancelled"]),
    kind=st.sampled_from(["grant", "loan", None, "work_study"]),
    term=st.sampled_from(["2026FA", "2027SP"]),
    fault=st.sampled_from(["", "", "", "", "", "", "amount", "key"]),
    stamp=st.integers(0, 3),
)


@st.composite
def feeds(draw: st.DrawFn) -> list[list[Award]]:
    """A few feeds, each made of new awards and of awards of the one before: as they were, or told twice."""
    told: list[list[Award]] = []
    for _ in range(draw(st.integers(2, 5))):
        earlier = st.lists(st.sampled_from(told[-1]), max_size=6) if told and told[-1] else st.just([])
        told.append(draw(earlier) + draw(st.lists(awards, max_size=4)))
    return told


def after(live: dict[Key, Award], feed: list[Award], closed: set[str]) -> dict[Key, Award]:
    """What is live once this feed is accepted: the rules of the design in the plainest words there are."""
    copies = defaultdict(list)
    for record in feed:
        if record.fault != "key":
            copies[record.key].append(record)
    result = dict(live)
    for key, told in copies.items():
        if any(record.fault for record in told) or len({record.meaning for record in told}) > 1:
            continue  # rejected: what was stays
        if told[0].state == "cancelled":
            result.pop(key, None)
        else:
            result[key] = told[0]
    if not any(record.fault == "key" for record in feed):
        for key, record in live.items():
            if key not in copies and record.term not in closed:
                result.pop(key)
    return result


def assert_ledger_is(live: dict[Key, Award]) -> None:
    """Every student's totals and every live entry are those of the live awards, and of nothing else."""
    posting = [record for record in live.values() if record.cents and record.kind != "work_study"]
    for student in range(1, STUDENTS + 1):
        totals = BillingAccount.objects.get(student__number=f"S{student:07d}").totals()
        theirs = [record for record in posting if record.student == student]
        assert totals.posted_aid == sum(record.cents for record in theirs if record.state == "disbursed")
        assert totals.anticipated_aid == sum(record.cents for record in theirs if record.state == "accepted")
        assert totals.balance == -totals.posted_aid
    entries = LedgerEntry.objects.live().values_list(
        "account__student__number", "term__code", "amount_minor", "kind"
    )
    assert sorted(entries) == sorted(
        (
            f"S{record.student:07d}",
            record.term,
            abs(record.cents),
            "adjustment" if record.cents < 0 else "aid",
        )
        for record in posting
        if record.state in ("accepted", "disbursed")
    )
    assert verify_ledger().faults == []


def assert_run_adds_up(
    run: SyncRun, feed: list[Award], before: dict[Key, Award], live: dict[Key, Award]
) -> None:
    assert (run.status, run.read) == ("applied", len(feed)), run.reason
    assert (run.live_before, run.live_after) == (len(before), len(live))
    assert run.certificate["sums"]["live_before"] == sum(record.cents for record in before.values())
    assert run.certificate["sums"]["live_after"] == sum(record.cents for record in live.values())
    changed = {key for key in before.keys() & live.keys() if before[key].meaning != live[key].meaning}
    assert (run.created, run.voided) == (len(live.keys() - before.keys()), len(before.keys() - live.keys()))
    assert run.modified == len(changed)


@examples(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(told=feeds(), closes_at=st.integers(0, 9))
def test_any_sequence_of_feeds_ends_with_the_ledger_of_the_last_word_on_each_award(
    feed: Feed, load: Load, sync: Sync, told: list[list[Award]], closes_at: int
) -> None:
    load(datasets={"aid_awards": feed.dataset(pagination={"type": "none"})})
    feed.page_size = 1000
    live: dict[Key, Award] = {}
    with rolled_back():
        for place, records in enumerate(told):
            closed = {"2027SP"} if place >= closes_at else set[str]()
            Term.objects.filter(code="2027SP").update(is_closed=bool(closed))
            feed.awards = [record.written() for record in records]
            before, live = live, after(live, records, closed)
            assert_run_adds_up(sync(approve=True), records, before, live)
            assert_ledger_is(live)
        entries = LedgerEntry.objects.count()
        run = sync(approve=True)
        assert (run.created, run.modified, run.voided) == (0, 0, 0)
        assert LedgerEntry.objects.count() == entries
        assert_ledger_is(live)


@examples(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(told=feeds(), size=st.integers(1, 3))
def test_how_a_feed_is_cut_into_pages_makes_no_difference(
    feed: Feed, load: Load, sync: Sync, told: list[list[Award]], size: int
) -> None:
    load(datasets={"aid_awards": feed.dataset(pagination={"type": "cursor", "cursor": "cursor"})})
    feed.page_size = size
    live: dict[Key, Award] = {}
    with rolled_back():
        for records in told:
            # Two pages that are the same would be taken for a server that does not page.
            feed.awards = [{**record.written(), "place": place} for place, record in enumerate(records)]
            before, live = live, after(live, records, set())
            assert_run_adds_up(sync(approve=True), records, before, live)
            assert_ledger_is(live)


def test_a_dry_run_before_each_sync_foretells_it_and_changes_nothing(feed: Feed, sync: Sync) -> None:
    for step in range(6):
        feed.awards = [award(number, amount=f"{number}.{step % number}0") for number in range(1, 8 - step)]
        before = list(LedgerEntry.objects.values_list("id", "state"))
        foretold = sync(dry_run=True)
        assert before == list(LedgerEntry.objects.values_list("id", "state"))
        real = sync()
        for name in ("read", "created", "modified", "voided", "unchanged", "rejected"):
            assert getattr(foretold, name) == getattr(real, name)
