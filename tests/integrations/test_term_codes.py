"""What other systems call a term is said by administrators, by code and by day, and used for every dataset."""

from __future__ import annotations

import datetime
import itertools
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse

from audit.models import AuditEvent
from integrations.datasets.rejection import Rejected
from integrations.datasets.terms import TermCodes
from integrations.models import Connection, Stream, TermCode
from integrations.sync import runner
from integrations.sync.plan import make_plan
from integrations.term_codes import Ambiguous, check_term_code, delete_term_code, save_term_code
from registration.models import HousingAssignment, Term
from tests.integrations.conftest import Ledger, Sync, SyncRooms, signed_in, sync_stream
from tests.integrations.feed import Feed, award
from tests.integrations.rooms import HousingFeed, hall_fee, room
from tests.refusals import rolled_back
from tests.university import HALL_FEE

Day = datetime.date | None
AUGUST, OCTOBER, MARCH = datetime.date(2026, 8, 22), datetime.date(2026, 10, 3), datetime.date(2027, 3, 1)


def keep(
    connection: Connection, code: str, term: str, from_on: Day = None, through_on: Day = None
) -> TermCode:
    """Say what a code stands for, as an administrator does."""
    return save_term_code(
        TermCode(
            connection=connection,
            code=code,
            term=Term.objects.get(code=term),
            from_on=from_on,
            through_on=through_on,
        )
    )


# --- what is meant ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "day", "term"),
    [
        ("202610", AUGUST, "2026FA"),
        ("202610", None, "2026FA"),
        ("FALL", AUGUST, "2026FA"),
        ("SPRING", MARCH, "2027SP"),
        ("2026FA", AUGUST, "2026FA"),  # our own code
        ("2027SP", MARCH, "2026FA"),  # our own code, but somebody has said otherwise
        ("whatever", MARCH, "2027SP"),  # by its day alone
    ],
)
def test_a_code_means_what_is_kept_of_it_then_our_own_term_then_its_day(
    connection: Connection, code: str, day: Day, term: str
) -> None:
    first, last = datetime.date(2026, 7, 1), datetime.date(2026, 12, 31)
    keep(connection, "202610", "2026FA")
    keep(connection, "FALL", "2026FA", first, last)
    keep(connection, "SPRING", "2026FA", first, last)
    keep(connection, "SPRING", "2027SP", datetime.date(2027, 1, 1))
    keep(connection, "2027SP", "2026FA")
    keep(connection, "", "2027SP", datetime.date(2027, 1, 1), datetime.date(2027, 6, 30))
    assert TermCodes.of(connection).resolve(code, day) == term


@pytest.mark.parametrize(("code", "day"), [("FALL", MARCH), ("FALL", None), ("202710", AUGUST)])
def test_a_code_that_nobody_has_explained_says_what_to_do(
    connection: Connection, code: str, day: Day
) -> None:
    keep(connection, "FALL", "2026FA", datetime.date(2026, 7, 1), datetime.date(2026, 12, 31))
    with pytest.raises(Rejected) as caught:
        TermCodes.of(connection).resolve(code, day)
    assert (caught.value.rejection.rule, caught.value.rejection.value) == ("unknown_term", code)
    assert "Say under Term codes" in caught.value.rejection.reason


def test_the_days_of_one_beside_all_days_of_another_count_first(connection: Connection) -> None:
    keep(connection, "X", "2026FA")
    keep(connection, "X", "2027SP", datetime.date(2027, 1, 1))
    codes = TermCodes.of(connection)
    assert [codes.resolve("X", day) for day in (AUGUST, MARCH, None)] == ["2026FA", "2027SP", "2026FA"]


_ENDS: tuple[Day, ...] = (None, AUGUST, OCTOBER, MARCH)


Days = tuple[Day, Day]


def in_order(days: Days) -> bool:
    return days[0] is None or days[1] is None or days[0] <= days[1]


def share_a_day(one: Days, two: Days) -> bool:
    low, high = datetime.date.min, datetime.date.max
    return max(one[0] or low, two[0] or low) <= min(one[1] or high, two[1] or high)


def test_no_record_can_be_of_two_terms(connection: Connection) -> None:
    """Whatever days two codes have: the second is refused exactly when some day would be of both, one for all days
    aside."""
    possible = [days for days in itertools.product(_ENDS, _ENDS) if in_order(days)]
    fall, spring = Term.objects.order_by("starts_on")
    for one, two in itertools.product(possible, possible):
        with rolled_back():
            keep(connection, "X", fall.code, *one)
            second = TermCode(connection=connection, code="X", term=spring, from_on=two[0], through_on=two[1])
            try:
                check_term_code(second)
                refused = False
            except Ambiguous:
                refused = True
            one_is_for_all_days = (one == (None, None)) != (two == (None, None))
            assert refused == (share_a_day(one, two) and not one_is_for_all_days), (one, two)


def test_days_out_of_order_are_refused(connection: Connection) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        keep(connection, "X", "2026FA", OCTOBER, AUGUST)


# --- on the road ------------------------------------------------------------------------------------------


