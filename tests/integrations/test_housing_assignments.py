"""What each housing record means for a student's rooms and, with them, for the bill."""

from __future__ import annotations

import datetime
import itertools
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import Group, Permission
from django.urls import reverse
from pytest_django.fixtures import Settings
from pytest_httpserver import HTTPServer

from audit.models import AuditEvent
from integrations.models import Stream
from integrations.sync import runner
from integrations.sync.plan import weigh_plan
from integrations.sync.verification import verify_ledger
from registration import operations
from registration.models import FeeChange, HousingAssignment, Student, Term
from registration.signals import housing_changed
from tests.integrations.conftest import SyncRooms, signed_in, sync_stream
from tests.integrations.rooms import HousingFeed, hall_fee, room, stays
from tests.registration.bills import charged, move_in, noon, owed
from tests.university import HALL_FEE, make_schedules, make_section


def first_rejection(run: Any) -> tuple[str, str, str]:
    rejected = run.rejections.get()
    return rejected.key, rejected.rule, rejected.reason


# --- statuses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["assigned", "checked_in"])
def test_a_room_on_campus_is_kept_and_the_fees_follow(
    office: HousingFeed, sync_rooms: SyncRooms, status: str
) -> None:
    office.rooms = [room(1, status=status)]
    run = sync_rooms()
    assert (run.status, run.created) == ("applied", 1)
    assert stays(1) == [("North Hall 101", status, "")]
    assert (hall_fee(1), hall_fee(2)) == (HALL_FEE, 0)
    row = HousingAssignment.objects.get()
    assert (row.recorded_run, row.reference, row.move_in_on) == (run.pk, "H0001", datetime.date(2026, 8, 22))
    assert (row.residence_address, row.emergency_contact_relation) == ("1 Campus Way", "mother")


def test_a_second_sync_changes_nothing(office: HousingFeed, sync_rooms: SyncRooms) -> None:
    office.rooms = [room(1), room(2, on_campus=False)]
    sync_rooms()
    rows = list(HousingAssignment.objects.values())
    run = sync_rooms()
    assert (run.unchanged, run.created, run.modified) == (2, 0, 0)
    assert list(HousingAssignment.objects.values()) == rows
    assert (hall_fee(1), hall_fee(2)) == (HALL_FEE, 0)


@pytest.mark.parametrize(("left_on", "fee"), [("2026-09-11", 0), ("2026-09-12", HALL_FEE)])
def test_whoever_moves_out_by_the_census_day_lives_off_campus(
    office: HousingFeed, sync_rooms: SyncRooms, left_on: str, fee: int
) -> None:
    office.rooms = [room(1)]
    sync_rooms()
    office.rooms = [room(1, status="checked_out", move_out_on=left_on)]
    sync_rooms()
    assert stays(1) == [("North Hall 101", "checked_out", left_on)]
    assert hall_fee(1) == fee


def test_who_is_checked_out_without_a_day_is_rejected_and_the_room_stands(
    office: HousingFeed, sync_rooms: SyncRooms
) -> None:
    office.rooms = [room(1)]
    sync_rooms()
    office.rooms = [room(1, status="checked_out")]
    run = sync_rooms()
    key, rule, reason = first_rejection(run)
    assert (key, rule) == ("H0001", "move_out_missing")
    assert "it decides the fees" in reason
    assert stays(1) == [("North Hall 101", "checked_in", "")]
    assert hall_fee(1) == HALL_FEE


def test_who_moves_out_before_moving_in_is_rejected(office: HousingFeed, sync_rooms: SyncRooms) -> None:
    office.rooms = [room(1, status="checked_out", move_out_on="2026-08-01")]
    assert first_rejection(sync_rooms())[1] == "moved_out_before_in"


def test_a_cancelled_record_cancels_whatever_its_days_say(office: HousingFeed, sync_rooms: SyncRooms) -> None:
    office.rooms = [room(1)]
    sync_rooms()
    office.rooms = [room(1, status="cancelled", move_out_on="2026-01-01")]
    run = sync_rooms()
    assert (run.voided, run.rejected) == (1, 0)
    assert stays(1) == [("North Hall 101", "cancelled", "")]
    assert hall_fee(1) == 0


def test_a_record_first_seen_cancelled_leaves_no_trace(office: HousingFeed, sync_rooms: SyncRooms) -> None:
    office.rooms = [room(1, status="cancelled")]
    run = sync_rooms()
    assert (run.unchanged, run.created) == (1, 0)
    assert not HousingAssignment.objects.exists()


