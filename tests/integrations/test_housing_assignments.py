"""What each housing record means for a student's rooms and, with them, for the bill."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import time_machine
from pytest_httpserver import HTTPServer

from audit.context import Actor, acting
from integrations.decisions import undo_run
from integrations.models import Stream, SyncRun
from integrations.sync.verification import verify_ledger
from registration import operations
from registration.models import FeeChange, HousingAssignment, Section, Student, Term
from tests.integrations.conftest import sync_stream
from tests.integrations.rooms import HousingFeed, room, stays
from tests.registration.bills import charged, noon, owed
from tests.university import HALL_FEE, make_schedules, make_section

Housing = Callable[[], SyncRun]


@pytest.fixture
def office(httpserver: HTTPServer) -> HousingFeed:
    return HousingFeed(httpserver)


@pytest.fixture
def fall(students: list[Student], terms: tuple[Term, Term]) -> Iterator[Term]:
    """Fall with its schedules; every student holds a seat and is assessed, and it is the first week."""
    make_schedules(terms[0])
    section: Section = make_section(terms[0], capacity=20)
    with time_machine.travel(noon(8, 25)):
        for student in students:
            operations.enroll(student, section)
        operations.assess_fees(terms[0])
        yield terms[0]


@pytest.fixture
def housing(fall: Term, office: HousingFeed) -> Stream:
    return office.connect()


@pytest.fixture
def sync_rooms(housing: Stream) -> Housing:
    """Sync the office, and see that bills are what schedules say, whatever happened."""

    def run() -> SyncRun:
        done = sync_stream(housing)
        assert verify_ledger().faults == []
        return done

    return run


def hall_fee(number: int = 1) -> int:
    """What the student is charged for living on campus."""
    student = Student.objects.get(number=f"S{number:07d}")
    bill = charged(student, Term.objects.get(code="2026FA"))
    assert bill == owed(student, Term.objects.get(code="2026FA"))
    return bill.get("HALL-FEE", 0)


def undo(run: SyncRun, **options: Any) -> SyncRun:
    with acting(Actor(kind="user", name="rita")):
        return undo_run(run, reason="wrong", **options)


# --- statuses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["assigned", "checked_in"])
def test_a_room_on_campus_is_kept_and_the_fees_follow(
    office: HousingFeed, sync_rooms: Housing, status: str
) -> None:
    office.rooms = [room(1, status=status)]
    run = sync_rooms()
    assert (run.status, run.created) == ("applied", 1)
    assert stays(1) == [("North Hall 101", status, "")]
    assert (hall_fee(1), hall_fee(2)) == (HALL_FEE, 0)
    row = HousingAssignment.objects.get()
    assert (row.recorded_run, row.reference, row.move_in_on) == (run.pk, "H0001", datetime.date(2026, 8, 22))


def test_a_move_in_the_same_record_ends_one_row_and_begins_another(
    office: HousingFeed, sync_rooms: Housing
) -> None:
    office.rooms = [room(1)]
    sync_rooms()
    office.rooms = [room(1, hall="Riverside", room="9", move_in_on="2026-08-24")]
    run = sync_rooms()
    assert (run.modified, run.created) == (1, 0)
    assert stays(1) == [("North Hall 101", "checked_out", "2026-08-24"), ("Riverside 9", "checked_in", "")]
    assert hall_fee(1) == HALL_FEE


def test_a_cancelled_record_takes_every_room_it_ever_had_with_it_and_undo_brings_them_back(
    office: HousingFeed, sync_rooms: Housing, fall: Term
) -> None:
    office.rooms = [room(1)]
    sync_rooms()
    with time_machine.travel(noon(9, 20)):
        office.rooms = [room(1, hall="Elsewhere", on_campus=False)]
        sync_rooms()
        assert not FeeChange.objects.exists()  # on campus through the census: the fees stand
        office.rooms = [room(1, status="cancelled")]
        cancelled = sync_rooms()
        assert [status for _, status, _ in stays(1)] == ["cancelled", "cancelled"]
        assert FeeChange.objects.waiting().get().after_minor == 0
        undo(cancelled)
        assert stays(1) == [
            ("North Hall 101", "checked_out", "2026-09-20"),
            ("Elsewhere 101", "checked_in", ""),
        ]
        assert not FeeChange.objects.waiting().exists()
    assert hall_fee(1) == HALL_FEE
