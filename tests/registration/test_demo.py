"""The demo university is the same every time, and is what everybody relies on it to be."""

from __future__ import annotations

import unicodedata
from io import StringIO
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db.models import Count, F

from audit.models import AuditEvent
from integrations.models import Connection, SyncRun
from registration.models import BillingAccount, Enrollment, FeeSchedule, LedgerEntry, Section, Student, Term
from registration.money import to_minor
from registration.operations import assess_fees
from tests.refusals import rolled_back

pytestmark = pytest.mark.django_db

# The first of seed 1, for good: a demo that changes under people's feet is not the same every time.
FIRST_OF_SEED_1 = [
    ("S0000001", "Grace O'Brien", "BAHIST", "in_state"),
    ("S0000002", "Omar García", "BAHIST", "in_state"),
    ("S0000003", "மீனா ராஜன்", "BSMATH", "out_of_state"),
    ("S0000004", "Nora O'Brien", "BSME", "out_of_state"),
    ("S0000005", "Ελένη Γεωργίου", "BAHIST", "in_state"),
]


def load(*arguments: str) -> str:
    output = StringIO()
    call_command("load_demo", *arguments, stdout=output)
    return output.getvalue()


def contents() -> dict[str, list[tuple[Any, ...]]]:
    """Everything that the demo university consists of, by names: neither row ids nor the hour it was made."""
    return {
        "students": list(
            Student.objects.order_by("number").values_list(
                "number", "given_name", "family_name", "email", "program__code", "program__college__code",
                "status", "residency", "disclosure_hold", "billing_account__currency",
            )
        ),
        "terms": list(
            Term.objects.order_by("code").values_list(
                "code", "name", "starts_on", "ends_on", "census_on", "is_regular", "is_current", "is_closed"
            )
        ),
        "sections": list(
            Section.objects.order_by("crn").values_list(
                "crn", "term__code", "course__code", "course__title", "course__credits",
                "course__college__code", "capacity",
            )
        ),
        "enrollments": list(
            Enrollment.objects.order_by("student__number", "section__crn").values_list(
                "student__number", "section__crn", "status"
            )
        ),
        "bills": list(
            LedgerEntry.objects.order_by("account__student__number", "code").values_list(
                "account__student__number", "term__code", "kind", "adjusts", "state", "amount_minor",
                "currency", "code", "description", "effective_on", "posted_by", "posted_run",
            )
        ),
    }  # fmt: skip


def every_row() -> dict[str, list[dict[str, Any]]]:
    """All rows of all our rooms, to the last column."""
    models = [
        model
        for room in ("audit", "apiauth", "registration", "integrations")
        for model in apps.get_app_config(room).get_models()
    ]
    return {model.__name__: list(model._default_manager.order_by("pk").values()) for model in models}


def contents_after(*arguments: str) -> dict[str, list[tuple[Any, ...]]]:
    with rolled_back():
        load(*arguments)
        return contents()


# --- the same every time ----------------------------------------------------------------------------------


def test_the_same_seed_makes_the_same_university_and_another_seed_another() -> None:
    once, again = contents_after("--students=40", "--seed=5"), contents_after("--students=40", "--seed=5")
    assert once == again
    assert all(once.values())
    other = contents_after("--students=40", "--seed=6")
    assert other["students"] != once["students"]
    assert other["terms"] == once["terms"]


def test_without_a_seed_it_is_seed_1_and_that_one_is_known() -> None:
    default = contents_after("--students=5")
    assert default == contents_after("--students=5", "--seed=1")
    assert [
        (student[0], " ".join(student[1:3]), student[4], student[7]) for student in default["students"]
    ] == FIRST_OF_SEED_1


def test_a_second_call_changes_nothing_whatever_it_asks_for() -> None:
    load("--students=12")
    before = every_row()
    assert "there are 12 students already" in load("--students=12")
    assert "Nothing was loaded" in load("--students=30", "--seed=9")
    assert every_row() == before


def test_where_there_are_students_already_nothing_is_loaded() -> None:
    Student.objects.create(number="X1", family_name="Ng")
    before = every_row()
    assert "there are 1 students already" in load()
    assert every_row() == before


@pytest.mark.parametrize("count", ["0", "-1"])
def test_a_university_without_students_is_refused_in_words_and_leaves_nothing(count: str) -> None:
    before = every_row()
    with pytest.raises(CommandError, match="at least one student"):
        load("--students", count)
    assert every_row() == before


