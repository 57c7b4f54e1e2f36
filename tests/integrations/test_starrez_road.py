"""From a simulated StarRez to rooms and bills: the whole road over real HTTP, and every way in which it may fail."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from typing import Any, Final

import pytest
import time_machine
from django.test import Client
from django.urls import reverse

from audit.models import AuditEvent
from integrations.documents import DocumentRefused, document_of
from integrations.models import Connection, LoggedRequest, SyncRun
from integrations.operations import save_connection, try_connection
from integrations.simulators.faults import FAULTS
from integrations.simulators.starrez import TOKEN, USERNAME
from integrations.simulators.starrez_tables import LOCATIONS, OFF_CAMPUS_LOCATION
from integrations.sync.verification import verify_ledger
from integrations.transports.line import ConnectionLine
from registration import operations
from registration.models import HousingAssignment, Section, Student, Term
from tests.integrations.conftest import sync_stream
from tests.integrations.feed import UNGUARDED
from tests.integrations.rooms import stays
from tests.integrations.simulated import Simulated, simulated
from tests.integrations.starrez import DATASET, SETTINGS, starrez_document
from tests.registration.bills import charged, noon, owed
from tests.university import HALL_FEE, make_schedules, make_section

RECORDS: Final = 30  # twelve students: everybody's autumn and spring, and six later bookings
OURS: Final = {"InRoom": "checked_in", "Reserved": "assigned", "History": "checked_out"}


@pytest.fixture
def office(students: list[Student]) -> Iterator[Simulated]:
    with simulated("starrez", records=RECORDS) as office:
        save_connection(starrez_document(office, guards=UNGUARDED))
        yield office


def sync() -> SyncRun:
    return sync_stream(Connection.objects.get().streams.get())


def rooms() -> set[tuple[str, str, str, str, bool]]:
    """Every assignment that is not cancelled: whose, in which hall and room, and how it stands."""
    rows = HousingAssignment.objects.exclude(status="cancelled")
    return set(rows.values_list("student__number", "hall", "room", "status", "on_campus"))


def bookings(office: Simulated) -> set[tuple[str, str, str, str, bool]]:
    """The same, as the campus has it, whatever goes wrong with saying it."""
    system: Any = office.system
    spaces = {row["RoomSpaceID"]: row["Description"] for row in system.tables["RoomSpace"]}
    numbers = {row["EntryID"]: row["ID1"] for row in system.tables["entry"]}
    return {
        (
            numbers[row["EntryID"]],
            LOCATIONS[row["RoomLocationID"] - 1],
            spaces[row["RoomSpaceID"]],
            OURS[row["EntryStatusEnum"]],
            row["RoomLocationID"] != OFF_CAMPUS_LOCATION,
        )
        for row in office.source
        if row["EntryStatusEnum"] in OURS
    }


# --- the road ---------------------------------------------------------------------------------------------


def test_every_booking_stands_as_a_room_and_a_second_sync_changes_nothing(office: Simulated) -> None:
    run = sync()
    assert (run.status, run.read, run.rejected) == ("applied", RECORDS, 0), run.reason
    assert rooms() == bookings(office) != set()
    again = sync()
    assert (again.status, again.created, again.modified, again.voided) == ("applied", 0, 0, 0)
    assert again.asked_since.startswith("2026-")
    assert 0 < again.read < RECORDS  # what the overlap brings once more


def test_who_moved_within_the_term_has_both_rooms_and_lives_in_the_later_one(office: Simulated) -> None:
    sync()
    history = [status for _, status, _ in stays(4)]
    assert history.count("checked_out") == 1
    live = HousingAssignment.objects.live().get(student__number="S0000004", term__code="2026FA")
    assert str(live.move_in_on) == "2026-10-10"


def test_contacts_are_kept_masked_and_come_from_the_address_of_their_type(office: Simulated) -> None:
    sync()
    row = HousingAssignment.objects.live().filter(student__number="S0000001").first()
    assert row is not None
    assert (row.emergency_contact_name, row.emergency_contact_relation) == ("Parent of 1", "Parent")
    assert row.residence_phone == "+1 555 0200"
    assert "Springfield" in row.residence_address


def test_fees_follow_a_booking_and_its_end(office: Simulated, terms: tuple[Term, Term]) -> None:
    fall = terms[0]
    make_schedules(fall)
    section: Section = make_section(fall, capacity=20)
    student = Student.objects.get(number="S0000001")
    with time_machine.travel(noon(8, 25)):
        operations.enroll(student, section)
        operations.assess_fees(fall)
        office.edit(0, EntryStatusEnum="InRoom", RoomLocationID=1)
        sync()
        assert charged(student, fall).get("HALL-FEE") == HALL_FEE
        office.edit(0, EntryStatusEnum="Cancelled", DateModified="2026-09-01T11:00:00")
        cancelled = sync()
        assert (cancelled.modified, cancelled.voided) == (0, 1)
        assert "HALL-FEE" not in charged(student, fall)
    assert charged(student, fall) == owed(student, fall)
    assert verify_ledger().faults == []


def test_only_what_was_changed_is_asked_for_and_a_deleted_booking_shows_in_the_whole(
    office: Simulated,
) -> None:
    sync()
    office.edit(1, RoomSpaceID=2, RoomLocationID=1, DateModified="2026-11-05T12:00:00.5")
    changed = sync()
    assert (changed.modified, changed.created, changed.voided) == (1, 0, 0)
    assert rooms() == bookings(office) | {_ended(row) for row in rooms() - bookings(office)}
    office.records.pop(0)
    assert sync().voided == 0  # what is gone shows in no feed of changes
    stream = Connection.objects.get().streams.get()
    stream.watermark = ""
    stream.save(update_fields=["watermark"])
    gone = sync()
    assert (gone.status, gone.voided) == ("applied", 1)


def _ended(row: tuple[str, str, str, str, bool]) -> tuple[str, str, str, str, bool]:
    """A room that was moved out of."""
    return row[0], row[1], row[2], "checked_out", row[4]


def test_a_booking_of_no_known_student_is_rejected_and_asked_for_again_until_it_can_be_used(
    office: Simulated,
) -> None:
    system: Any = office.system
    system.tables["entry"][0]["ID1"] = "nobody"
    run = sync()
    assert run.rejected == 3  # of all three bookings
    assert all("nobody" in rejected.reason for rejected in run.rejections.all())
    system.tables["entry"][0]["ID1"] = "S0000001"
    assert (sync().rejected, rooms()) == (0, bookings(office))


# --- what goes wrong --------------------------------------------------------------------------------------

# How a run ends that meets a fault, and words of its reason.
ENDS: Final[dict[str, tuple[str, str]]] = {
    "error500": ("failed", "answered 500"),
    "error500_after": ("failed", "answered 500"),
    "timeout": ("failed", "did not answer in time"),
    "slow": ("applied", ""),
    "drip": ("failed", "took longer than"),
    "truncated": ("failed", "broke off"),
    "malformed": ("failed", "not JSON"),
    "html": ("failed", "a web page"),
    "rate_limit": ("failed", "we ask too often"),
    "missing_page": ("failed", "no row behind the last one"),
    "loop": ("failed", "no row behind the last one"),
    "duplicate": ("applied", ""),
    "empty": ("held", "The feed is empty"),
    "wrong_types": ("applied", ""),
    "redirect": ("failed", "sends us elsewhere"),
    "huge": ("failed", ""),
    "gzip_bomb": ("failed", ""),
    "expired_token": ("failed", "does not accept our credentials"),
}


# Faults of pages show in small pages only, and a few of them in some calls only: a campus that leaves out its first page
# whenever it is asked is a campus without it, and a case for the guards.
PAGE_SIZES: Final = {"missing_page": 10, "loop": 10}
RATES: Final = {"missing_page": ":0.4", "wrong_types": ":0.3"}


@pytest.fixture
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a system asks for in one run (Retry-After, a second here) the next run really waits for."""
    monkeypatch.setattr(ConnectionLine, "wait", staticmethod(time.sleep))


