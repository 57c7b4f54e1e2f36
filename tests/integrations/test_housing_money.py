"""A housing plan is guarded as money: the fees that it would change. And what it changed can be taken back."""

from __future__ import annotations

import json
from typing import Any

import pytest
import time_machine
from django.core.management import call_command
from django.test import Client

from audit.context import Actor, acting
from integrations.decisions import Undecided, undo_run
from integrations.models import Alert, Stream, SyncRun
from integrations.operations import save_connection
from integrations.sync.verification import verify_ledger
from registration.models import FeeChange, HousingAssignment, LedgerEntry, Student, Term
from registration.operations import record_assignment
from tests.integrations.conftest import SyncRooms, approved, sync_stream
from tests.integrations.rooms import HousingFeed, bill_everybody, hall_fee, room, stays
from tests.registration.bills import move_in, noon
from tests.university import HALL_FEE, make_students

STUDENTS, FLIPPED = 120, 11
# As a connection is by default, but for the first load.
GUARDED = {"first_load": "apply"}


def undo(run: SyncRun, **options: Any) -> SyncRun:
    with acting(Actor(kind="user", name="rita")):
        undone = undo_run(run, reason="wrong", **options)
    assert verify_ledger().faults == []
    return undone


@pytest.fixture
def full_hall(students: list[Student], terms: tuple[Term, Term], office: HousingFeed) -> Any:
    """A hundred and twenty students in their rooms, on a connection that is guarded as usual; yields its stream."""
    make_students(STUDENTS - len(students))
    with time_machine.travel(noon(8, 25)):
        bill_everybody(terms[0])
        stream = office.connect(guards=GUARDED)
        office.rooms = [room(number) for number in range(1, STUDENTS + 1)]
        assert sync_stream(stream).status == "applied"
        yield stream


def flip(office: HousingFeed, count: int = FLIPPED) -> None:
    for each in office.rooms[:count]:
        each["on_campus"] = False


# --- guards -----------------------------------------------------------------------------------------------


def test_on_campus_flipped_for_nine_percent_is_held_with_the_money_and_decided_by_a_person(
    office: HousingFeed, full_hall: Stream, administrator: Client
) -> None:
    flip(office)
    run = sync_stream(full_hall)
    assert run.status == "held"
    assert run.reason == ("It would modify 11 of 120 live records (9.2%); the limit is 5% and 10 records.")
    assert sum(run.changes.values_list("moved", flat=True)) == FLIPPED * HALL_FEE
    assert LedgerEntry.objects.live().filter(code="HALL-FEE").count() == STUDENTS
    page = administrator.get(run.get_absolute_url()).content.decode()
    assert "This plan would move 1,099.89 USD for 11 students" in page
    assert "moves 99.99 USD" in page
    done = approved(run)
    assert (done.status, done.modified) == ("applied", FLIPPED)
    assert LedgerEntry.objects.live().filter(code="HALL-FEE").count() == STUDENTS - FLIPPED
    assert verify_ledger().faults == []


def test_five_percent_or_ten_records_are_nothing_out_of_the_ordinary(
    office: HousingFeed, full_hall: Stream
) -> None:
    flip(office, 10)
    assert sync_stream(full_hall).status == "applied"


def test_a_dry_run_says_what_money_it_would_move_and_moves_none(
    office: HousingFeed, full_hall: Stream, capsys: pytest.CaptureFixture[str]
) -> None:
    flip(office, 2)
    before = list(LedgerEntry.objects.order_by("pk").values())
    rows = list(HousingAssignment.objects.order_by("pk").values())
    call_command("sync", "housing", "--dry-run", "--json")
    said = json.loads(capsys.readouterr().out)
    assert (said["status"], said["planned"]["modified"], said["planned"]["moved"]) == (
        "previewed",
        2,
        "199.98",
    )
    assert list(LedgerEntry.objects.order_by("pk").values()) == before
    assert list(HousingAssignment.objects.order_by("pk").values()) == rows


