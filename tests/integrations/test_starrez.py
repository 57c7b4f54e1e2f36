"""StarRez: its connector asks as the vendor's description has it, its simulator refuses what that does not have, and a
booking means what it says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
import requests
from pytest_httpserver import HTTPServer

from integrations.connectors.base import Connector, Page
from integrations.connectors.registry import connector_for
from integrations.connectors.starrez_bookings import StarRezSettings, mapping_of
from integrations.datasets.housing_record import HousingAssignmentRecord
from integrations.models import Connection, Stream
from integrations.simulators.starrez import SERVICES, TOKEN, USERNAME
from integrations.simulators.starrez_tables import EMERGENCY_ADDRESS, SESSIONS, TABLES
from integrations.simulators.system import Call
from integrations.sync.mapping import CompiledMapping
from integrations.sync.watermark import Watermark, read_moment
from integrations.transports.errors import ErrorClass, NotUnderstood, Refused
from tests.integrations.simulated import Simulated, simulated
from tests.integrations.starrez import SETTINGS, starrez_stream

pytestmark = pytest.mark.django_db

# --- what the vendor describes ----------------------------------------------------------------------------
# Of StarRez REST v1, version 1.0: the tables that are read here, their columns and the types of these. `moment` stands for
# an object of a Value and an operator in a request, and for a text in an answer.
_ID, _TEXT, _TRUTH, _MOMENT, _NUMBER = "integer", "string", "boolean", "moment", "number"
DESCRIBED: Final[dict[str, dict[str, str]]] = {
    "/select/Booking.json": {
        "BookingID": _ID, "EntryID": _ID, "RoomSpaceID": _ID, "RoomLocationID": _ID, "TermSessionID": _ID,
        "BookingTypeID": _ID, "RoomRateAmount": _NUMBER, "EntryStatusEnum": _TEXT, "CheckInDate": _MOMENT,
        "CheckOutDate": _MOMENT, "CheckInDateActual": _MOMENT, "CheckOutDateActual": _MOMENT, "Comments": _TEXT,
        "DateModified": _MOMENT,
    },
    "/select/entry.json": {
        "EntryID": _ID, "ID1": _TEXT, "ID2": _TEXT, "ID3": _TEXT, "ID4": _ID, "ID5": _ID, "NameFirst": _TEXT,
        "NameLast": _TEXT, "EntryStatusEnum": _TEXT, "Testing": _TRUTH, "DateModified": _MOMENT,
    },
    "/select/EntryAddress.json": {
        "EntryAddressID": _ID, "EntryID": _ID, "AddressTypeID": _ID, "ContactName": _TEXT, "Relationship": _TEXT,
        "Phone": _TEXT, "PhoneMobileCell": _TEXT, "Street": _TEXT, "DateModified": _MOMENT,
    },
    "/select/RoomSpace.json": {
        "RoomSpaceID": _ID, "Description": _TEXT, "RoomSpaceTypeEnum": _TEXT, "BedCapacity": _ID, "Street": _TEXT,
        "Street2": _TEXT, "DateModified": _MOMENT,
    },
    "/select/RoomLocation.json": {
        "RoomLocationID": _ID, "Description": _TEXT, "City": _TEXT, "StateProvince": _TEXT, "ZipPostcode": _TEXT,
        "DateModified": _MOMENT,
    },
    "/select/TermSession.json": {
        "TermSessionID": _ID, "TermSessionCode": _TEXT, "Description": _TEXT, "CheckInDate": _MOMENT,
        "CheckOutDate": _MOMENT, "DateModified": _MOMENT,
    },
}  # fmt: skip
PAGE_SIZES: Final = {1, 5, 10, 50, 100, 500, 1000}
OPERATORS: Final = {"GREATERTHAN", "LESSTHAN", "GREATERTHANOREQUALTO", "LESSTHANOREQUALTO"}
_PYTHON: Final[dict[str, type | tuple[type, ...]]] = {
    _ID: int,
    _TEXT: str,
    _TRUTH: bool,
    _MOMENT: str,
    _NUMBER: (int, float),
}


def faults_of(call: Call) -> list[str]:
    """What in a request the description does not have."""
    path = call.path.removeprefix(SERVICES)
    if call.method != "POST" or path not in DESCRIBED or call.query:
        return [f"{call.method} {call.path}"]
    body, columns = json.loads(call.body), DESCRIBED[path]
    faults = [name for name in ("_pageIndex", "_pageSize") if type(body.get(name)) is not int]
    for name, value in body.items():
        if name in columns:
            is_compared = columns[name] == _MOMENT
            fits = _is_compared(value) if is_compared else type(value) is _PYTHON[columns[name]]
        else:
            fits = name in ("_pageIndex", "_pageSize") or (name, value) in _CONTROLS_OF[path]
        faults += [] if fits else [f"{name}: {value!r}"]
    return faults + ([] if body["_pageSize"] in PAGE_SIZES else ["_pageSize"])


_CONTROLS_OF: Final = {
    path: {("_returnEmptyArrayOnNoResult", True), *(("_orderby", column) for column in columns)}
    for path, columns in DESCRIBED.items()
}


def _is_compared(value: Any) -> bool:
    return (
        value.keys() == {"Value", "_operator"} and value["_operator"] in OPERATORS and "T" in value["Value"]
    )


@dataclass
class Campus:
    """A simulated StarRez, and every request that it was sent."""

    office: Simulated
    calls: list[Call] = field(default_factory=list)

    def __post_init__(self) -> None:
        system = self.office.system
        answer = system.answer

        def noting(call: Call, *strikes: Any) -> Any:
            self.calls.append(call)
            return answer(call, *strikes)

        system.answer = noting  # type: ignore[method-assign,assignment]

    def bodies(self, table: str) -> list[dict[str, Any]]:
        """What its table was asked."""
        return [json.loads(call.body) for call in self.calls if call.path.endswith(f"/{table}.json")]

    @property
    def bookings(self) -> list[dict[str, Any]]:
        return self.office.records


@pytest.fixture
def campus() -> Iterator[Campus]:
    with simulated("starrez", records=36) as office:
        yield Campus(office)


def pulled(stream: Stream, *, since: str = "") -> list[Page]:
    return list(connector_for(stream.connection).pull(stream, since=since))


def records_in(pages: list[Page]) -> list[dict[str, Any]]:
    return [record for page in pages for record in page.records]


# --- how it is asked --------------------------------------------------------------------------------------


def test_every_booking_is_read_once_and_every_request_is_one_that_is_described(campus: Campus) -> None:
    stream = starrez_stream(campus.office, params={"BookingTypeID": "1"}, student_number="ID4")
    pulled(stream, since="2026-04-01T00:00:00")
    campus.calls.clear()
    records = records_in(pulled(stream))
    assert [record["BookingID"] for record in records] == [row["BookingID"] for row in campus.bookings]
    assert {table for table in TABLES if campus.bodies(table)} == set(TABLES)
    assert [fault for call in campus.calls for fault in faults_of(call)] == []
    indexes = [body["_pageIndex"] for body in campus.bodies("Booking")]
    assert indexes == [0, 9, 18, 27, 35]  # each page begins with the last row of the one before


def test_the_simulator_answers_in_columns_and_types_that_are_described() -> None:
    with simulated("starrez", records=36) as office:
        for path, columns in DESCRIBED.items():
            rows = ask(office, path, _pageIndex=0, _pageSize=1000).json()
            assert rows
            for row in rows:
                assert row.keys() <= columns.keys()
                wrong = [name for name, value in row.items() if not _is_answered(value, columns[name])]
                assert wrong == []


def _is_answered(value: Any, kind: str) -> bool:
    return value is None or (isinstance(value, _PYTHON[kind]) and isinstance(value, bool) == (kind == _TRUTH))


def ask(office: Simulated, path: str = "/select/Booking.json", **body: Any) -> requests.Response:
    return requests.post(f"{office.url}{SERVICES}{path}", json=body, auth=(USERNAME, TOKEN), timeout=5)


WHOLE: Final[dict[str, Any]] = {"_pageIndex": 0, "_pageSize": 10}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"_pageSize": 10}, "_pageIndex is required"),
        ({"_pageIndex": 0}, "_pageSize is required"),
        ({**WHOLE, "_pageSize": 20}, "_pageSize is one of 1, 5, 10, 50, 100, 500, 1000"),
        ({**WHOLE, "_pageSize": "10"}, "_pageSize is one of"),
        ({**WHOLE, "_pageSize": True}, "_pageSize is one of"),
        ({**WHOLE, "_pageIndex": -1}, "_pageIndex is a whole number"),
        ({**WHOLE, "_orderby": "BookingID, EntryID"}, "_orderby names columns"),
        ({**WHOLE, "_returnEmptyArrayOnNoResult": "true"}, "is true or false"),
        ({**WHOLE, "Colour": "red"}, "Booking has no column Colour"),
        ({**WHOLE, "EntryID": "1001"}, "EntryID is a whole"),
        ({**WHOLE, "EntryStatusEnum": 5}, "EntryStatusEnum is a text"),
        ({**WHOLE, "DateModified": "2026-01-01T00:00:00"}, "DateModified takes"),
        ({**WHOLE, "DateModified": {"Value": "2026-01-01", "_operator": "AFTER"}}, "one of GREATERTHAN"),
        ({**WHOLE, "DateModified": {"Value": "soon", "_operator": "LESSTHAN"}}, "takes a moment"),
        ({**WHOLE, "DateModified": {"Value": "2026-01-01T00:00:00Z", "_operator": "LESSTHAN"}}, "takes a moment"),
    ],
)  # fmt: skip
def test_the_simulator_refuses_what_is_not_described(body: dict[str, Any], words: str) -> None:
    with simulated("starrez", records=3) as office:
        answer = ask(office, **body)
    assert answer.status_code == 400
    assert words in answer.json()[0]["description"]


def test_nothing_found_is_an_error_unless_an_empty_list_is_asked_for() -> None:
    with simulated("starrez", records=3) as office:
        nothing: dict[str, Any] = {**WHOLE, "EntryID": 1}
        assert ask(office, **nothing).status_code == 404
        found = ask(office, **nothing, _returnEmptyArrayOnNoResult=True)
        assert (found.status_code, found.json()) == (200, [])
        assert requests.get(f"{office.url}{SERVICES}/select/Booking.json", timeout=5).status_code == 405
        assert ask(office, "/select/Bookings.json", **WHOLE).status_code == 404
        assert requests.post(f"{office.url}{SERVICES}/select/Booking.json", timeout=5).status_code == 401
        test = f"{office.url}{SERVICES}/testConnection"
        assert requests.get(test, auth=(USERNAME, TOKEN), timeout=5).status_code == 200


def test_parameters_narrow_the_bookings_by_number_word_and_day(campus: Campus) -> None:
    params = {
        "TermSessionID": "1",
        "EntryStatusEnum": "InRoom",
        "CheckOutDate": "GREATERTHAN 2026-09-01T00:00:00",
    }
    found = records_in(pulled(starrez_stream(campus.office, params=params)))
    wanted = [
        row for row in campus.bookings if row["TermSessionID"] == 1 and row["EntryStatusEnum"] == "InRoom"
    ]
    assert [record["BookingID"] for record in found] == [row["BookingID"] for row in wanted] != []


# --- joins ------------------------------------------------------------------------------------------------


def test_what_a_booking_refers_to_is_put_into_it(campus: Campus) -> None:
    system: Any = campus.office.system
    record = records_in(pulled(starrez_stream(campus.office)))[0]
    room = next(row for row in system.tables["RoomSpace"] if row["RoomSpaceID"] == record["RoomSpaceID"])
    assert record["Entry"] == {"ID1": "S0000001", "Testing": False}
    assert record["RoomSpace"]["Description"] == room["Description"]
    assert record["RoomLocation"]["City"] == "Springfield"
    assert record["TermSession"]["TermSessionCode"] == SESSIONS[0].code
    assert record["EmergencyContact"]["ContactName"] == "Parent of 1"


def test_few_rows_are_asked_for_by_themselves_and_many_with_their_table(campus: Campus) -> None:
    stream = starrez_stream(campus.office)
    campus.office.records[5]["DateModified"] = "2026-11-01T10:00:00"
    changed = records_in(pulled(stream, since="2026-11-01T00:00:00"))
    assert [body["EntryID"] for body in campus.bodies("entry")] == [changed[0]["EntryID"]]
    assert len(campus.calls) < 10
    campus.calls.clear()
    assert len(records_in(pulled(starrez_stream_of(stream, page_size=50)))) == 36
    assert [(body["_pageIndex"], "EntryID" in body) for body in campus.bodies("entry")] == [
        (0, False),
        (11, False),
    ]
    assert len(campus.bodies("RoomLocation")) == 5  # so many halls are few


def starrez_stream_of(stream: Stream, **settings: Any) -> Stream:
    """The same stream under other settings."""
    stream.connection.settings = {**SETTINGS, **settings}
    stream.connection.save()
    return stream


def test_no_table_of_addresses_is_read_where_the_campus_names_none(campus: Campus) -> None:
    stream = starrez_stream(campus.office, residence_address_type=None, emergency_address_type=None)
    assert "EmergencyContact" not in records_in(pulled(stream))[0]
    assert campus.bodies("EntryAddress") == []
    pulled(starrez_stream_of(stream, residence_address_type=None))
    assert {body["AddressTypeID"] for body in campus.bodies("EntryAddress")} == {EMERGENCY_ADDRESS}


def test_a_page_is_another_one_when_what_it_refers_to_is(campus: Campus) -> None:
    stream = starrez_stream(campus.office)
    before = [page.digest for page in pulled(stream)]
    assert [page.digest for page in pulled(stream)] == before
    system: Any = campus.office.system
    system.tables["entry"][0]["ID1"] = "S0000012"
    assert next(page.digest for page in pulled(stream)) != before[0]


def test_a_booking_that_is_deleted_while_bookings_are_read_hides_no_other(campus: Campus) -> None:
    stream = starrez_stream(campus.office)
    pages = connector_for(stream.connection).pull(stream)
    read = next(pages).records
    gone = [campus.bookings.pop(0) for _ in range(7)]
    read += [record for page in pages for record in page.records]
    assert sorted(record["BookingID"] for record in read) == sorted(
        row["BookingID"] for row in [*gone, *campus.bookings]
    )
    assert not connector_for(stream.connection).is_snapshot(stream)  # who is missing is looked for twice


# --- what a booking says ----------------------------------------------------------------------------------

BOOKING: Final[dict[str, Any]] = {
    "BookingID": 5001,
    "EntryID": 1001,
    "RoomSpaceID": 7,
    "RoomLocationID": 1,
    "TermSessionID": 1,
    "EntryStatusEnum": "InRoom",
    "CheckInDate": "2026-08-22T00:00:00",
    "CheckOutDate": "2026-12-18T00:00:00",
    "CheckInDateActual": "2026-08-23T23:59:59.997",
    "CheckOutDateActual": None,
    "DateModified": "2026-08-23T23:59:59.997",
    "Entry": {"ID1": "S0000001", "ID4": 1, "Testing": False},
    "RoomSpace": {"Description": "N-101", "Street": "1 College Road", "Street2": ""},
    "RoomLocation": {
        "Description": "North Hall",
        "City": "Springfield",
        "StateProvince": None,
        "ZipPostcode": "10001",
    },
    "TermSession": {"TermSessionCode": "2026FA", "Description": "Fall 2026"},
    "Residence": {"Phone": None, "PhoneMobileCell": "+1 555 0200"},
    "EmergencyContact": {"ContactName": "Kim Doe", "Relationship": "Parent", "Phone": " +1 555 0100 "},
}


def assignment(**changes: Any) -> HousingAssignmentRecord:
    """The assignment that the booking, with these changes, stands for."""
    settings = changes.pop("settings", SETTINGS)
    values = CompiledMapping(mapping_of(StarRezSettings.model_validate(settings))).apply(
        {**BOOKING, **changes}
    )
    return HousingAssignmentRecord.model_validate(values)


def test_a_booking_is_an_assignment_in_our_words() -> None:
    assert assignment().model_dump(mode="json") == {
        "assignment_id": "5001",
        "student_number": "S0000001",
        "term_code": "2026FA",
        "hall": "North Hall",
        "room": "N-101",
        "status": "checked_in",
        "on_campus": True,
        "move_in_on": "2026-08-23",
        "move_out_on": "2026-12-18",
        "residence_address": "1 College Road, Springfield, 10001",
        "residence_phone": "+1 555 0200",
        "emergency_contact_name": "Kim Doe",
        "emergency_contact_phone": "+1 555 0100",
        "emergency_contact_relation": "Parent",
        "updated_at": "2026-08-23T23:59:59.997000-04:00",
    }


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("Application", "cancelled"),
        ("Tentative", "cancelled"),
        ("Reserved", "assigned"),
        ("InRoom", "checked_in"),
        ("Cancelled", "cancelled"),
        ("Erased", "cancelled"),
    ],
)
def test_a_status_of_theirs_is_one_of_ours(theirs: str, ours: str) -> None:
    assert assignment(EntryStatusEnum=theirs).status == ours


@pytest.mark.parametrize("theirs", ["Occupant", "Attendee", "SomethingNew", None, 7])
def test_a_status_that_nobody_has_explained_bills_nobody(theirs: Any) -> None:
    with pytest.raises(ValueError, match="status"):
        assignment(EntryStatusEnum=theirs)


def test_the_campus_says_what_a_status_means() -> None:
    settings = {**SETTINGS, "statuses": {"Tentative": "assigned", "OccupantInRoom": "checked_in"}}
    assert assignment(EntryStatusEnum="Tentative", settings=settings).status == "assigned"
    assert assignment(EntryStatusEnum="OccupantInRoom", settings=settings).status == "checked_in"
    assert assignment(EntryStatusEnum="Reserved", settings=settings).status == "assigned"


def test_the_day_of_leaving_is_the_day_on_which_somebody_left() -> None:
    left = assignment(EntryStatusEnum="History", CheckOutDateActual="2026-10-10T00:00:00")
    assert (left.status, str(left.move_out_on)) == ("checked_out", "2026-10-10")
    with pytest.raises(ValueError, match="moved out, and the day is missing"):
        assignment(EntryStatusEnum="History")


def test_who_lives_elsewhere_does_not_live_on_campus() -> None:
    assert assignment(RoomLocationID=5).on_campus is False
    assert assignment(RoomLocationID=5, settings={"time_zone": "UTC"}).on_campus is True


def test_a_student_for_trying_things_out_lives_nowhere() -> None:
    assert assignment(Entry={**BOOKING["Entry"], "Testing": True}).status == "cancelled"


def test_the_number_may_be_a_whole_one_and_the_session_may_have_no_code() -> None:
    settings = {**SETTINGS, "student_number": "ID4"}
    session = {"TermSessionCode": None, "Description": "Fall 2026"}
    found = assignment(settings=settings, TermSession=session)
    assert (found.student_number, found.term_code) == ("1", "Fall 2026")


@pytest.mark.parametrize(
    ("nothing", "lacks"),
    [("Entry", "student_number"), ("TermSession", "term_code"), ("RoomSpace", "room"), ("RoomLocation", "hall")],
)  # fmt: skip
def test_a_booking_that_refers_to_nothing_is_told_with_what_is_missing(nothing: str, lacks: str) -> None:
    with pytest.raises(ValueError, match=lacks):
        assignment(**{nothing: None})


def test_contacts_that_are_missing_or_too_long_keep_nobody_from_a_room() -> None:
    found = assignment(
        Residence=None,
        EmergencyContact={"ContactName": "x" * 500, "Relationship": "y" * 500, "Phone": "5" * 500},
        RoomSpace={"Description": "N-101"},
        RoomLocation={"Description": "North Hall"},
    )
    assert (found.residence_phone, found.residence_address) == (None, None)
    assert len(found.emergency_contact_name or "") == 150


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2026-11-01T00:30:00", "2026-11-01T00:30:00-04:00"),
        ("2026-11-01T01:30:00", "2026-11-01T01:30:00-04:00"),  # written twice that night
        ("2026-11-01T02:30:00", "2026-11-01T02:30:00-05:00"),
        ("2028-02-29T12:00:00", "2028-02-29T12:00:00-05:00"),
        ("2026-07-01T12:00:00Z", "2026-07-01T12:00:00Z"),
    ],
)
def test_a_moment_is_one_of_the_campus(written: str, meant: str) -> None:
    assert assignment(DateModified=written).model_dump(mode="json")["updated_at"] == meant


# --- what has changed -------------------------------------------------------------------------------------


def test_what_was_changed_in_the_hour_that_comes_twice_is_asked_for_again(campus: Campus) -> None:
    """Clocks are set back at two: a booking of 01:59 is followed, a minute later, by one of 01:00."""
    stream = starrez_stream(campus.office)
    watermark = Watermark.of(stream)
    assert watermark is not None
    watermark.see([{"DateModified": "2026-11-01T01:59:00.247"}], [])
    since = watermark.after("", 0)
    assert since <= "2026-11-01T01:00:00"
    assert read_moment(since) is not None
    campus.office.records[4]["DateModified"] = "2026-11-01T01:00:00"
    assert [record["BookingID"] for record in records_in(pulled(stream, since=since))] == [5005]


# --- what goes wrong --------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(httpserver: HTTPServer, campus: Campus) -> Callable[[int, Any], Connector]:
    """A connector to a system that answers whatever the test says."""

    def answering(status: int, value: Any) -> Connector:
        httpserver.expect_request("/services/select/Booking.json").respond_with_json(value, status=status)
        Connection.objects.all().delete()
        stream = starrez_stream(campus.office)
        stream.connection.base_url = httpserver.url_for("/services")
        stream.connection.limits, connection = {}, stream.connection
        connection.save()
        return connector_for(connection)

    return answering


@pytest.mark.parametrize(
    ("status", "means", "advice"),
    [
        (400, ErrorClass.CONFIG, "params"),
        (401, ErrorClass.CONFIG, "API user"),
        (403, ErrorClass.CONFIG, "read access to Booking, entry"),
        (404, ErrorClass.CONFIG, "/StarRezREST/services"),
        (429, ErrorClass.THROTTLE, "Wait"),
        (500, ErrorClass.RETRY, "Try again"),
        (503, ErrorClass.RETRY, ""),
    ],
)
def test_a_refusal_says_what_it_means_and_nothing_that_it_quotes(
    elsewhere: Callable[[int, Any], Connector], status: int, means: ErrorClass, advice: str
) -> None:
    connector = elsewhere(status, [{"description": f"Nobody called Robin here, {TOKEN}"}])
    with pytest.raises(Refused) as caught:
        list(connector.pull(Stream.objects.get()))
    assert caught.value.error_class is means
    assert advice in caught.value.advice
    assert "Robin" not in f"{caught.value} {caught.value.advice}"
    assert TOKEN not in f"{caught.value!r} {connector.auth!r}"


@pytest.mark.parametrize("answer", [{}, {"description": "no"}, None, "rows", 5])
def test_an_answer_that_is_no_list_of_rows_is_not_understood(
    elsewhere: Callable[[int, Any], Connector], answer: Any
) -> None:
    with pytest.raises(NotUnderstood, match="no list of rows of Booking"):
        list(elsewhere(200, answer).pull(Stream.objects.get()))


def test_another_campus_is_not_asked_without_its_credentials(campus: Campus) -> None:
    stream = starrez_stream(campus.office)
    stream.connection.secrets = {"auth": {"username": USERNAME, "password": "wrong"}}
    with pytest.raises(Refused, match="does not accept our credentials"):
        pulled(stream)
