"""What each kind of award means for a student's bill."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from integrations.models import Connection
from integrations.operations import save_connection
from integrations.sync.verification import verify_ledger
from registration.models import BillingAccount, Enrollment, LedgerEntry, Student
from registration.models.billing import AccountTotals
from tests.integrations.conftest import Balance, Ledger, Load, Sync, approved, sync_stream
from tests.integrations.feed import MAPPING, TOKEN, Feed, award, fund
from tests.university import make_students


def totals(number: int = 1) -> AccountTotals:
    return BillingAccount.objects.get(student__number=f"S{number:07d}").totals()


# --- status -----------------------------------------------------------------------------------------------


def test_an_offered_award_is_read_and_changes_nothing_on_the_bill(
    feed: Feed, sync: Sync, ledger: Ledger
) -> None:
    feed.awards = [award(1, state="offered")]
    run = sync()
    assert (run.status, run.read, run.created) == ("applied", 1, 1)
    assert ledger(1) == []


def test_an_accepted_award_is_anticipated_and_stands_beside_the_balance(feed: Feed, sync: Sync) -> None:
    feed.awards = [award(1, state="accepted", amount="75.25")]
    sync()
    assert (totals().anticipated_aid, totals().posted_aid, totals().balance) == (7_525, 0, 0)


def test_a_disbursed_award_is_posted_and_lowers_the_balance(feed: Feed, sync: Sync) -> None:
    feed.awards = [award(1, amount="75.25")]
    sync()
    assert (totals().anticipated_aid, totals().posted_aid, totals().balance) == (0, 7_525, -7_525)


def test_an_award_first_seen_cancelled_leaves_no_trace_and_counts_as_unchanged(
    feed: Feed, sync: Sync, ledger: Ledger
) -> None:
    feed.awards = [award(1, state="cancelled")]
    for _ in range(2):
        run = sync()
        assert (run.status, run.read, run.unchanged, run.voided, run.live_after) == ("applied", 1, 1, 0, 0)
    assert ledger(1) == []


def test_a_cancelled_award_voids_what_stood_there_and_nothing_is_deleted(
    feed: Feed, sync: Sync, ledger: Ledger
) -> None:
    feed.awards = [award(1)]
    sync()
    feed.awards = [award(1, state="cancelled")]
    run = sync()
    assert (run.voided, run.absent) == (1, 0)
    assert ledger(1) == [("aid", "void", 10_000)]
    entry = LedgerEntry.objects.get()
    assert entry.voided_run == run.pk
    assert entry.voided_at is not None
    assert str(run.pk) in entry.void_reason


def test_accepted_becoming_disbursed_voids_the_anticipated_entry_and_posts_a_new_one(
    feed: Feed, sync: Sync, ledger: Ledger
) -> None:
    feed.awards = [award(1, state="accepted")]
    sync()
    feed.awards = [award(1, state="disbursed")]
    run = sync()
    assert run.modified == 1
    assert ledger(1) == [("aid", "void", 10_000), ("aid", "posted", 10_000)]
    assert totals().anticipated_aid == 0


@pytest.mark.parametrize("earlier", ["accepted", "disbursed"])
def test_an_award_that_goes_back_to_offered_leaves_the_bill(
    feed: Feed, sync: Sync, ledger: Ledger, earlier: str
) -> None:
    feed.awards = [award(1, state=earlier)]
    sync()
    feed.awards = [award(1, state="offered")]
    run = sync()
    assert run.modified == 1
    assert ledger(1) == [("aid", "void", 10_000)]
    feed.awards = [award(1, state="disbursed")]
    sync()
    assert ledger(1) == [("aid", "void", 10_000), ("aid", "posted", 10_000)]


def test_an_unknown_status_is_rejected_by_itself(feed: Feed, sync: Sync, balance: Balance) -> None:
    feed.awards = [award(1, state="perhaps"), award(2)]
    run = sync()
    assert (run.status, run.rejected, run.created) == ("applied", 1, 1)
    rejection = run.rejections.get()
    assert (rejection.key, rejection.field) == ("A0001#1", "status")
    assert (balance(1), balance(2)) == (0, -10_000)


# --- kinds of fund ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["grant", "scholarship", "loan", "waiver"])
def test_every_fund_type_but_work_study_posts(feed: Feed, sync: Sync, ledger: Ledger, kind: str) -> None:
    feed.awards = [award(1, fund=fund(kind))]
    sync()
    assert ledger(1) == [("aid", "posted", 10_000)]


@pytest.mark.parametrize("state", ["offered", "accepted", "disbursed"])
def test_work_study_never_posts(feed: Feed, sync: Sync, ledger: Ledger, state: str) -> None:
    feed.awards = [award(1, fund=fund("work_study"), state=state)]
    run = sync()
    assert (run.status, run.created) == ("applied", 1)
    assert ledger(1) == []


def test_an_award_that_becomes_work_study_leaves_the_bill_and_back(
    feed: Feed, sync: Sync, ledger: Ledger
) -> None:
    feed.awards = [award(1)]
    sync()
    feed.awards = [award(1, fund=fund("work_study"))]
    assert sync().modified == 1
    assert ledger(1) == [("aid", "void", 10_000)]
    feed.awards = [award(1)]
    assert sync().modified == 1
    assert ledger(1) == [("aid", "void", 10_000), ("aid", "posted", 10_000)]


@pytest.mark.parametrize("unnamed", [{"code": "PELL"}, fund(None)])
def test_an_award_without_a_fund_type_posts_like_a_grant(
    feed: Feed, sync: Sync, ledger: Ledger, unnamed: dict[str, Any]
) -> None:
    feed.awards = [award(1, fund=unnamed)]
    sync()
    assert ledger(1) == [("aid", "posted", 10_000)]


def test_an_unknown_fund_type_is_rejected(feed: Feed, sync: Sync, ledger: Ledger) -> None:
    feed.awards = [award(1, fund=fund("lottery"))]
    assert sync().rejections.get().field == "fund_type"
    assert ledger(1) == []


# --- amounts ----------------------------------------------------------------------------------------------


def test_a_negative_disbursed_amount_is_an_adjustment_that_raises_the_balance(
    feed: Feed, sync: Sync, ledger: Ledger
) -> None:
    feed.awards = [award(1, amount="500.00"), award(2, student={"number": "S0000001"}, amount="-120.50")]
    run = sync()
    assert ledger(1) == [("aid", "posted", 50_000), ("adjustment", "posted", 12_050)]
    assert (totals().posted_aid, totals().balance) == (37_950, -37_950)
    assert run.certificate["sums"]["created"] == 37_950
    assert LedgerEntry.objects.get(kind="adjustment").adjusts == "aid"


def test_aid_returned_in_full_leaves_nothing_on_the_balance(feed: Feed, sync: Sync) -> None:
    feed.awards = [award(1), award(1, disbursement=2, amount="-100.00")]
    sync()
    assert (totals().posted_aid, totals().balance) == (0, 0)


def test_an_amount_that_turns_negative_voids_the_aid_and_posts_an_adjustment(
    feed: Feed, sync: Sync, ledger: Ledger
) -> None:
    feed.awards = [award(1)]
    sync()
    feed.awards = [award(1, amount="-100.00")]
    assert sync().modified == 1
    assert ledger(1) == [("aid", "void", 10_000), ("adjustment", "posted", 10_000)]
    assert totals().balance == 10_000
    assert verify_ledger().faults == []


def test_a_negative_accepted_amount_lowers_what_is_anticipated(feed: Feed, sync: Sync) -> None:
    feed.awards = [
        award(1, state="accepted"),
        award(1, disbursement=2, state="accepted", amount="-30.00"),
    ]
    sync()
    assert (totals().anticipated_aid, totals().balance) == (7_000, 0)


@pytest.mark.parametrize("nothing", ["0", "0.00", 0, 0.0, "-0.00"])
def test_an_amount_of_zero_posts_nothing_and_later_becomes_an_entry(
    feed: Feed, sync: Sync, ledger: Ledger, nothing: object
) -> None:
    feed.awards = [award(1, amount=nothing)]
    run = sync()
    assert (run.status, run.created) == ("applied", 1)
    assert ledger(1) == []
    feed.awards = [award(1, amount="10.00")]
    assert sync().modified == 1
    assert ledger(1) == [("aid", "posted", 1_000)]


# --- keys -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unnamed", [{"disbursement": None}, {}])
def test_the_disbursement_number_is_1_where_the_feed_names_none(
    feed: Feed, sync: Sync, unnamed: dict[str, Any]
) -> None:
    record = award(1)
    del record["disbursement"]
    feed.awards = [record | unnamed]
    assert sync().changes.get().key == "A0001#1"
    feed.awards = [award(1, disbursement=1)]
    assert sync().unchanged == 1


def test_each_disbursement_of_an_award_is_a_record_of_its_own(feed: Feed, sync: Sync, ledger: Ledger) -> None:
    feed.awards = [award(1, disbursement=1), award(1, disbursement=2, amount="60.00")]
    sync()
    feed.awards = [award(1, disbursement=1)]
    run = sync()
    assert (run.unchanged, run.absent) == (1, 1)
    assert ledger(1) == [("aid", "posted", 10_000), ("aid", "void", 6_000)]


@pytest.mark.parametrize("number", [-1, 10_000, "two", 1.5, True, [1], {"a": 1}])
def test_a_disbursement_number_that_is_none_is_rejected(feed: Feed, sync: Sync, number: object) -> None:
    feed.awards = [award(1, disbursement=number), award(2)]
    run = sync()
    assert (run.rejected, run.created) == (1, 1)
    assert run.rejections.get().field == "disbursement_number"


def test_a_number_as_award_id_is_the_same_as_its_text(feed: Feed, sync: Sync) -> None:
    feed.awards = [award(1, id=4711)]
    assert sync().changes.get().key == "4711#1"
    feed.awards = [award(1, id="4711")]
    assert sync().unchanged == 1


def test_two_connections_with_the_same_award_ids_do_not_touch_each_other(
    feed: Feed, connection: Connection, ledger: Ledger
) -> None:
    other, _ = save_connection(feed.document(slug="state-aid", name="State aid"))
    streams = connection.streams.get(), other.streams.get()
    feed.awards = [award(1)]
    for stream in streams:
        assert sync_stream(stream).created == 1
    assert ledger(1) == [("aid", "posted", 10_000)] * 2
    feed.awards = []
    run = approved(sync_stream(streams[1]))
    assert run.absent == 1
    assert ledger(1) == [("aid", "posted", 10_000), ("aid", "void", 10_000)]
    feed.awards = [award(1)]
    assert sync_stream(streams[0]).unchanged == 1
    assert verify_ledger().faults == []


# --- whom and when ----------------------------------------------------------------------------------------


def test_aid_posts_though_the_student_is_enrolled_in_nothing(feed: Feed, sync: Sync, ledger: Ledger) -> None:
    assert not Enrollment.objects.exists()
    feed.awards = [award(1)]
    sync()
    assert ledger(1) == [("aid", "posted", 10_000)]


@pytest.mark.parametrize("status", ["leave", "withdrawn", "graduated"])
def test_aid_posts_whatever_the_student_is_doing(feed: Feed, sync: Sync, ledger: Ledger, status: str) -> None:
    Student.objects.filter(number="S0000001").update(status=status)
    feed.awards = [award(1)]
    sync()
    assert ledger(1) == [("aid", "posted", 10_000)]


def test_an_award_that_moves_to_another_student_leaves_the_first_ones_bill(
    feed: Feed, sync: Sync, balance: Balance
) -> None:
    feed.awards = [award(1)]
    sync()
    feed.awards = [award(1, student={"number": "S0000002"})]
    assert sync().modified == 1
    assert (balance(1), balance(2)) == (0, -10_000)
    assert verify_ledger().faults == []


def test_the_entry_carries_term_fund_day_and_the_change_that_posted_it(feed: Feed, sync: Sync) -> None:
    feed.awards = [award(1, term="2027SP", fund=fund("loan", code="DL"), paid_on="2027-01-15")]
    run = sync()
    entry = LedgerEntry.objects.select_related("term").get()
    assert (entry.term.code, entry.code, entry.description) == ("2027SP", "DL", "The DL fund")
    assert entry.effective_on == datetime.date(2027, 1, 15)
    assert (entry.posted_run, entry.posted_change) == (run.pk, run.changes.get().pk)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"student": {"number": "S9999999"}}, "unknown_student"),
        ({"student": None}, "missing"),
        ({"term": "1999XX"}, "unknown_term"),
        ({"term": None}, "missing"),
        ({"fund": None}, "missing"),
    ],
)
def test_what_an_award_refers_to_must_be_there(
    feed: Feed, sync: Sync, balance: Balance, changes: dict[str, Any], rule: str
) -> None:
    feed.awards = [award(1, **changes), award(2)]
    run = sync()
    assert (run.status, run.rejected, run.created) == ("applied", 1, 1)
    assert run.rejections.get().rule == rule
    assert balance(2) == -10_000


def test_a_student_without_a_billing_account_is_named_in_the_rejection(feed: Feed, sync: Sync) -> None:
    BillingAccount.objects.filter(student__number="S0000001").delete()
    feed.awards = [award(1), award(2)]
    run = sync()
    assert (run.status, run.created) == ("applied", 1)
    rejection = run.rejections.get()
    assert rejection.rule == "no_billing_account"
    assert "S0000001" in rejection.reason


def test_only_when_the_source_touched_it_says_nothing_about_the_money(feed: Feed, sync: Sync) -> None:
    feed.awards = [award(1)]
    sync()
    feed.awards = [award(1, updated_at="2026-10-10T10:00:00Z")]
    run = sync()
    assert (run.unchanged, run.modified) == (1, 0)
    assert not run.changes.exists()


# --- currency ---------------------------------------------------------------------------------------------


def test_an_award_without_a_currency_is_in_the_installations(feed: Feed, load: Load, sync: Sync) -> None:
    load(datasets={"aid_awards": feed.dataset(mapping={**MAPPING, "currency": "currency"})})
    feed.awards = [award(1), award(2, currency=None), award(3, currency="USD")]
    assert sync().created == 3
    assert set(LedgerEntry.objects.values_list("currency", flat=True)) == {"USD"}


@pytest.mark.parametrize("currency", ["EUR", "usd", "US", 1, True, ["USD"]])
def test_an_award_in_another_currency_is_rejected(
    feed: Feed, load: Load, sync: Sync, currency: object
) -> None:
    load(datasets={"aid_awards": feed.dataset(mapping={**MAPPING, "currency": "currency"})})
    feed.awards = [award(1, currency=currency), award(2, currency="USD")]
    run = sync()
    assert (run.rejected, run.created) == (1, 1)
    assert run.rejections.get().field == "currency"


def test_an_account_kept_in_another_currency_takes_no_award(feed: Feed, sync: Sync, ledger: Ledger) -> None:
    make_students(1, currency="EUR")
    feed.awards = [award(13), award(1)]
    run = sync()
    assert (run.rejected, run.created) == (1, 1)
    assert run.rejections.get().rule == "account_in_other_currency"
    assert ledger(13) == []


def test_an_installation_of_another_currency_counts_in_its_minor_units(
    feed: Feed, sync: Sync, settings: Any
) -> None:
    settings.CURRENCY = "JPY"
    BillingAccount.objects.update(currency="JPY")
    feed.awards = [award(1, amount="5000"), award(2, amount="5000.5")]
    run = sync()
    assert (run.created, run.rejected) == (1, 1)
    assert totals().posted_aid == 5_000
    assert LedgerEntry.objects.get().currency == "JPY"


def test_every_way_to_sign_a_request_is_sent_as_declared(feed: Feed, load: Load, sync: Sync) -> None:
    feed.awards = [award(1)]
    ways: list[tuple[dict[str, Any], tuple[str, str] | None]] = [
        ({"type": "bearer", "token": TOKEN}, ("Authorization", f"Bearer {TOKEN}")),
        ({"type": "api_key", "key": "k-1"}, ("X-API-Key", "k-1")),
        ({"type": "api_key", "key": "k-2", "name": "X-Key"}, ("X-Key", "k-2")),
        # "ädmin:p:äss" in UTF-8 and base64 (RFC 7617).
        (
            {"type": "basic", "username": "ädmin", "password": "p:äss"},
            ("Authorization", "Basic w6RkbWluOnA6w6Rzcw=="),
        ),
        ({"type": "none"}, None),
    ]
    for auth, header in ways:
        load(auth=auth)
        feed.header = header
        assert sync().status == "applied", auth
    assert "Authorization" not in feed.requests[-1].headers


def test_an_api_key_in_the_query_is_sent_there_and_nowhere_else(feed: Feed, load: Load, sync: Sync) -> None:
    load(auth={"type": "api_key", "key": "k&y=1", "in": "query", "name": "key"})
    feed.header = None
    feed.awards = [award(1)]
    assert sync().status == "applied"
    assert {request.args.get("key") for request in feed.requests} == {"k&y=1"}
    assert not any("k&y=1" in str(request.headers) for request in feed.requests)


def test_headers_and_parameters_of_the_document_are_sent_with_every_page(
    feed: Feed, load: Load, sync: Sync
) -> None:
    load(
        headers={"X-College-ID": "12345"},
        datasets={"aid_awards": feed.dataset(params={"year": 2026, "kind": "a&b"})},
    )
    feed.page_size = 1
    feed.awards = [award(1), award(2)]
    assert sync().status == "applied"
    assert len(feed.requests) == 3
    for request in feed.requests:
        assert request.headers["X-College-ID"] == "12345"
        assert (request.args["year"], request.args["kind"]) == ("2026", "a&b")
