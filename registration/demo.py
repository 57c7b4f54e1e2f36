"""A demo university: the same every time for the same seed.

Its current term is charged by fee schedules; it posts no aid, makes no connection and provisions nothing.
"""

from __future__ import annotations

import datetime
import random
from dataclasses import dataclass
from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

import audit
from registration.bulk import hash_joins
from registration.models import (
    BillingAccount,
    College,
    Course,
    Enrollment,
    FeeItem,
    FeeSchedule,
    LibraryAccount,
    Program,
    RefundStep,
    Section,
    Student,
    Term,
)
from registration.models.enrollment import SeatExit
from registration.models.fees import FeeBasis
from registration.models.housing import LivingArrangement
from registration.models.library import LibraryStatus
from registration.models.people import TuitionResidency
from registration.money import to_minor
from registration.operations import assess_fees, follow_library_access

# Families of names that go together: given names, family names.
_NAMES: Final = (
    (
        "Ada Grace Maya Noah Liam Ruth Omar Nora Zoë Chloé",
        "Okafor Smith Nguyễn García O'Brien Müller Silva Kowalska",
    ),
    ("Анна Дмитрий Ольга Иван", "Иванова Петренко Соколов Кузнецова"),
    ("Ελένη Νίκος Μαρία", "Παπαδοπούλου Γεωργίου"),
    ("ليلى أحمد فاطمة يوسف", "حداد المصري الخطيب"),
    ("נועה יעל דוד", "כהן לוי"),
    ("आरव प्रिया दीया", "शर्मा पटेल गुप्ता"),
    ("伟 芳 秀英 明", "王 李 张 陈"),
    ("陽菜 蓮 結衣", "佐藤 鈴木 高橋"),
    ("서연 민준 지우", "김 이 박"),
    ("สมชาย มาลี", "สุขใจ ทองดี"),
    ("ሰላም ዳዊት", "ተስፋዬ በቀለ"),
    ("கவின் மீனா", "முருகன் ராஜன்"),
    ("ნინო გიორგი", "ბერიძე კაპანაძე"),
    ("Անի Արամ", "Սարգսյան Պետրոսյան"),
)
# How often each family of names is drawn: Latin letters for about half of the students.
_NAME_WEIGHTS: Final = (14, *([1] * (len(_NAMES) - 1)))
_COLLEGES: Final = (
    ("ENG", "College of Engineering"),
    ("SCI", "College of Sciences"),
    ("ART", "College of Arts"),
)
_PROGRAMS: Final = (
    ("BSCS", "Computer Science, B.S.", "ENG"),
    ("BSME", "Mechanical Engineering, B.S.", "ENG"),
    ("BSBIO", "Biology, B.S.", "SCI"),
    ("BSMATH", "Mathematics, B.S.", "SCI"),
    ("BAHIST", "History, B.A.", "ART"),
    ("BAMUS", "Music, B.A.", "ART"),
)
_SUBJECTS: Final = (
    ("CS", "ENG"),
    ("ME", "ENG"),
    ("BIO", "SCI"),
    ("MATH", "SCI"),
    ("HIST", "ART"),
    ("MUS", "ART"),
)
_TITLES: Final = ("Introduction", "Foundations", "Methods", "Laboratory", "Seminar", "Project")
_CREDITS: Final = 3
# Amounts are whole, so that they are amounts in every currency, yen too. Tuition is for a credit.
_TUITION: Final = {
    TuitionResidency.IN_STATE: "450",
    TuitionResidency.OUT_OF_STATE: "1100",
    TuitionResidency.INTERNATIONAL: "1238",
}
_STUDENT_FEE: Final = "412"
_HALL_FEE: Final = "180"
# How many days after the first one a drop and a withdrawal still refund how much, in percent.
_REFUNDS: Final = {
    SeatExit.DROP: ((6, 100), (13, 50), (18, 25)),
    SeatExit.WITHDRAWAL: ((6, 90), (20, 50), (34, 25)),
}
_FIRST_CRN: Final = 10001
_SECTIONS_A_STUDENT: Final = 4
_SECTION_SEATS: Final = 40
_WITHOUT_ENROLLMENT_EVERY: Final = 10
_HOLD_EVERY: Final = 17


@dataclass(frozen=True)
class Loaded:
    """What is there now, and whether this call made it."""

    students: int
    is_new: bool


@transaction.atomic
def load_demo(*, students: int, seed: int, charges: bool = True) -> Loaded:
    """Make the demo university, unless there are students already, and charge its current term if it `charges`."""
    if present := Student.objects.count():
        return Loaded(present, is_new=False)
    dice = random.Random(seed)  # noqa: S311 - made-up data, the same every time
    _make_catalogue()
    people = _make_students(students, dice)
    fall, spring = Term.objects.get(code="2026FA"), Term.objects.get(code="2027SP")
    sections = _make_sections(fall, spring, students)
    enrolled = [person for place, person in enumerate(people, start=1) if place % _WITHOUT_ENROLLMENT_EVERY]
    _enroll(enrolled, sections)
    _open_accounts(people)
    for term in (fall, spring):
        _make_schedules(term)
    if charges:
        assess_fees(fall)
    audit.record("demo.loaded", fall, detail={"students": students, "seed": seed})
    return Loaded(students, is_new=True)