# --- what is promised of it -------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 9, 10, 11, 25, 300])
def test_what_is_promised_holds_whatever_its_size(count: int) -> None:
    load(f"--students={count}")
    numbers = [f"S{place:07d}" for place in range(1, count + 1)]
    assert list(Student.objects.order_by("number").values_list("number", flat=True)) == numbers
    assert set(Student.objects.values_list("status", flat=True)) == {"active"}

    every_tenth = set(numbers[9::10])
    in_fall = set(
        Enrollment.objects.filter(section__term__code="2026FA", status="enrolled").values_list(
            "student__number", flat=True
        )
    )
    assert in_fall == set(numbers) - every_tenth
    assert not Enrollment.objects.filter(student__number__in=every_tenth).exists()

    assert {term.code for term in Term.objects.all()} == {"2026FA", "2027SP"}
    current = Term.objects.current()
    assert current is not None
    assert current.code == "2026FA"
    following = Term.objects.following(current)
    assert following is not None
    assert following.code == "2027SP"
    assert not Term.objects.filter(is_closed=True).exists()

    first = Section.objects.get(crn="10001")
    assert first.term.code == "2026FA"
    assert first.enrollments.enrolled().count() < first.capacity
    crns = [int(crn) for crn in Section.objects.values_list("crn", flat=True)]
    assert sorted(crns) == list(range(10001, 10001 + len(crns)))
    assert set(Section.objects.values_list("term__code", flat=True)) == {"2026FA", "2027SP"}

    assert not Student.objects.get(number="S0000001").disclosure_hold
    assert set(LedgerEntry.objects.values_list("kind", "state", "term__code")) == {
        ("charge", "posted", "2026FA")
    }
    assert BillingAccount.objects.count() == count
    charged = set(LedgerEntry.objects.values_list("account__student__number", flat=True))
    assert charged == in_fall


def test_by_default_there_are_2000_students_in_many_scripts() -> None:
    load()
    assert Student.objects.count() == 2000
    assert Student.objects.last().number == "S0002000"  # type: ignore[union-attr]
    scripts = {
        unicodedata.name(letter).partition(" ")[0]
        for name in Student.objects.values_list("family_name", flat=True)
        for letter in name
        if letter.isalpha()
    }
    assert scripts >= {
        "LATIN",
        "CYRILLIC",
        "GREEK",
        "ARABIC",
        "HEBREW",
        "DEVANAGARI",
        "CJK",
        "HANGUL",
        "THAI",
    }
    holds = Student.objects.filter(disclosure_hold=True).count()
    assert 0 < holds < 400


def test_even_a_small_university_has_names_in_several_scripts() -> None:
    load("--students=25")
    names = Student.objects.values_list("family_name", flat=True)
    assert len({unicodedata.name(name[0]).partition(" ")[0] for name in names}) >= 3


@pytest.mark.parametrize("count", [272, 2000])
def test_no_section_is_overfull_and_nobody_sits_twice_in_one_course(count: int) -> None:
    load(f"--students={count}")
    overfull = Section.objects.annotate(taken=Count("enrollments")).filter(taken__gt=F("capacity"))
    assert not overfull.exists()
    seats = Enrollment.objects.values("student", "section__course").annotate(times=Count("id"))
    assert not seats.filter(times__gt=1).exists()


def test_charges_are_what_the_fee_schedules_say_of_residency_and_credits() -> None:
    load("--students=200")
    charges = LedgerEntry.objects.values_list("code", "account__student__residency", "amount_minor", "basis")
    assert set(charges) == {
        ("TUITION", "in_state", 540_000, "12.00 credits"),
        ("TUITION", "out_of_state", 1_320_000, "12.00 credits"),
        ("TUITION", "international", 1_485_600, "12.00 credits"),
        *(("STUDENT-FEE", residency, 41_200, "flat") for residency in ("in_state", "out_of_state", "international")),
    }  # fmt: skip
    assert FeeSchedule.objects.count() == 2 * 2 * 3
    assert set(FeeSchedule.objects.values_list("term__code", flat=True)) == {"2026FA", "2027SP"}


def test_assessing_the_demo_again_changes_nothing() -> None:
    load("--students=30")
    rows = list(LedgerEntry.objects.values())
    assess_fees(Term.objects.get(code="2026FA"))
    assert list(LedgerEntry.objects.values()) == rows


def test_it_makes_no_connection_no_run_and_no_aid() -> None:
    load("--students=30")
    assert not Connection.objects.exists()
    assert not SyncRun.objects.exists()
    assert not LedgerEntry.objects.from_aid().exists()
    assert set(LedgerEntry.objects.values_list("posted_run", flat=True)) == {None}


def test_the_trail_says_that_a_command_loaded_it() -> None:
    load("--students=7", "--seed=3")
    event = AuditEvent.objects.get(action="demo.loaded")
    assert set(AuditEvent.objects.values_list("action", flat=True)) == {"demo.loaded", "fees.assessed"}
    assert (event.action, event.actor_kind, event.actor_name) == (
        "demo.loaded",
        "command",
        "command: load_demo",
    )
    assert event.detail == {"students": 7, "seed": 3}


@pytest.mark.parametrize("currency", ["JPY", "KWD", "EUR"])
def test_it_is_charged_in_the_currency_of_the_installation(settings: Any, currency: str) -> None:
    settings.CURRENCY = currency
    load("--students=3")
    assert set(BillingAccount.objects.values_list("currency", flat=True)) == {currency}
    assert set(LedgerEntry.objects.values_list("currency", flat=True)) == {currency}
    fees = set(LedgerEntry.objects.filter(code="STUDENT-FEE").values_list("amount_minor", flat=True))
    assert fees == {to_minor("412", currency)}
