"""What partners are told of students: what is so, of whom they may see, with each disclosure on the trail."""

from __future__ import annotations

import datetime
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import time_machine
from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apiauth.models import Consumer
from audit.models import AuditEvent
from audit.trails import trail_of
from registration import operations
from registration.disclosure import grant, students_named
from registration.models import LedgerEntry, Student, Term
from tests.apiauth.conftest import MakePartner
from tests.bearers import make_token
from tests.university import make_section, make_students, make_terms

pytestmark = pytest.mark.django_db

PURPOSE = "Loan deferment"
BULK = "/api/v1/enrollment-statuses/"
Get = Callable[..., Any]


def status_of(number: str) -> str:
    return f"/api/v1/students/{number}/enrollment-status/"


def balance_of(number: str) -> str:
    return f"/api/v1/students/{number}/balance/"


@pytest.fixture(autouse=True)
def in_september() -> Iterator[None]:
    with time_machine.travel("2026-09-01T12:00:00Z", tick=True):
        yield


@pytest.fixture
def fall(db: None) -> Term:
    return make_terms()[0]


@pytest.fixture
def students(fall: Term) -> list[Student]:
    """S1 and S2 are enrolled; S3 asked for a disclosure hold; S4 is in no program."""
    people = make_students(4)
    section = make_section(fall, capacity=9)
    for student in people[:3]:
        operations.enroll(student, section)
    Student.objects.filter(pk=people[2].pk).update(disclosure_hold=True)
    Student.objects.filter(pk=people[3].pk).update(program=None)
    return people


@pytest.fixture
def lender(students: list[Student], partner: MakePartner) -> Consumer:
    made = partner("Lender").consumer
    grant(made, students_named("college:ENG"), purpose=PURPOSE)
    return made


@pytest.fixture
def get(client: Client, lender: Consumer) -> Get:
    token = make_token(lender)

    def ask(address: str, **headers: str) -> Any:
        address = address.removeprefix(settings.BASE_URL)
        return client.get(address, headers={"Authorization": f"Bearer {token}", **headers})

    return ask


def test_the_status_of_one_student(get: Get) -> None:
    body = get(status_of("S0000001")).json()
    (row,) = body["results"]
    assert body["student_number"] == "S0000001"
    assert datetime.datetime.fromisoformat(row.pop("updated_at")).tzinfo
    assert row == {
        "student_number": "S0000001",
        "term": "2026FA",
        "status": "enrolled",
        "load": "less_than_half",
        "credits": "3.00",
        "effective_on": "2026-09-01",
    }
    assert get(f"{status_of('S0000001')}?fields=status&term=2027SP").json()["results"] == [{"status": "none"}]


def test_the_page_has_whom_the_caller_may_see_as_each_answer_has_them(get: Get, lender: Consumer) -> None:
    grant(lender, students_named("student:S0000003"), purpose="By name")
    body = get(BULK).json()
    assert [row["student_number"] for row in body["results"]] == ["S0000001", "S0000002", "S0000003"]
    for row in body["results"]:
        assert get(status_of(row["student_number"])).json()["results"] == [row]
    assert (body["next"], body["previous"]) == (None, None)


@pytest.mark.parametrize("ordering", ["student_number", "-student_number"])
@pytest.mark.parametrize("size", [1, 2, 6, 7])
def test_pages_forward_and_back_have_each_student_once(get: Get, ordering: str, size: int) -> None:
    make_students(5)
    first = f"{BULK}?page_size={size}&ordering={ordering}&fields=student_number"
    forward, address = [], first
    while address:
        last, body = address, get(address).json()
        forward.append(body["results"])
        address = body["next"]
    numbers = [row["student_number"] for page in forward for row in page]
    assert numbers == sorted(numbers, reverse=ordering.startswith("-"))
    assert len(numbers) == len(set(numbers)) == 7
    back, address = [], last
    while address:
        body = get(address).json()
        back.append(body["results"])
        address = body["previous"]
    assert back == forward[::-1]


def test_only_what_has_changed(get: Get, students: list[Student]) -> None:
    newest = max(row["updated_at"] for row in get(BULK).json()["results"])
    later = "2999-01-01T00:00:00Z"
    assert get(f"{BULK}?updated_since={later}").json()["results"] == []
    assert get(f"{BULK}?updated_since={newest}").json()["results"] != []
    assert (
        get(f"{BULK}?updated_since=2020-01-01T00:00:00%2B02:00&term=2027SP").json()["results"][0]["status"]
        == "none"
    )


@pytest.mark.parametrize(
    ("address", "field"),
    [
        (f"{BULK}?term=2026XX", "term"),
        (f"{BULK}?term=2026XX&updated_since=2999-01-01T00:00:00Z", "term"),
        (f"{BULK}?updated_since=yesterday", "updated_since"),
        (f"{BULK}?updated_since=2026-08-01T00:00:00", "updated_since"),
        (f"{BULK}?page_size=0", "page_size"),
        (f"{BULK}?page_size=10000", "page_size"),
        (f"{BULK}?cursor=x", "cursor"),
        (f"{BULK}?status=enrolled", "status"),
        (f"{status_of('S0000001')}?term=2026XX", "term"),
        (f"{status_of('S0000001')}?page_size=1", "page_size"),
        (f"{balance_of('S0000001')}?term=2026FA", "term"),
        (f"{balance_of('S0000001')}?fields=name", "fields"),
    ],
)
def test_what_is_wrong_is_named(get: Get, address: str, field: str) -> None:
    answer = get(address)
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == [field]
    assert not AuditEvent.objects.filter(action="student.disclosed").exists()