@transaction.atomic
@hash_joins()
def assume_library_accounts() -> int:
    """Take it that the library has an account already for everybody who is entitled to one, so that the first enrollment
    does not wait behind all the others; return for how many."""
    follow_library_access()
    pending = LibraryAccount.objects.filter(status=LibraryStatus.PENDING)
    return pending.update(
        status=LibraryStatus.PROVISIONED,
        settled_at=F("requested_at"),
        why="The demo begins with the accounts that the library has already.",
    )


def _make_catalogue() -> None:
    colleges = {code: College.objects.create(code=code, name=name) for code, name in _COLLEGES}
    for code, name, college in _PROGRAMS:
        Program.objects.create(code=code, name=name, college=colleges[college])
    for subject, college in _SUBJECTS:
        for level, title in enumerate(_TITLES, start=1):
            Course.objects.create(
                code=f"{subject} {level}01",
                title=f"{title} in {subject}",
                credits=_CREDITS,
                college=colleges[college],
            )
    day = datetime.date
    Term.objects.create(
        code="2026FA", name="Fall 2026", starts_on=day(2026, 8, 24), ends_on=day(2026, 12, 18),
        census_on=day(2026, 9, 11), is_current=True,
    )  # fmt: skip
    Term.objects.create(
        code="2027SP", name="Spring 2027", starts_on=day(2027, 1, 11), ends_on=day(2027, 5, 14),
        census_on=day(2027, 1, 29),
    )  # fmt: skip


def _make_students(count: int, dice: random.Random) -> list[Student]:
    programs = list(Program.objects.order_by("code"))
    people = []
    for place in range(1, count + 1):
        given, family = dice.choices(_NAMES, _NAME_WEIGHTS)[0]
        number = f"S{place:07d}"
        people.append(
            Student(
                number=number,
                given_name=dice.choice(given.split()),
                family_name=dice.choice(family.split()),
                email=f"{number.lower()}@students.example.edu",
                program=dice.choice(programs),
                residency=dice.choices(list(TuitionResidency), [7, 2, 1])[0],
                disclosure_hold=place % _HOLD_EVERY == 0,
            )
        )
    return Student.objects.bulk_create(people, batch_size=1000)


def _make_sections(fall: Term, spring: Term, students: int) -> list[Section]:
    """The sections of fall, then of spring, numbered on from the first; returns those of fall."""
    courses = list(Course.objects.order_by("code"))
    # Filled to three quarters at most, so that every section, the first among them, has free seats.
    count = max(len(courses), students * _SECTIONS_A_STUDENT * 4 // (_SECTION_SEATS * 3) + 1)
    count += -count % len(courses)  # of every course as many, so that nobody gets two sections of one
    sections = [
        Section(
            term=fall if place < count else spring,
            course=courses[place % len(courses)],
            crn=str(_FIRST_CRN + place),
            capacity=_SECTION_SEATS,
        )
        for place in range(count + len(courses))
    ]
    return Section.objects.bulk_create(sections, batch_size=1000)[:count]


def _enroll(people: list[Student], sections: list[Section]) -> None:
    """Spread the students evenly: each takes the sections after those of the one before."""
    now = timezone.now()
    Enrollment.objects.bulk_create(
        [
            Enrollment(
                student=person,
                section=sections[(place * _SECTIONS_A_STUDENT + offset) % len(sections)],
                status_since_at=now,
            )
            for place, person in enumerate(people)
            for offset in range(_SECTIONS_A_STUDENT)
        ],
        batch_size=1000,
    )


def _open_accounts(people: list[Student]) -> None:
    BillingAccount.objects.bulk_create(
        [BillingAccount(student=person, currency=settings.CURRENCY) for person in people], batch_size=1000
    )


def _make_schedules(term: Term) -> None:
    """One for each living arrangement and residency; who lives on campus pays for its network and laundry too."""
    for arrangement in LivingArrangement:
        for residency, tuition in _TUITION.items():
            schedule = FeeSchedule.objects.create(
                term=term, living_arrangement=arrangement, residency=residency
            )
            fees = [
                ("TUITION", f"Tuition {term.name}", FeeBasis.PER_CREDIT, tuition),
                ("STUDENT-FEE", f"Student fee {term.name}", FeeBasis.FLAT, _STUDENT_FEE),
            ]
            if arrangement == LivingArrangement.ON_CAMPUS:
                fees.append(("HALL-FEE", f"Residence hall fee {term.name}", FeeBasis.FLAT, _HALL_FEE))
            FeeItem.objects.bulk_create(
                FeeItem(
                    schedule=schedule,
                    code=code,
                    description=description,
                    basis=basis,
                    amount_minor=to_minor(amount, schedule.currency),
                )
                for code, description, basis, amount in fees
            )
            RefundStep.objects.bulk_create(
                RefundStep(
                    schedule=schedule,
                    applies_to=seat_exit,
                    through_on=term.starts_on + datetime.timedelta(days=days),
                    percent=percent,
                )
                for seat_exit, steps in _REFUNDS.items()
                for days, percent in steps
            )
