"""Which students a consumer may see: granted for a purpose, withdrawn with a reason, and both kept."""

from __future__ import annotations

from itertools import product

import pytest
from django.db import transaction
from django.db.models import ProtectedError

from apiauth.models import Consumer
from apiauth.operations import Refused as ConsumerRefused
from apiauth.operations import create_consumer, revoke
from audit import Actor
from audit.context import acting
from audit.models import AuditEvent
from registration.disclosure import admit_consumer, grant, students_named, withdraw
from registration.models import College, Program, Student, StudentGrant
from registration.operations import Refused
from tests.refusals import execute, refused_as_unchangeable
from tests.university import make_students

pytestmark = pytest.mark.django_db

TABLE = "registration_studentgrant"


@pytest.fixture(autouse=True)
def students(db: None) -> list[Student]:
    """S1 and S2 in computing (engineering), S3 in biology (sciences), S4 in no program; S2 and S3 asked for a hold."""
    first, second, third, fourth = make_students(4)
    biology = Program.objects.create(
        code="BSBIO", name="Biology", college=College.objects.create(code="SCI", name="Sciences")
    )
    Student.objects.filter(pk=third.pk).update(program=biology, disclosure_hold=True)
    Student.objects.filter(pk=second.pk).update(disclosure_hold=True)
    Student.objects.filter(pk=fourth.pk).update(program=None)
    return [first, second, third, fourth]


@pytest.fixture
def consumer(db: None) -> Consumer:
    return create_consumer("Housing office", scopes=["enrollment:read"]).consumer


def visible(consumer: Consumer) -> set[str]:
    """The last digits of the numbers of those it may see."""
    return {number[-1] for number in Student.objects.visible_to(consumer.pk).values_list("number", flat=True)}


def test_without_a_grant_nobody_is_seen(consumer: Consumer) -> None:
    assert visible(consumer) == set()


@pytest.mark.parametrize(
    ("named", "seen"),
    [
        ("all", {"1", "4"}),
        ("college:ENG", {"1"}),
        ("college:SCI", set()),
        ("program:BSCS", {"1"}),
        ("program:BSBIO", set()),
        ("student:S0000001", {"1"}),
        ("student:S0000002", {"2"}),
        ("student:S0000003", {"3"}),
        ("student:S0000004", {"4"}),
    ],
)
def test_a_hold_hides_a_student_unless_a_grant_names_them(
    consumer: Consumer, named: str, seen: set[str]
) -> None:
    grant(consumer, students_named(named), purpose="Assigning rooms")
    assert visible(consumer) == seen
    other = create_consumer("Library", scopes=["enrollment:read"]).consumer
    assert visible(other) == set()


def test_grants_add_up_and_each_student_is_there_once(consumer: Consumer) -> None:
    for named in ("all", "college:ENG", "program:BSCS", "student:S0000001", "student:S0000003"):
        grant(consumer, students_named(named), purpose="Assigning rooms")
    assert visible(consumer) == {"1", "3", "4"}
    assert Student.objects.visible_to(consumer.pk).count() == 3


def test_every_set_of_grants_shows_the_union_of_what_each_shows(students: list[Student]) -> None:
    alone = {"all": {"1", "4"}, "college:ENG": {"1"}, "program:BSBIO": set(), "student:S0000002": {"2"}}
    for number, chosen in enumerate(product([False, True], repeat=len(alone))):
        consumer = create_consumer(f"Partner {number}", scopes=["enrollment:read"]).consumer
        given = [named for named, is_in in zip(alone, chosen, strict=True) if is_in]
        for named in given:
            grant(consumer, students_named(named), purpose="Testing")
        assert visible(consumer) == set().union(*(alone[named] for named in given))