def test_the_fees_of_one_student_are_guarded_too(office: HousingFeed, full_hall: Stream) -> None:
    save_connection(office.document(guards={**GUARDED, "max_student_change": "50"}))
    flip(office, 1)
    run = sync_stream(full_hall)
    assert run.status == "held"
    assert "It would move 99.99 USD for a single student" in run.reason


def test_the_gross_change_is_a_share_of_the_fees_of_those_who_have_rooms(
    office: HousingFeed, full_hall: Stream
) -> None:
    # 120 bills of 1,861.99: one percent is 2,234.39, and 25 hall fees are more than that.
    limits = {"max_gross_change": "1", "max_gross_change_share": 0.01, "max_modified_share": 1}
    save_connection(office.document(guards={**GUARDED, **limits}))
    flip(office, 22)
    assert sync_stream(full_hall).status == "applied"
    for each in office.rooms[22:47]:
        each["on_campus"] = False
    run = sync_stream(full_hall)
    assert run.status == "held"
    assert "It would move 2,499.75 USD, swaps counted on both sides" in run.reason


def test_the_first_load_is_held_like_any_first_load_of_money(office: HousingFeed, fall: Term) -> None:
    stream = office.connect(guards={})
    office.rooms = [room(1)]
    run = sync_stream(stream)
    assert (run.status, run.trips[0]["guard"]) == ("held", "first_load")
    assert run.changes.get().moved == HALL_FEE


def test_a_move_between_halls_on_campus_moves_no_money(office: HousingFeed, sync_rooms: SyncRooms) -> None:
    office.rooms = [room(1)]
    sync_rooms()
    office.rooms = [
        room(1, status="checked_out", move_out_on="2026-08-24"),
        room(1, assignment_id="H9001", hall="Riverside", move_in_on="2026-08-24"),
    ]
    run = sync_rooms()
    assert list(run.changes.values_list("moved", flat=True)) == [0, 0]


def test_without_the_part_that_tripped_nobody_loses_one_room_and_gets_none(
    office: HousingFeed, full_hall: Stream
) -> None:
    """The end of the old room is a modification and trips; the new one does not: they stay together."""
    for each in list(office.rooms[:FLIPPED]):
        each |= {"status": "checked_out", "move_out_on": "2026-08-24"}
        office.rooms.append({**each, "assignment_id": f"N{each['assignment_id']}", "hall": "Riverside",
                             "status": "checked_in", "move_in_on": "2026-08-24", "move_out_on": None})  # fmt: skip
    office.rooms.append(room(STUDENTS, assignment_id="H9999", status="cancelled"))
    held = sync_stream(full_hall)
    assert held.status == "held"
    done = approved(held, withhold=True)
    assert (done.status, done.created, done.modified) == ("applied", 0, 0)
    assert stays(1) == [("North Hall 101", "checked_in", "")]
    assert hall_fee(1) == HALL_FEE


# --- undo -------------------------------------------------------------------------------------------------


def test_undo_of_a_flip_restores_rooms_and_fees(office: HousingFeed, sync_rooms: SyncRooms) -> None:
    office.rooms = [room(1), room(2)]
    sync_rooms()
    office.rooms = [room(1, on_campus=False), room(2, on_campus=False)]
    run = sync_rooms()
    assert hall_fee(1) == 0
    undo(run)
    assert (hall_fee(1), hall_fee(2)) == (HALL_FEE, HALL_FEE)
    assert HousingAssignment.objects.filter(on_campus=True).count() == 2
    assert sync_rooms().modified == 0  # the source still says it, and is ignored
    assert hall_fee(1) == HALL_FEE


def test_undo_of_a_first_load_leaves_nobody_in_a_room(office: HousingFeed, sync_rooms: SyncRooms) -> None:
    office.rooms = [room(1), room(2)]
    undo(sync_rooms())
    assert not HousingAssignment.objects.live().exists()
    assert hall_fee(1) == 0