@pytest.mark.any_database  # what a run does with a fault of the wire is seen on each in test_faults
@pytest.mark.usefixtures("_patience")
@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_ends_the_run_with_a_reason_and_moves_nobody(students: list[Student], kind: str) -> None:
    with simulated("starrez", records=RECORDS) as office:
        settings = {**SETTINGS, "page_size": PAGE_SIZES.get(kind, 100)}
        save_connection(starrez_document(office, settings=settings))
        assert sync().status == "applied"
        before = rooms()
        # Everything is read again: the document is another one, as when an administrator has edited it.
        mapping = {"room": {"path": "RoomSpace.Description", "transforms": ["trim"]}}
        datasets = {DATASET: {"mapping": mapping}}
        save_connection(starrez_document(office, settings=settings, datasets=datasets))
        office.suffer(f"{kind}{RATES.get(kind, '')}")
        run = sync()
        status, words = ENDS[kind]
        assert run.status == status, run.reason
        assert words in run.reason
        if kind == "wrong_types":
            assert run.rejected > 0
        assert rooms() == before == bookings(office)
        assert verify_ledger().faults == []
        office.suffer()
        if run.status != "held":
            assert sync().status == "applied"
            assert rooms() == bookings(office)


def test_no_secret_and_nobody_is_named_in_what_is_logged(office: Simulated) -> None:
    sync()
    office.suffer("error500")
    failed = sync()
    pair = base64.b64encode(f"{USERNAME}:{TOKEN}".encode()).decode()
    logged = json.dumps(list(LoggedRequest.objects.values()), default=repr)
    events = json.dumps(list(AuditEvent.objects.values("action", "detail", "reason")), default=repr)
    assert "select/Booking.json" in logged
    for text in (logged, events, failed.reason, repr(Connection.objects.get())):
        for secret in (TOKEN, pair, "Parent of", "+1 555"):
            assert secret not in text