def test_a_withdrawn_grant_shows_nobody_and_stays(consumer: Consumer) -> None:
    with acting(Actor("user", "dana", "7")):
        given = grant(consumer, students_named("all"), purpose=" Assigning rooms ")
        withdraw(given, reason="The contract ended")
    assert visible(consumer) == set()
    kept = StudentGrant.objects.get()
    assert (kept.purpose, kept.granted_by, kept.revoked_by) == ("Assigning rooms", "dana", "dana")
    assert kept.revoke_reason == "The contract ended"
    events = AuditEvent.objects.about(consumer).order_by("id")
    assert [(event.action, event.reason) for event in events[1:]] == [
        ("consumer.students_granted", "Assigning rooms"),
        ("consumer.students_withdrawn", "The contract ended"),
    ]
    grant(consumer, students_named("all"), purpose="Again")
    assert visible(consumer) == {"1", "4"}


def test_what_is_no_grant_is_refused_in_words(consumer: Consumer) -> None:
    for named in ("", "everyone", "program", "program:", "college:ENG,SCI", "campus:X"):
        with pytest.raises(Refused, match=r"names no students|There is no"):
            students_named(named)
    with pytest.raises(Refused, match="There is no program with code XX"):
        students_named("program:XX")
    with pytest.raises(Refused, match="Say what the partner needs"):
        grant(consumer, students_named("all"), purpose="  ")
    given = grant(consumer, students_named("all"), purpose="Rooms")
    with pytest.raises(Refused, match="already"):
        grant(consumer, students_named("all"), purpose="Rooms")
    with pytest.raises(Refused, match="Say why"):
        withdraw(given, reason=" ")
    withdraw(given, reason="Over")
    with pytest.raises(Refused, match="withdrawn already"):
        withdraw(given, reason="Over")
    revoke(consumer)
    with pytest.raises(Refused, match="is revoked"):
        grant(consumer, students_named("all"), purpose="Rooms")


def test_a_consumer_is_admitted_with_its_students_or_not_at_all() -> None:
    everyone = students_named("all")
    with pytest.raises(Refused):
        admit_consumer("Library", scopes=["enrollment:read"], students=everyone, purpose="")
    with pytest.raises(ConsumerRefused, match="no scope everything"):
        admit_consumer("Library", scopes=["everything"], students=everyone, purpose="Books")
    assert not Consumer.objects.exists()
    made = admit_consumer("Library", scopes=["enrollment:read"], students=everyone, purpose="Books")
    assert visible(made.consumer) == {"1", "4"}


# --- the record is kept -----------------------------------------------------------------------------------


@pytest.fixture
def given(consumer: Consumer) -> StudentGrant:
    return grant(consumer, students_named("program:BSCS"), purpose="Rooms")


@pytest.mark.parametrize(
    "change",
    [
        "purpose = 'Another'",
        "audience = 'all', program_id = NULL",
        "granted_by = 'x'",
        "revoked_at = granted_at, revoked_by = 'x', purpose = 'Another'",
        "revoked_at = granted_at, revoked_by = 'x', consumer_id = consumer_id + 1",
    ],
)
def test_a_grant_is_not_edited_not_even_on_the_way_into_its_withdrawal(
    given: StudentGrant, change: str
) -> None:
    with refused_as_unchangeable(TABLE):
        execute(f"UPDATE {TABLE} SET {change} WHERE id = %s", given.pk)


def test_a_withdrawn_grant_does_not_come_back_and_none_is_deleted(given: StudentGrant) -> None:
    withdraw(given, reason="Over")
    with refused_as_unchangeable(TABLE):
        execute(f"UPDATE {TABLE} SET revoked_at = NULL, revoked_by = '', revoke_reason = ''")
    with refused_as_unchangeable(TABLE):
        execute(f"DELETE FROM {TABLE}")


def test_what_a_grant_points_at_stays_with_it(given: StudentGrant) -> None:
    for gone in (Program.objects.get(code="BSCS"), given.consumer):
        with pytest.raises(ProtectedError), transaction.atomic():
            gone.delete()
    assert StudentGrant.objects.count() == 1


def test_the_whole_question_is_one_statement(consumer: Consumer, given: StudentGrant) -> None:
    sql = str(Student.objects.visible_to(consumer.pk).query).lower()
    assert sql.count("exists") == 2