def test_a_cancelled_record_that_comes_back_is_a_room_again(
    office: HousingFeed, sync_rooms: SyncRooms
) -> None:
    for status in ("assigned", "cancelled", "assigned"):
        office.rooms = [room(1, status=status)]
        sync_rooms()
    assert [status for _, status, _ in stays(1)] == ["cancelled", "assigned"]
    assert hall_fee(1) == HALL_FEE


def test_absence_cancels_a_kept_room_and_leaves_history_alone(
    office: HousingFeed, sync_rooms: SyncRooms
) -> None:
    office.rooms = [room(1), room(2, status="checked_out", move_out_on="2026-09-20"), room(3)]
    sync_rooms()
    office.rooms = [room(3)]
    run = sync_rooms()
    assert run.absent == 1
    assert [stays(number)[0][1] for number in (1, 2, 3)] == ["cancelled", "checked_out", "checked_in"]
    assert [hall_fee(number) for number in (1, 2, 3)] == [0, HALL_FEE, HALL_FEE]


# --- moves ------------------------------------------------------------------------------------------------


def test_a_move_in_the_same_record_ends_one_row_and_begins_another(
    office: HousingFeed, sync_rooms: SyncRooms
) -> None:
    office.rooms = [room(1)]
    sync_rooms()
    office.rooms = [room(1, hall="Riverside", room="9", move_in_on="2026-08-24")]
    run = sync_rooms()
    assert (run.modified, run.created) == (1, 0)
    assert stays(1) == [("North Hall 101", "checked_out", "2026-08-24"), ("Riverside 9", "checked_in", "")]
    begun = HousingAssignment.objects.live().get()
    assert begun.moved_from == HousingAssignment.objects.get(hall="North Hall")
    assert hall_fee(1) == HALL_FEE


def test_a_move_that_does_not_say_when_is_of_the_day_on_which_it_is_noticed(
    office: HousingFeed, sync_rooms: SyncRooms
) -> None:
    office.rooms = [room(1)]
    sync_rooms()
    office.rooms = [room(1, room="9")]  # with the day on which the student first came
    with time_machine.travel(noon(10, 3)):
        sync_rooms()
    assert stays(1)[0] == ("North Hall 101", "checked_out", "2026-10-03")
    assert HousingAssignment.objects.live().get().move_in_on == datetime.date(2026, 10, 3)


def test_a_mid_term_hall_change_as_two_records_is_history_and_one_live_room(
    office: HousingFeed, sync_rooms: SyncRooms
) -> None:
    office.rooms = [room(1)]
    sync_rooms()
    moved_on = "2026-10-03"
    office.rooms = [
        room(1, status="checked_out", move_out_on=moved_on),
        room(1, assignment_id="H9001", hall="Riverside", move_in_on=moved_on),
    ]
    with time_machine.travel(noon(10, 3)):
        run = sync_rooms()
    assert (run.rejected, run.created, run.modified) == (0, 1, 1)
    assert stays(1) == [("North Hall 101", "checked_out", moved_on), ("Riverside 101", "checked_in", "")]
    assert hall_fee(1) == HALL_FEE
    assert not FeeChange.objects.exists()


def test_a_room_that_becomes_another_students_never_was_the_first_ones(
    office: HousingFeed, sync_rooms: SyncRooms
) -> None:
    office.rooms = [room(1)]
    sync_rooms()
    office.rooms = [room(1, student_number="S0000002")]
    sync_rooms()
    assert (stays(1)[0][1], stays(2)[0][1]) == ("cancelled", "checked_in")
    assert (hall_fee(1), hall_fee(2)) == (0, HALL_FEE)


@pytest.mark.parametrize("order", list(itertools.permutations(["on", "off", "assess"])))
@pytest.mark.parametrize("past_census", [False, True], ids=["by the census", "after it"])
def test_moves_on_and_off_campus_in_each_order_around_assessment_and_census(
    students: list[Student],
    terms: tuple[Term, Term],
    office: HousingFeed,
    order: tuple[str, ...],
    past_census: bool,
) -> None:
    fall = terms[0]
    make_schedules(fall)
    with time_machine.travel(noon(8, 25)) as clock:
        student = students[0]
        operations.enroll(student, make_section(fall))
        stream = office.connect()
        for place, event in enumerate(order):
            clock.move_to(noon(9, 20 + place) if past_census else noon(8, 26 + place))
            if event == "assess":
                operations.assess_fees(fall)
            else:
                office.rooms = [room(1, on_campus=event == "on", updated_at=f"2026-09-2{place}T00:00:00Z")]
                sync_stream(stream)
            assert verify_ledger().faults == []
        for change in FeeChange.objects.waiting():
            operations.approve_fee_change(change, reason="seen")
        bill = charged(student, fall)
        assert bill == owed(student, fall)
        ends_on_campus = order.index("on") > order.index("off")
        assert bill.get("HALL-FEE", 0) == (HALL_FEE if ends_on_campus else 0)
        assert verify_ledger().faults == []


