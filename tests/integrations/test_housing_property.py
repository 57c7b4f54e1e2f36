"""Whatever a housing office and people do, and in whatever order: the bill is what the schedule says of the end."""

from __future__ import annotations

import contextlib
import datetime
from typing import Any

import pytest
import time_machine
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from audit.context import Actor, acting
from integrations.decisions import Undecided, undo_run
from integrations.models import Stream, SyncRun
from integrations.sync.verification import verify_ledger
from registration import operations
from registration.fees import FeeScope, found_differences
from registration.models import Enrollment, FeeChange, HousingAssignment, Section, Student, Term
from tests.integrations.conftest import sync_stream
from tests.integrations.rooms import HousingFeed, room
from tests.refusals import rolled_back
from tests.registration.bills import charged, end_stay, move_in, owed
from tests.university import make_schedules, make_section, make_students, make_terms

pytestmark = pytest.mark.django_db
STUDENTS = 2

# What the office writes into a record, and what else happens. Numbers choose a student, a record and days that pass.
events = st.tuples(
    st.sampled_from(
        ["write", "write", "write", "forget", "sync", "sync", "undo", "assess", "enroll", "drop", "by_hand", "end_by_hand"]
    ),
    st.integers(0, STUDENTS - 1),
    st.sampled_from(["assigned", "checked_in", "checked_out", "cancelled"]),
    st.sampled_from(["North Hall", "Riverside"]),
    st.booleans(),
    st.integers(0, 2),
    st.sampled_from([0, 0, 1, 6]),
)  # fmt: skip
Event = tuple[str, int, str, str, bool, int, int]


@pytest.fixture
def term(db: None) -> Term:
    fall, _ = make_terms()
    make_students(STUDENTS)
    make_schedules(fall)
    make_section(fall, capacity=9)
    return fall


@pytest.fixture
def stream(term: Term, office: HousingFeed) -> Stream:
    return office.connect()


def happen(office: HousingFeed, stream: Stream, term: Term, event: Event) -> None:
    """One event; one that is refused has not happened."""
    what, who, status, hall, on_campus, place, _ = event
    student, section = Student.objects.get(number=f"S{who + 1:07d}"), Section.objects.get()
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    written = room(
        who + 1,
        assignment_id=f"H{who}{place}",
        status=status,
        hall=hall,
        on_campus=on_campus,
        move_in_on=None if place else "2026-08-22",
        move_out_on=today if status == "checked_out" else None,
    )
    others = [each for each in office.rooms if each["assignment_id"] != written["assignment_id"]]
    acts: dict[str, Any] = {
        "write": lambda: setattr(office, "rooms", [*others, written]),
        "forget": lambda: setattr(office, "rooms", others),
        "sync": lambda: sync_stream(stream),
        "undo": lambda: undo_run(SyncRun.objects.filter(status="applied").latest("pk"), reason="wrong"),
        "assess": lambda: operations.assess_fees(term),
        "enroll": lambda: operations.enroll(student, section),
        "drop": lambda: operations.drop(Enrollment.objects.get(student=student)),
        "by_hand": lambda: move_in(student, term, hall="Guest House", on_campus=on_campus),
        "end_by_hand": lambda: end_stay(student, term, "checked_out"),
    }
    refusals = (operations.Refused, Undecided, Enrollment.DoesNotExist, SyncRun.DoesNotExist)
    with acting(Actor(kind="user", name="rita")), contextlib.suppress(*refusals):
        acts[what]()


@pytest.mark.parametrize("policy", ["source_wins", "local_wins"])
@examples(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(story=st.lists(events, max_size=16))
def test_the_bill_is_what_the_schedule_says_of_the_rooms_at_the_end(
    term: Term, office: HousingFeed, stream: Stream, policy: str, story: list[Event]
) -> None:
    office.rooms = []
    with rolled_back(), time_machine.travel(datetime.datetime(2026, 8, 25, 12, tzinfo=datetime.UTC)) as clock:
        type(stream.connection).objects.update(conflicts=policy)
        for event in story:
            clock.shift(datetime.timedelta(days=event[-1]))
            happen(office, stream, term, event)
            assert not SyncRun.objects.filter(status="failed").exists()
            rooms = HousingAssignment.objects.live().values_list("student", "term")
            assert len(rooms) == len(set(rooms))
            assert verify_ledger().faults == []
        operations.assess_fees(term)
        for change in FeeChange.objects.waiting():
            operations.approve_fee_change(change, reason="seen")
        for student in Student.objects.all():
            assert charged(student, term) == owed(student, term)
        assert found_differences(FeeScope([term.pk])) == []
        assert verify_ledger().faults == []
