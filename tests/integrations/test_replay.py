"""Rejected records: by reason, mended in place, taken again from what was kept, and closed by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from django.test import Client

from audit.context import Actor, acting
from integrations.decisions import Undecided, replay_rejections
from integrations.models import Connection, RejectedRecord, Stream, SyncRun
from integrations.operations import mend_mapping, try_mapping
from integrations.sync.runner import execute_run
from integrations.sync.verification import verify_ledger
from registration.models import Term
from tests.integrations.conftest import Balance, Load, Sync, approved
from tests.integrations.feed import MAPPING, Feed, award

MENDED = {**MAPPING, "status": {"path": "state", "lookup": {"PAID": "disbursed", "BEZAHLT": "disbursed"}}}


@pytest.fixture(autouse=True)
def a_person_decides() -> Iterator[None]:
    with acting(Actor(kind="user", name="rita")):
        yield


@pytest.fixture
def rejected(feed: Feed, sync: Sync) -> SyncRun:
    """One award is live; two have a status that nobody knows, one a term that is not there yet."""
    feed.awards = [
        award(1),
        award(2, state="BEZAHLT"),
        award(3, state="BEZAHLT", amount="55.00"),
        award(4, term="2027FA"),
    ]
    run = sync()
    assert (run.status, run.rejected) == ("applied", 3)
    return run


def outcomes() -> dict[str, str]:
    return {row.key: row.outcome for row in RejectedRecord.objects.order_by("pk")}


def replayed(**narrow: Any) -> SyncRun:
    return execute_run(replay_rejections(RejectedRecord.objects.filter(**narrow), reason="mended").pk)


def test_a_mended_mapping_and_a_replay_take_the_records_in_without_asking_the_source(
    rejected: SyncRun, feed: Feed, stream: Stream, balance: Balance
) -> None:
    asked = len(feed.requests)
    mend_mapping(stream, MENDED)
    run = replayed(run=rejected, field="status")
    assert (run.status, run.trigger, run.read, run.created, run.rejected) == ("applied", "replay", 2, 2, 0)
    assert len(feed.requests) == asked
    assert [balance(number) for number in (1, 2, 3, 4)] == [-10_000, -10_000, -5_500, 0]
    assert outcomes() == {"A0002#1": "accepted", "A0003#1": "accepted", "A0004#1": ""}
    assert verify_ledger().faults == []


def test_the_next_sync_finds_what_was_replayed_unchanged(
    rejected: SyncRun, stream: Stream, sync: Sync
) -> None:
    mend_mapping(stream, MENDED)
    replayed(run=rejected)
    run = sync()
    assert (run.status, run.unchanged, run.created, run.modified, run.voided) == ("applied", 3, 0, 0, 0)
    assert run.rejected == 1


def test_one_record_is_taken_again_alone(rejected: SyncRun, stream: Stream, balance: Balance) -> None:
    mend_mapping(stream, MENDED)
    run = replayed(key="A0003#1")
    assert (run.read, run.created) == (1, 1)
    assert [balance(number) for number in (2, 3)] == [0, -5_500]
    assert outcomes() == {"A0002#1": "", "A0003#1": "accepted", "A0004#1": ""}


def test_a_replay_voids_nothing_by_absence(rejected: SyncRun, balance: Balance) -> None:
    run = replayed(key="A0004#1")
    assert (run.rejected, run.voided, run.is_complete) == (1, 0, False)
    assert balance(1) == -10_000


def test_what_is_rejected_again_stands_once_in_its_newest_form(rejected: SyncRun) -> None:
    run = replayed(key="A0004#1")
    states = {(row.run_id, row.outcome) for row in RejectedRecord.objects.filter(key="A0004#1")}
    assert states == {(rejected.pk, "repeated"), (run.pk, "")}


def test_they_close_by_themselves_when_a_later_run_accepts_the_record(
    rejected: SyncRun, feed: Feed, sync: Sync
) -> None:
    feed.awards[1] = award(2)
    Term.objects.create(
        code="2027FA", name="Fall 2027", starts_on="2027-08-23", ends_on="2027-12-17", census_on="2027-09-10"
    )
    run = sync()
    closed = {row.key: (row.outcome, row.closed_by_id) for row in RejectedRecord.objects.filter(run=rejected)}
    assert closed == {
        "A0002#1": ("accepted", run.pk),
        "A0003#1": ("repeated", run.pk),
        "A0004#1": ("accepted", run.pk),
    }
    assert RejectedRecord.objects.open().count() == 1


def test_one_that_is_in_the_feed_no_more_is_closed_too(rejected: SyncRun, feed: Feed, sync: Sync) -> None:
    feed.awards = [award(1), award(2, state="BEZAHLT")]
    sync()
    closed = {row.key: row.outcome for row in RejectedRecord.objects.filter(run=rejected)}
    assert closed == {"A0002#1": "repeated", "A0003#1": "cleared", "A0004#1": "cleared"}


def test_a_rejected_record_that_comes_back_in_its_known_form_closes_the_rejection(
    feed: Feed, sync: Sync
) -> None:
    feed.awards = [award(1)]
    sync()
    feed.awards = [award(1, amount="x")]
    sync()
    assert outcomes() == {"A0001#1": ""}
    feed.awards = [award(1)]
    assert sync().unchanged == 1
    assert outcomes() == {"A0001#1": "accepted"}


def test_records_without_a_key_are_told_apart_by_what_came(feed: Feed, sync: Sync) -> None:
    feed.awards = [award(1, id=None), award(2, id=None)]
    sync()
    feed.awards = [award(1, id=None), award(2)]
    sync()
    states = sorted(RejectedRecord.objects.values_list("run__requested_at", "outcome"))
    assert [outcome for _, outcome in states] in (
        ["cleared", "repeated", ""],
        ["repeated", "cleared", ""],
    )


def test_a_dry_run_closes_nothing_and_its_rejections_are_not_open(rejected: SyncRun, sync: Sync) -> None:
    sync(dry_run=True)
    assert RejectedRecord.objects.open().count() == 3
    assert set(RejectedRecord.objects.open().values_list("run", flat=True)) == {rejected.pk}


def test_a_replay_goes_through_the_guards_and_its_approval_takes_the_same_records(
    rejected: SyncRun, feed: Feed, stream: Stream, load: Load, balance: Balance
) -> None:
    load(datasets={"aid_awards": feed.dataset(mapping=MENDED)}, guards={"max_student_change": "70"})
    asked = len(feed.requests)
    held = replayed(field="status")
    assert (held.status, balance(2)) == ("held", 0)
    run = approved(held)
    assert (run.status, run.created, len(feed.requests)) == ("applied", 2, asked)
    assert (balance(2), balance(3)) == (-10_000, -5_500)
    assert RejectedRecord.objects.open().count() == 1


def test_with_an_incremental_feed_a_replay_with_a_mended_mapping_makes_the_next_extract_complete(
    feed: Feed, load: Load, sync: Sync, stream: Stream
) -> None:
    incremental = {"param": "updated_since", "field": "updated_at"}
    load(datasets={"aid_awards": feed.dataset(incremental=incremental)})
    feed.awards = [award(1), award(2, state="BEZAHLT")]
    sync()
    mend_mapping(stream, MENDED)
    replayed(field="status")
    assert sync().is_complete


def test_what_was_cut_or_differs_from_its_copy_cannot_be_taken_again(feed: Feed, sync: Sync) -> None:
    feed.awards = [
        award(1, amount="1.00"),
        award(1, amount="2.00"),
        award(2, amount="x", padding="y" * 20_000),
    ]
    sync()
    with pytest.raises(Undecided, match="None of these records can be taken again"):
        replay_rejections(RejectedRecord.objects.all(), reason="try")


def test_nothing_is_replayed_twice(rejected: SyncRun, stream: Stream) -> None:
    mend_mapping(stream, MENDED)
    replayed(field="status")
    with pytest.raises(Undecided, match="settled already"):
        replayed(field="status")


def test_a_machine_replays_nothing_and_a_person_says_why(rejected: SyncRun) -> None:
    everything = RejectedRecord.objects.all()
    with pytest.raises(Undecided, match="Say why"):
        replay_rejections(everything, reason="")
    with acting(Actor(kind="worker", name="robot")), pytest.raises(Undecided, match="Only a person"):
        replay_rejections(everything, reason="x")


def test_a_trial_says_how_many_a_mapping_could_use_and_stores_nothing(
    rejected: SyncRun, stream: Stream, connection: Connection
) -> None:
    trial = try_mapping(stream, MENDED, RejectedRecord.objects.open())
    assert "Of the first 3, 3 can be used" in trial.message  # whether the term is there is for the run to say
    assert "1 can be used" in try_mapping(stream, MAPPING, RejectedRecord.objects.open()).message
    assert Stream.objects.get().mapping == stream.mapping
    assert RejectedRecord.objects.open().count() == 3


# --- the page ---------------------------------------------------------------------------------------------


def page_of(stream: Stream, end: str = "") -> str:
    return f"/admin/integrations/rejectedrecord/of/{stream.pk}/{end}"


def test_the_page_groups_by_reason_and_takes_a_group_again(
    rejected: SyncRun, stream: Stream, administrator: Client, balance: Balance
) -> None:
    assert page_of(stream) in administrator.get(rejected.get_absolute_url()).content.decode()
    page = administrator.get(page_of(stream)).content.decode()
    assert "There is no term 2027FA." in page
    assert page.index("Rule literal_error, field status") < page.index("Rule unknown_term")  # two before one
    mend_mapping(stream, MENDED)
    form = {"rule": "literal_error", "field": "status", "reason": "mended"}
    response = administrator.post(page_of(stream, "replay/"), form, follow=True)
    run = SyncRun.objects.get(trigger="replay")
    assert response.redirect_chain[0][0] == run.get_absolute_url()
    assert execute_run(run.pk).created == 2
    assert balance(3) == -5_500


def test_the_page_mends_the_mapping_in_place(
    rejected: SyncRun, stream: Stream, administrator: Client, balance: Balance
) -> None:
    mapping = orjson.dumps(MENDED).decode()
    tried = administrator.post(page_of(stream, "mapping/"), {"mapping": mapping, "try": "1"}).content.decode()
    assert "3 can be used" in tried
    assert Stream.objects.get().mapping == stream.mapping
    for bad in ("{", '{"award_id": "id"}', '{"award_id": "id", "nonsense": "x"}', "[1]"):
        page = administrator.post(page_of(stream, "mapping/"), {"mapping": bad, "save": "1"}).content.decode()
        assert "errorlist" in page
    administrator.post(page_of(stream, "mapping/"), {"mapping": mapping, "save": "1"}, follow=True)
    assert execute_run(SyncRun.objects.get(trigger="replay").pk).created == 2
    assert balance(2) == -10_000
    assert Connection.objects.get().changed_by == "ada"


def test_others_neither_see_nor_mend(
    rejected: SyncRun, stream: Stream, auditor: Client, advisor: Client
) -> None:
    for client in (auditor, advisor):
        assert client.get(page_of(stream)).status_code == 403
        for door in ("replay/", "mapping/"):
            assert client.post(page_of(stream, door), {"reason": "x", "mapping": "{}"}).status_code == 403
    assert RejectedRecord.objects.open().count() == 3