def test_undo_of_a_move_goes_back_to_the_room_and_the_new_one_never_was(
    office: HousingFeed, sync_rooms: SyncRooms
) -> None:
    office.rooms = [room(1)]
    sync_rooms()
    office.rooms = [room(1, hall="Elsewhere", on_campus=False, move_in_on="2026-08-24")]
    moved = sync_rooms()
    assert hall_fee(1) == 0
    undone = undo(moved)
    assert stays(1) == [("North Hall 101", "checked_in", ""), ("Elsewhere 101", "cancelled", "")]
    assert hall_fee(1) == HALL_FEE
    undo(undone)
    assert stays(1)[0] == ("North Hall 101", "checked_out", "2026-08-24")
    assert hall_fee(1) == 0


def test_undo_of_a_cancellation_brings_back_every_room_that_went_with_it(
    office: HousingFeed, sync_rooms: SyncRooms
) -> None:
    office.rooms = [room(1)]
    sync_rooms()
    with time_machine.travel(noon(9, 20)):
        office.rooms = [room(1, hall="Elsewhere", on_campus=False)]
        sync_rooms()
        assert not FeeChange.objects.exists()  # on campus beyond the census: the fees stand
        office.rooms = [room(1, status="cancelled")]
        cancelled = sync_rooms()
        assert [status for _, status, _ in stays(1)] == ["cancelled", "cancelled"]
        change = FeeChange.objects.waiting().get()
        assert change.after_minor - change.before_minor == -HALL_FEE
        undo(cancelled)
        assert stays(1) == [
            ("North Hall 101", "checked_out", "2026-09-20"),
            ("Elsewhere 101", "checked_in", ""),
        ]
        assert not FeeChange.objects.waiting().exists()
    assert hall_fee(1) == HALL_FEE


def test_undo_leaves_what_a_person_has_edited_and_rooms_that_would_be_second_ones(
    office: HousingFeed, sync_rooms: SyncRooms, fall: Term
) -> None:
    office.rooms = [room(1), room(2), room(3)]
    sync_rooms()
    office.rooms = [room(number, status="cancelled") for number in (1, 2)] + [room(3, room="303")]
    run = sync_rooms()
    move_in(Student.objects.get(number="S0000001"), fall, hall="Guest House")
    edited = HousingAssignment.objects.live().get(student__number="S0000003")
    edited.on_campus = False
    record_assignment(edited)
    undo(run)
    assert [stays(number)[-1][:2] for number in (1, 2, 3)] == [
        ("Guest House 12", "assigned"),
        ("North Hall 102", "checked_in"),
        ("North Hall 303", "checked_in"),
    ]


def test_half_of_a_move_is_not_undone(office: HousingFeed, sync_rooms: SyncRooms) -> None:
    office.rooms = [room(1)]
    sync_rooms()
    office.rooms = [
        room(1, status="checked_out", move_out_on="2026-08-24"),
        room(1, assignment_id="H9001", hall="Riverside", move_in_on="2026-08-24"),
    ]
    run = sync_rooms()
    end_of_the_old = run.changes.get(action="modify").pk
    with pytest.raises(Undecided, match="another room"):
        undo(run, only=[end_of_the_old])
    undo(run)
    assert stays(1) == [("North Hall 101", "checked_in", ""), ("Riverside 101", "cancelled", "")]


# --- edits by hand ----------------------------------------------------------------------------------------


def correct(number: int, **changes: Any) -> None:
    """A person corrects the room of a student."""
    row = HousingAssignment.objects.live().get(student__number=f"S{number:07d}")
    for name, value in changes.items():
        setattr(row, name, value)
    with acting(Actor(kind="user", name="ada")):
        record_assignment(row)