def test_after_the_census_a_change_of_fees_waits_for_a_person(
    office: HousingFeed, sync_rooms: SyncRooms
) -> None:
    with time_machine.travel(noon(9, 12)):
        office.rooms = [room(1)]
        run = sync_rooms()
    change = FeeChange.objects.waiting().get()
    assert change.after_minor - change.before_minor == HALL_FEE
    assert change.why == f"Housing, run {run.pk}."
    assert charged(change.student, change.term).get("HALL-FEE") is None


# --- one room -----------------------------------------------------------------------------------------------


def test_of_two_systems_the_room_that_stands_counts_and_the_other_says_why_not(
    office: HousingFeed, sync_rooms: SyncRooms, httpserver: HTTPServer
) -> None:
    office.rooms = [room(1)]
    sync_rooms()
    other = HousingFeed(
        httpserver, "village", [room(1, assignment_id="V1", hall="The Village", on_campus=False)]
    )
    stream = other.connect()
    for _ in range(2):
        run = sync_stream(stream)
        assert run.status == "applied"
        key, rule, reason = first_rejection(run)
        assert (key, rule) == ("V1", "another_room")
        assert "North Hall 101 in 2026FA already (checked in, H0001 of The office housing)" in reason
    assert hall_fee(1) == HALL_FEE
    office.rooms = [room(1, status="checked_out", move_out_on="2026-08-25")]
    sync_rooms()
    assert sync_stream(stream).created == 1
    assert stays(1)[-1] == ("The Village 101", "checked_in", "")
    assert hall_fee(1) == 0
    assert verify_ledger().faults == []


def test_a_room_that_a_person_has_given_counts_before_a_feed(
    office: HousingFeed, sync_rooms: SyncRooms, fall: Term
) -> None:
    move_in(Student.objects.get(number="S0000001"), fall, hall="Guest House", on_campus=False)
    office.rooms = [room(1)]
    assert "Guest House 12 in 2026FA already (assigned, recorded by" in first_rejection(sync_rooms())[2]
    assert hall_fee(1) == 0


@pytest.mark.parametrize(
    ("one", "two", "counts", "why"),
    [
        ({"status": "assigned"}, {"status": "checked_in"}, 2, "the student has checked in to it"),
        ({"status": "checked_in"}, {"status": "assigned"}, 1, "the student has checked in to it"),
        ({}, {"move_in_on": "2026-08-24"}, 2, "it begins later"),
        ({}, {}, 2, "its id is the later one"),
    ],
)
@pytest.mark.parametrize("turned", [False, True], ids=["as listed", "turned round"])
def test_of_two_rooms_of_one_feed_one_counts_by_a_rule_that_is_said(
    office: HousingFeed,
    sync_rooms: SyncRooms,
    one: dict[str, Any],
    two: dict[str, Any],
    counts: int,
    why: str,
    turned: bool,
) -> None:
    rooms = [room(1, assignment_id="A1", room="1", **one), room(1, assignment_id="A2", room="2", **two)]
    office.rooms = rooms[::-1] if turned else rooms
    run = sync_rooms()
    assert (run.status, run.created, run.rejected) == ("applied", 1, 1)
    assert HousingAssignment.objects.get().reference == f"A{counts}"
    assert why in first_rejection(run)[2]


def test_the_room_that_stands_counts_before_one_that_the_feed_adds(
    office: HousingFeed, sync_rooms: SyncRooms
) -> None:
    office.rooms = [room(1, status="assigned")]
    sync_rooms()
    second = room(1, assignment_id="H9001", hall="Riverside", move_in_on="2026-09-01")
    office.rooms = [room(1, status="assigned", residence_phone="555-0000"), second]
    run = sync_rooms()
    assert first_rejection(run)[0] == "H9001"
    assert "it stands already" in first_rejection(run)[2]
    assert stays(1) == [("North Hall 101", "assigned", "")]
    office.rooms = [second]  # the first one is gone from the feed
    assert (sync_rooms().created, stays(1)[-1][1]) == (1, "checked_in")