def test_awards_of_an_unknown_term_are_taken_once_somebody_says_what_it_is(
    feed: Feed, sync: Sync, connection: Connection, ledger: Ledger
) -> None:
    feed.awards = [award(1, term="202610"), award(2)]
    run = sync()
    rejected = run.rejections.get()
    assert (run.created, rejected.rule, rejected.value) == (1, "unknown_term", "202610")
    keep(connection, "202610", "2026FA")
    run = sync()
    assert (run.created, run.rejected, run.unchanged) == (1, 0, 1)
    assert ledger(1) == [("aid", "posted", 10_000)]
    assert (run.changes.get().after or {})["term_code"] == "2026FA"


def test_a_code_that_comes_to_mean_another_term_moves_what_is_known_already(
    office: HousingFeed, housing: Stream
) -> None:
    code = keep(housing.connection, "F", "2026FA")
    office.rooms = [room(1, term_code="F")]
    sync_stream(housing)
    assert hall_fee(1) == HALL_FEE
    code.term = Term.objects.get(code="2027SP")
    save_term_code(code)
    assert sync_stream(housing).modified == 1
    assert hall_fee(1) == 0
    assert HousingAssignment.objects.live().get().term.code == "2027SP"


def test_a_code_that_is_forgotten_rejects_and_voids_nothing(office: HousingFeed, housing: Stream) -> None:
    code = keep(housing.connection, "F", "2026FA")
    office.rooms = [room(1, term_code="F")]
    sync_stream(housing)
    delete_term_code(code)
    run = sync_stream(housing)
    assert (run.rejected, run.voided) == (1, 0)
    assert hall_fee(1) == HALL_FEE


def test_a_run_that_read_with_other_codes_does_not_count(
    office: HousingFeed, housing: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan

    def plan_while_somebody_works(*args: Any) -> Any:
        keep(Connection.objects.get(slug="housing"), "F", "2026FA")
        return plan(*args)

    monkeypatch.setattr(runner, "make_plan", plan_while_somebody_works)
    office.rooms = [room(1)]
    run = sync_stream(housing)
    assert (run.status, "connection was changed" in run.reason) == ("failed", True)


def test_terms_of_other_connections_are_their_own(
    office: HousingFeed, sync_rooms: SyncRooms, feed: Feed
) -> None:
    keep(Connection.objects.get(slug="housing"), "F", "2026FA")
    assert TermCodes.of(Connection(pk=0)).meanings == {}


# --- by administrators ------------------------------------------------------------------------------------


def test_from_a_rejection_it_is_one_click_to_say_what_its_term_is(
    feed: Feed, sync: Sync, connection: Connection, administrator: Client
) -> None:
    feed.awards = [award(1, term="20 26&10")]
    run = sync()
    address = f"{reverse('admin:integrations_termcode_add')}?connection={connection.pk}&amp;code=20%2026%2610"
    for page in (
        run.get_absolute_url(),
        reverse("admin:integrations_rejectedrecord_of_stream", args=[run.stream_id]),
    ):
        assert address in administrator.get(page).content.decode()
    form = administrator.get(address.replace("&amp;", "&")).context["adminform"].form
    assert (form["code"].value(), str(form["connection"].value())) == ("20 26&10", str(connection.pk))
    posted = {"connection": connection.pk, "code": "20 26&10", "term": Term.objects.get(code="2026FA").pk}
    answer = administrator.post(reverse("admin:integrations_termcode_add"), posted, follow=True)
    page = answer.content.decode()
    assert "1 rejected record may now be used" in page
    assert reverse("admin:integrations_rejectedrecord_of_stream", args=[run.stream_id]) in page
    event = AuditEvent.objects.get(action="term_code.created")
    assert event.detail == {"connection": "financial-aid", "code": "20 26&10", "term": "2026FA"}
    assert TermCode.objects.get().changed_by == "ada"


def test_changing_and_deleting_leave_events_and_days_that_meet_are_refused_in_words(
    connection: Connection, administrator: Client
) -> None:
    kept = keep(connection, "F", "2026FA")
    posted = {"connection": connection.pk, "code": "F", "term": Term.objects.get(code="2027SP").pk}
    page = administrator.post(reverse("admin:integrations_termcode_add"), posted).content.decode()
    assert "Some records would be of two terms: F stands for Fall 2026 already." in page
    change = reverse("admin:integrations_termcode_change", args=[kept.pk])
    administrator.post(change, posted)
    administrator.post(reverse("admin:integrations_termcode_delete", args=[kept.pk]), {"post": "yes"})
    actions = AuditEvent.objects.filter(action__startswith="term_code").order_by("pk")
    assert [event.action for event in actions] == [
        "term_code.created", "term_code.changed", "term_code.deleted",
    ]  # fmt: skip
    assert not TermCode.objects.exists()


@pytest.mark.parametrize(("role", "status"), [("Auditor", 200), ("Advisor", 403), ("Principal", 403)])
def test_only_administrators_change_them(db: None, role: str, status: int) -> None:
    client = signed_in("somebody", role=role)
    assert client.get(reverse("admin:integrations_termcode_changelist")).status_code == status
    assert client.get(reverse("admin:integrations_termcode_add")).status_code == 403


def test_the_database_refuses_a_code_that_is_for_nothing(connection: Connection) -> None:
    code = TermCode(connection=connection, term=Term.objects.get(code="2026FA"), changed_by="ada")
    with pytest.raises(ValidationError, match="Give a code"):
        code.full_clean()
