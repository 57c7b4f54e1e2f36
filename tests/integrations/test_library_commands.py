"""`enroll`, `drop`, `outbox`, `outbox drain` and `outbox retry`, as an operator types them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command

from integrations.models import Breaker, OutboxMessage
from registration.models import Enrollment, LibraryAccount, Student, Term
from tests.integrations.library import Library, library
from tests.university import make_section

pytestmark = pytest.mark.django_db


@pytest.fixture
def books() -> Iterator[Library]:
    with library() as books:
        yield books


@pytest.fixture(autouse=True)
def section(students: list[Student], terms: tuple[Term, Term]) -> None:
    make_section(terms[0], crn="10001")
    make_section(terms[1], crn="10001")
    make_section(terms[1], crn="20001")


def told(*arguments: str) -> tuple[int, Any]:
    """Exit status, and the one JSON value on stdout."""
    out = StringIO()
    try:
        call_command(*arguments, "--json", stdout=out, stderr=StringIO())
    except SystemExit as end:
        return int(str(end.code)), json.loads(out.getvalue())
    return 0, json.loads(out.getvalue())


def test_one_enrolls_and_drops_by_number_and_crn() -> None:
    said = {"status": "enrolled", "student": "S0000001", "crn": "10001", "term": "2026FA"}
    assert told("enroll", "S0000001", "10001") == (0, said)
    assert told("drop", "S0000001", "10001") == (0, {**said, "status": "dropped"})
    assert told("enroll", "S0000001", "20001")[1]["term"] == "2027SP"
    assert told("enroll", "S0000001", "10001", "--term", "2027SP")[1]["term"] == "2027SP"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("enroll", "S9", "10001"), "There is no student with number S9."),
        (("enroll", "S0000001", "99999"), "There is no section with CRN 99999."),
        (
            ("enroll", "S0000001", "20001", "--term", "2026FA"),
            "There is no section with CRN 20001 in 2026FA.",
        ),
        (("drop", "S0000001", "10001"), "S0000001 was never enrolled in"),
        (("outbox", "retry", "99"), "There is no outbox message 99."),
    ],
)
def test_what_cannot_be_done_says_why(arguments: tuple[str, ...], said: str) -> None:
    status, value = told(*arguments)
    assert (status, value["status"]) == (1, "failed")
    assert value["reason"].startswith(said)
    assert not Enrollment.objects.exists()


def test_the_outbox_is_shown_and_drained(books: Library) -> None:
    told("enroll", "S0000001", "10001")
    status, shown = told("outbox")
    assert (status, shown["waiting"], shown["due"], shown["paused"]) == (0, 1, 1, [])
    assert shown["messages"][0]["kind"] == "library.provision"
    status, drained = told("outbox", "drain")
    assert status == 0
    assert {name: drained[name] for name in ("attempted", "delivered", "failed", "blocked", "escalated")} == {
        "attempted": 1,
        "delivered": 1,
        "failed": 0,
        "blocked": 0,
        "escalated": 0,
    }
    assert told("student", "S0000001")[1]["library_status"] == "provisioned"


def test_a_drain_exits_0_also_when_deliveries_failed_and_says_how_many(books: Library) -> None:
    books.office.suffer("error500")
    told("enroll", "S0000001", "10001")
    status, drained = told("outbox", "drain")
    assert (status, drained["failed"], drained["outbox"]["waiting"]) == (0, 1, 1)
    books.office.suffer()
    Breaker.objects.all().delete()
    assert told("outbox", "drain")[1]["attempted"] == 0  # it is not due yet
    assert told("outbox", "retry", str(OutboxMessage.objects.get().pk))[1]["retried"] == 1
    assert told("outbox", "drain")[1]["delivered"] == 1
    status, value = told("outbox", "retry", str(OutboxMessage.objects.get().pk))
    assert (status, value["status"]) == (1, "failed")
    assert told("outbox", "retry", "--all-failed") == (0, told("outbox", "retry", "--all-failed")[1])
    assert LibraryAccount.objects.get().status == "provisioned"


def test_all_that_failed_is_due_at_once(books: Library) -> None:
    books.office.suffer("error500")
    for number in ("S0000001", "S0000002"):
        told("enroll", number, "10001")
    told("outbox", "drain")
    assert told("outbox", "retry", "--all-failed")[1]["retried"] == 2
    assert told("outbox")[1]["due"] == 2
    out = StringIO()
    call_command("outbox", stdout=out)
    assert out.getvalue().startswith("2 waiting, 2 of them due; 0 escalated; 0 delivered.")