# --- its document -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("office")
def test_a_document_says_only_what_the_campus_has_decided_and_loaded_again_changes_nothing() -> None:
    connection = Connection.objects.get()
    exported = document_of(connection)
    assert exported["datasets"] == {DATASET: {}}
    assert exported["settings"] == SETTINGS
    assert exported["auth"] == {"type": "basic", "username": None, "password": None}
    assert save_connection(exported)[1] is False


def test_another_decision_of_the_campus_looks_at_every_booking_again(office: Simulated) -> None:
    sync()
    assert HousingAssignment.objects.live().filter(on_campus=False).exists()
    save_connection(
        starrez_document(office, guards=UNGUARDED, settings={**SETTINGS, "off_campus_locations": []})
    )
    run = sync()
    assert (run.read, run.status) == (RECORDS, "applied")
    assert not HousingAssignment.objects.live().filter(on_campus=False).exists()


def test_a_field_that_the_document_maps_comes_before_the_vendors_and_is_exported(office: Simulated) -> None:
    mapping = {"hall": {"path": "RoomLocation.City", "transforms": ["upper"]}}
    connection, _ = save_connection(starrez_document(office, datasets={DATASET: {"mapping": mapping}}))
    (trial,) = try_connection(connection)
    assert (trial.is_good, trial.examples[0]["hall"]) == (True, "SPRINGFIELD")
    assert document_of(connection)["datasets"][DATASET]["mapping"] == mapping


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"settings": {}}, "settings.time_zone: Field required"),
        ({"settings": {"time_zone": "Mars/Olympus"}}, "'Mars/Olympus' is no time zone"),
        ({"settings": {"time_zone": "UTC", "page_size": 20}}, "settings.page_size"),
        ({"settings": {"time_zone": "UTC", "statuses": {"Resident": "assigned"}}}, "settings.statuses"),
        ({"settings": {"time_zone": "UTC", "colour": 1}}, "settings.colour"),
        ({"datasets": {"aid_awards": {}}}, "this connector pulls housing_assignments"),
        ({"datasets": {DATASET: {"path": "/x"}}}, "StarRez has its own path; leave it out"),
        ({"datasets": {DATASET: {"mapping": {"colour": "x"}}}}, "there is no field colour"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_words(office: Simulated, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(DocumentRefused) as caught:
        save_connection(starrez_document(office, **changes))
    assert words in str(caught.value)


def test_settings_are_fields_of_the_connections_page(office: Simulated, administrator: Client) -> None:
    connection = Connection.objects.get()
    url = reverse("admin:integrations_connection_change", args=[connection.pk])
    page = administrator.get(url)
    form = page.context["adminform"].form
    entered = {
        name: "" if (value := form[name].value()) is None else value
        for name in form.fields
        if form[name].value() is not False
    }
    assert administrator.post(url, entered).status_code == 302
    assert document_of(Connection.objects.get())["settings"] == SETTINGS

    wrong = administrator.post(url, entered | {"settings_time_zone": "Mars/Olympus"})
    assert "is no time zone" in wrong.content.decode()
    unread = administrator.post(url, entered | {"settings_statuses": "{"})
    assert "errorlist" in unread.content.decode()

    changes = {"settings_statuses": '{"Tentative": "assigned"}', "settings_student_number": "ID2"}
    assert administrator.post(url, entered | changes).status_code == 302
    kept = Connection.objects.get()
    assert kept.settings["statuses"] == {"Tentative": "assigned"}
    mapping = kept.streams.get().mapping
    assert (mapping["student_number"]["path"], mapping["status"]["lookup"]["Tentative"]) == (
        "Entry.ID2",
        "assigned",
    )
    assert kept.secrets["auth"]["password"] == TOKEN
    assert AuditEvent.objects.filter(action="connection.changed").exists()