@pytest.mark.parametrize(
    ("policy", "status", "fee"),
    [("hold", "held", 0), ("source_wins", "applied", HALL_FEE), ("local_wins", "applied", 0)],
)
@pytest.mark.parametrize(
    "edit", [{"on_campus": False}, {"hall": "Elsewhere", "on_campus": False}], ids=["corrected", "moved"]
)
def test_an_edit_by_hand_that_the_source_contradicts_goes_by_the_connections_rule(
    office: HousingFeed, fall: Term, policy: str, status: str, fee: int, edit: dict[str, Any]
) -> None:
    stream = office.connect(conflicts=policy)
    office.rooms = [room(1)]
    sync_stream(stream)
    correct(1, **edit)
    assert hall_fee(1) == 0
    run = sync_stream(stream)
    assert run.status == status
    assert hall_fee(1) == fee
    assert verify_ledger().faults == []
    assert sync_stream(stream).status == status
    assert hall_fee(1) == fee
    assert HousingAssignment.objects.live().count() == 1


def test_a_held_conflict_shows_both_rooms_and_the_edit_can_be_kept(
    office: HousingFeed, housing: Stream, administrator: Client
) -> None:
    office.rooms = [room(1)]
    sync_stream(housing)
    correct(1, hall="Elsewhere", on_campus=False)
    run = sync_stream(housing)
    page = administrator.get(run.get_absolute_url()).content.decode()
    assert "Elsewhere 101, checked in, off campus" in page
    assert "North Hall 101, checked in, on campus" in page
    approved(run, keep=[run.changes.get().pk])
    assert hall_fee(1) == 0
    assert sync_stream(housing).status == "applied"


# --- failures ---------------------------------------------------------------------------------------------


def test_a_failing_housing_feed_alerts_at_once(
    office: HousingFeed, housing: Stream, administrator: Client, mailoutbox: list[Any]
) -> None:
    """INT-002: within the hour; the mail goes with the command that failed."""
    office.status = 500
    with pytest.raises(SystemExit):
        call_command("sync", "housing", "--json")
    alert = Alert.objects.open().get()
    assert (alert.title, alert.stream) == ("The office housing: failed", housing)
    assert [mail.subject for mail in mailoutbox] == [
        mail.subject for mail in mailoutbox if "housing" in mail.subject
    ]
    assert len(mailoutbox) == 1
    office.status = 200
    call_command("sync", "housing", "--json")
    assert not Alert.objects.open().exists()


# --- what is seen -----------------------------------------------------------------------------------------


def test_a_run_page_shows_no_contact(office: HousingFeed, housing: Stream, administrator: Client) -> None:
    office.rooms = [room(1)]
    sync_stream(housing)
    office.rooms = [room(1, emergency_contact_phone="555-0777", residence_address="2 Campus Way")]
    run = sync_stream(housing)
    page = administrator.get(run.get_absolute_url()).content.decode()
    assert "emergency contact phone" in page
    assert "••••" in page
    assert not any(secret in page for secret in ("555-0777", "555-0199", "Campus Way", "Grace"))


def test_the_profile_says_where_a_student_lives_since_when_and_which_fee_that_is(
    office: HousingFeed, housing: Stream, administrator: Client, advisor: Client
) -> None:
    office.rooms = [room(1)]
    run = sync_stream(housing)
    student = Student.objects.get(number="S0000001")
    for client in (administrator, advisor):
        page = client.get(f"/admin/registration/student/{student.pk}/change/").content.decode()
        assert "North Hall 101" in page
        assert f"run {run.pk}" in page
        assert page.count('on campus since <span class="day">2026-08-22</span>') == page.count(
            "schedule 2026FA on campus"
        )
        assert "on campus since" in page
        assert not any(secret in page for secret in ("555-0199", "Campus Way", "Grace Okafor"))


def test_the_student_command_tells_the_rooms_and_no_contact(
    office: HousingFeed, housing: Stream, capsys: pytest.CaptureFixture[str]
) -> None:
    office.rooms = [room(1)]
    run = sync_stream(housing)
    call_command("student", "S0000001", "--json")
    said = capsys.readouterr().out
    assert json.loads(said)["housing"] == [
        {
            "assignment": "H0001",
            "term": "2026FA",
            "hall": "North Hall",
            "room": "101",
            "status": "checked_in",
            "on_campus": True,
            "move_in_on": "2026-08-22",
            "move_out_on": None,
            "run": run.pk,
        }
    ]
    assert "555-0199" not in said
