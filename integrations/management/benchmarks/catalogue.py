"""The data of the API's benchmarks: 2,000 sections with their meetings and seats, the same every time."""

from __future__ import annotations

import datetime
import random
from dataclasses import dataclass
from typing import Final

from django.db import connection, transaction
from django.utils import timezone
from oauth2_provider.models import AccessToken

from apiauth.models import Consumer
from apiauth.operations import create_consumer
from apiauth.secrets import token_digest
from registration.models import College, Course, Enrollment, Section, SectionMeeting, Student, Term

SECTIONS: Final = 2_000
COURSES: Final = 500
STUDENTS: Final = 2_000
SEATS_TAKEN: Final = 25
WAITING: Final = 2
SCOPE: Final = "sections:read"
# More than any run can use up: what is measured is the counting, not the refusing.
HOURLY_LIMIT: Final = 1_000_000_000
TOKEN: Final = "benchmark-token-0123456789abcdef0123456789"  # noqa: S105  of a database that is dropped after the run


@dataclass(frozen=True)
class Keys:
    """What the load is driven with."""

    client_id: str
    client_secret: str


@transaction.atomic
def load_catalogue(count: int = SECTIONS) -> Keys:
    """Fill an empty database with `count` sections. Returns the keys of its one consumer, which TOKEN is a token of too."""
    chance = random.Random(12)  # noqa: S311  data, not secrets
    terms, courses = _terms(), _courses()
    sections = Section.objects.bulk_create(
        Section(
            term=terms[place % len(terms)],
            course=courses[place % COURSES],
            crn=str(10_000 + place),
            capacity=chance.randrange(20, 60),
        )
        for place in range(count)
    )
    _meetings(sections, chance)
    _seats(sections)
    made = create_consumer("Benchmark", scopes=[SCOPE], hourly_limit=HOURLY_LIMIT)
    _token(made.consumer)
    return Keys(made.consumer.client_id, made.secret)


def settle() -> None:
    """Let the database know its data, as it does in the course of a day: sizes, and which pages all may see."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE" if connection.vendor == "postgresql" else "ANALYZE")


def _terms() -> list[Term]:
    starts = [datetime.date(2025, 8, 25), datetime.date(2026, 1, 12), datetime.date(2026, 8, 24)]
    return Term.objects.bulk_create(
        Term(
            code=f"{day.year}{'FA' if day.month > 6 else 'SP'}",  # noqa: PLR2004  June
            name=f"Term of {day:%B %Y}",
            starts_on=day,
            census_on=day + datetime.timedelta(days=18),
            ends_on=day + datetime.timedelta(days=110),
        )
        for day in starts
    )


def _courses() -> list[Course]:
    college = College.objects.create(code="SCI", name="College of Sciences")
    return Course.objects.bulk_create(
        Course(
            code=f"MATH {1000 + place}",
            title=f"Course title number {place} of the catalogue",
            credits=3,
            college=college,
        )
        for place in range(COURSES)
    )


def _meetings(sections: list[Section], chance: random.Random) -> None:
    SectionMeeting.objects.bulk_create(
        SectionMeeting(
            section=section,
            weekday=day,
            begins=datetime.time(hour),
            ends=datetime.time(hour, 50),
            room=f"Hall {chance.randrange(40)}",
            first_on=section.term.starts_on,
            last_on=section.term.ends_on,
        )
        for section in sections
        for days, hour in [(chance.choice((("mon", "wed"), ("tue", "thu"))), chance.randrange(8, 18))]
        for day in days
    )


def _seats(sections: list[Section]) -> None:
    students = Student.objects.bulk_create(
        Student(number=f"S{place:07d}", given_name="Ada", family_name="Okafor") for place in range(STUDENTS)
    )
    now = timezone.now()
    Enrollment.objects.bulk_create(
        (
            Enrollment(
                student=students[(place * (SEATS_TAKEN + WAITING) + seat) % STUDENTS],
                section=section,
                status="enrolled" if seat < SEATS_TAKEN else "waitlisted",
                status_since_at=now,
            )
            for place, section in enumerate(sections)
            for seat in range(SEATS_TAKEN + WAITING)
        ),
        batch_size=5_000,
    )


def _token(consumer: Consumer) -> None:
    AccessToken.objects.create(
        application=consumer,
        scope=SCOPE,
        expires=timezone.now() + datetime.timedelta(days=1),
        token_checksum=token_digest(TOKEN),
    )