def test_the_balance_is_the_account_s(get: Get, students: list[Student], fall: Term) -> None:
    account = students[0].billing_account
    for kind, amount, state in (
        ("charge", 581_200, "posted"),
        ("aid", 299_200, "posted"),
        ("aid", 50_000, "anticipated"),
        ("payment", 100_000, "posted"),
    ):
        LedgerEntry.objects.create(
            account=account, term=fall, kind=kind, state=state, amount_minor=amount, currency="USD", code="X",
            posted_at=timezone.now(), posted_by="bursar",
        )  # fmt: skip
    assert get(balance_of("S0000001")).json() == {
        "student_number": "S0000001",
        "currency": "USD",
        "balance": "1820.00",
        "charges": "5812.00",
        "posted_aid": "2992.00",
        "anticipated_aid": "500.00",
        "payments": "1000.00",
        "refunds": "0.00",
    }
    assert get(f"{balance_of('S0000001')}?fields=balance").json() == {"balance": "1820.00"}
    assert get(balance_of("S0000002")).json()["balance"] == "0.00"


# --- who is not seen --------------------------------------------------------------------------------------


@pytest.mark.parametrize("address_of", [status_of, balance_of])
def test_whom_one_may_not_see_is_not_found_exactly_as_nobody(
    get: Get, address_of: Callable[[str], str]
) -> None:
    answers = [get(address_of(number)) for number in ("S0000003", "S0000004", "S9999999", "%00", "x" * 300)]
    assert {answer.status_code for answer in answers} == {404}
    bodies = [{**answer.json(), "request_id": ""} for answer in answers]
    assert all(body == bodies[0] for body in bodies)
    kept = [{name for name in answer.headers if name != "RateLimit"} for answer in answers]
    assert all(headers == kept[0] for headers in kept)
    assert not AuditEvent.objects.filter(action="student.disclosed").exists()


def test_whom_one_may_not_see_costs_the_same_statements_and_time_as_nobody(get: Get) -> None:
    times: dict[str, list[float]] = {"S0000003": [], "S0000004": [], "S9999999": []}
    statements: dict[str, set[int]] = {number: set() for number in times}
    for _ in range(40):
        for number, taken in times.items():
            with CaptureQueriesContext(connection) as asked:
                start = time.perf_counter()
                get(status_of(number))
                taken.append(time.perf_counter() - start)
            statements[number].add(len(asked))
    assert set.union(*statements.values()) == {1}
    medians = [statistics.median(taken) for taken in times.values()]
    # The same work: what is left is noise, which a machine that is busy makes, and no step that one takes and another not.
    assert max(medians) < 1.5 * min(medians)


# --- what is kept of it -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "what"),
    [(status_of("S0000001"), "enrollment status"), (balance_of("S0000001"), "balance")],
)
def test_a_disclosure_says_to_whom_of_whom_what_and_why(
    get: Get, lender: Consumer, students: list[Student], address: str, what: str
) -> None:
    with CaptureQueriesContext(connection) as statements:
        answer = get(address)
    assert len(statements) == 2
    (event,) = AuditEvent.objects.filter(trail_of(students[0]), action="student.disclosed")
    assert (event.actor_kind, event.actor_id, event.actor_name) == ("consumer", str(lender.pk), "Lender")
    assert (event.subject_type, event.subject_id) == ("registration.student", str(students[0].pk))
    assert event.reason == PURPOSE
    assert event.detail == {"student": "S0000001", "what": what, "grant": lender.student_grants.get().pk}
    assert (event.request_id, event.address) == (answer["X-Request-Id"], "127.0.0.1")


def test_a_page_is_two_statements_and_an_event_for_each_student(get: Get, lender: Consumer) -> None:
    make_students(150)
    for size in (1, 150):
        before = AuditEvent.objects.filter(action="student.disclosed").count()
        with CaptureQueriesContext(connection) as statements:
            assert len(get(f"{BULK}?page_size={size}").json()["results"]) == size
        assert len(statements) == 2
        assert AuditEvent.objects.filter(action="student.disclosed").count() == before + size


@pytest.mark.django_db(transaction=True)
def test_nothing_is_disclosed_that_could_not_be_written_down(
    get: Get, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.raise_request_exception = False

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the trail is not there")

    monkeypatch.setattr("audit.record_each", fail)
    for address in (BULK, status_of("S0000001"), balance_of("S0000001")):
        answer = get(address)
        assert answer.status_code == 500
        assert b"S0000001" not in answer.content
        assert answer["Content-Type"] == "application/problem+json"


@pytest.mark.django_db(transaction=True)
def test_it_is_committed_before_the_answer_leaves(get: Get) -> None:
    get(status_of("S0000001"))
    assert not connection.in_atomic_block
    connection.close()  # whatever were not committed would be gone
    assert AuditEvent.objects.filter(action="student.disclosed").count() == 1