def test_a_room_given_while_a_run_was_planned_fails_the_run_and_is_not_lost(
    office: HousingFeed, housing: Stream, fall: Term, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.rooms = [room(1), room(2)]
    weigh = weigh_plan

    def weigh_while_somebody_works(run: Any) -> None:
        weigh(run)
        move_in(Student.objects.get(number="S0000001"), fall, hall="Guest House")

    monkeypatch.setattr(runner, "weigh_plan", weigh_while_somebody_works)
    run = sync_stream(housing)
    assert (run.status, run.reason) == (
        "failed",
        "Somebody was given another room since this was planned. Nothing was changed; sync again.",
    )
    assert (stays(1), stays(2)) == ([("Guest House 12", "assigned", "")], [])
    monkeypatch.setattr(runner, "weigh_plan", weigh)
    assert (sync_stream(housing).created, stays(2)[0][1]) == (1, "checked_in")


# --- days and halls ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("moment", "fee"), [("2026-09-12T03:59:00Z", 0), ("2026-09-12T04:01:00Z", HALL_FEE)])
def test_a_moment_at_midnight_is_of_the_day_where_the_institution_is(
    settings: Settings, office: HousingFeed, fall: Term, moment: str, fee: int
) -> None:
    settings.TIME_ZONE = "America/New_York"
    document = office.document()
    mapping = document["datasets"]["housing_assignments"]["mapping"]
    mapping["move_out_on"] = {"path": "move_out_on", "transforms": ["local_date"]}
    stream = office.connect(datasets=document["datasets"])
    office.rooms = [room(1, status="checked_out", move_out_on=moment)]
    sync_stream(stream)
    assert hall_fee(1) == fee


def test_a_move_that_is_noticed_at_midnight_is_of_the_day_where_the_institution_is(
    settings: Settings, office: HousingFeed, sync_rooms: SyncRooms
) -> None:
    settings.TIME_ZONE = "America/New_York"
    office.rooms = [room(1)]
    sync_rooms()
    office.rooms = [room(1, hall="Elsewhere", on_campus=False)]
    with time_machine.travel(datetime.datetime(2026, 9, 12, 3, 59, tzinfo=datetime.UTC)):
        sync_rooms()  # the evening of the census day
    assert stays(1)[0][2] == "2026-09-11"
    assert hall_fee(1) == 0


def test_a_moment_without_an_offset_is_no_day(office: HousingFeed, fall: Term) -> None:
    document = office.document()
    mapping = document["datasets"]["housing_assignments"]["mapping"]
    mapping["move_in_on"] = {"path": "move_in_on", "transforms": ["local_date"]}
    stream = office.connect(datasets=document["datasets"])
    office.rooms = [room(1, move_in_on="2026-08-22T23:30:00")]
    assert "is no moment with its offset" in first_rejection(sync_stream(stream))[2]


def test_leap_days_count_like_other_days(office: HousingFeed, sync_rooms: SyncRooms) -> None:
    Term.objects.create(
        code="2028SP", name="Spring 2028", starts_on=datetime.date(2028, 1, 10),
        ends_on=datetime.date(2028, 5, 12), census_on=datetime.date(2028, 2, 29),
    )  # fmt: skip
    days = {"1": "2028-02-29", "2": "2028-03-01"}
    office.rooms = [
        room(int(number), term_code="2028SP", status="checked_out", move_in_on="2028-02-29", move_out_on=day)
        for number, day in days.items()
    ] + [room(3, term_code="2028SP", move_in_on="2027-02-29")]
    run = sync_rooms()
    assert (run.created, run.rejected) == (2, 1)
    on_campus = HousingAssignment.objects.on_campus().values_list("student__number", flat=True)
    assert list(on_campus) == ["S0000002"]  # whoever left on the 29th, the census day, is off campus


def test_a_hall_that_was_never_heard_of_is_on_campus_unless_the_record_says_otherwise(
    office: HousingFeed, sync_rooms: SyncRooms
) -> None:
    office.rooms = [
        room(1, hall="New Hall", on_campus=None),
        room(2, hall="New Hall", on_campus=False),
        room(3, hall=None),
        room(4, hall=" "),
    ]
    run = sync_rooms()
    assert (run.created, run.rejected) == (2, 2)
    assert [rejected.field for rejected in run.rejections.all()] == ["hall", "hall"]
    assert [hall_fee(number) for number in (1, 2, 3, 4)] == [HALL_FEE, 0, 0, 0]


def test_a_student_with_no_assignment_is_billed_as_living_off_campus(
    office: HousingFeed, sync_rooms: SyncRooms
) -> None:
    office.rooms = [room(1)]
    sync_rooms()
    assert hall_fee(12) == 0
    assert stays(12) == []


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"student_number": "S9999999"}, "unknown_student"),
        ({"term_code": "202610"}, "unknown_term"),
        ({"status": "InRoom"}, "literal_error"),
        ({"on_campus": "perhaps"}, "bool_type"),
        ({"room": None}, "missing"),
        ({"assignment_id": "x" * 65}, "string_too_long"),
    ],
)
def test_what_cannot_be_used_is_rejected_alone(
    office: HousingFeed, sync_rooms: SyncRooms, changes: dict[str, Any], rule: str
) -> None:
    office.rooms = [room(1, **changes), room(2)]
    run = sync_rooms()
    assert (run.created, first_rejection(run)[1]) == (1, rule)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("12 Campus Way\r\nNorth Hall\n\n Springfield ", "12 Campus Way, North Hall, Springfield"),
        ("12 Campus\tWay\r", "12 Campus Way"),
        (" \r\n\t", ""),
    ],
)
def test_an_address_in_lines_is_kept_on_one(
    office: HousingFeed, sync_rooms: SyncRooms, written: str, kept: str
) -> None:
    office.rooms = [room(1, residence_address=written)]
    assert sync_rooms().created == 1
    assert HousingAssignment.objects.get().residence_address == kept


def test_a_character_that_no_address_has_rejects_the_record(
    office: HousingFeed, sync_rooms: SyncRooms
) -> None:
    office.rooms = [room(1, residence_address="12\x00Campus Way"), room(2)]
    run = sync_rooms()
    assert run.created == 1
    assert "control character" in run.rejections.get().reason


@pytest.mark.parametrize("sees", [True, False])
def test_a_rejected_record_shows_contacts_to_those_alone_who_may_look_at_them(
    office: HousingFeed, sync_rooms: SyncRooms, sees: bool
) -> None:
    office.rooms = [room(1, status="InRoom", emergency_contact_name="Canary Okafor"), room(2)]
    run = sync_rooms()
    rejected = run.rejections.get()
    client = signed_in("rita", role="Administrator")
    if not sees:
        contact = Permission.objects.get(codename="view_contact_housingassignment")
        Group.objects.get(name="Administrator").permissions.remove(contact)
    pages = [
        run.get_absolute_url(),
        reverse("admin:integrations_rejectedrecord_change", args=[rejected.pk]),
        reverse("admin:integrations_rejectedrecord_of_stream", args=[run.stream_id]),
    ]
    for page in pages:
        answer = client.get(page)
        assert answer.status_code == 200
        assert ("Canary Okafor" in answer.content.decode()) == sees, page
    looks = AuditEvent.objects.filter(action__in=["syncrun.viewed", "rejectedrecord.viewed"])
    assert looks.count() == len(pages)


def test_a_test_of_the_connection_shows_that_there_is_a_contact_and_not_which(
    office: HousingFeed, students: list[Student]
) -> None:
    stream = office.connect()
    office.rooms = [room(1, emergency_contact_name="Canary Okafor")]
    client = signed_in("rita", role="Administrator")
    page = client.post(
        reverse("admin:integrations_connection_test", args=[stream.connection_id])
    ).content.decode()
    assert "North Hall" in page
    assert "Canary Okafor" not in page
    assert "••••" in page


# --- what is told -----------------------------------------------------------------------------------------


def test_one_signal_and_one_event_tell_of_a_whole_run(office: HousingFeed, sync_rooms: SyncRooms) -> None:
    told: list[list[int]] = []

    def hear(sender: object, run: int | None, students: list[int], **kwargs: object) -> None:
        told.append(students)

    housing_changed.connect(hear)
    try:
        office.rooms = [room(number) for number in range(1, 6)]
        run = sync_rooms()
    finally:
        housing_changed.disconnect(hear)
    assert [len(students) for students in told] == [5]
    actions = list(AuditEvent.objects.filter(subject_id=str(run.pk)).values_list("action", flat=True))
    assert actions.count("sync_run.applied") == 1
    followed = AuditEvent.objects.get(action="fees.followed")
    assert followed.detail["posted"] == 5
