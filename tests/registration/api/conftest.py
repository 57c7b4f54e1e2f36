"""Partners that call the API, and a catalogue that they read."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from registration.models import College, Course, Enrollment, Section, SectionMeeting, Term
from tests.apiauth.conftest import MakePartner, counted, counting_server, partner
from tests.bearers import make_token
from tests.university import make_students, make_terms

__all__ = ["counted", "counting_server", "partner"]

Read = Callable[..., Any]
SECTIONS = 25


@pytest.fixture
def read(client: Client, partner: MakePartner) -> Read:
    """GET an address as a consumer that has every scope."""
    token = make_token(partner().consumer)

    def get(address: str, **headers: str) -> HttpResponse:
        address = address.removeprefix("http://127.0.0.1:8000")
        answer: Any = client.get(address, headers={"Authorization": f"Bearer {token}", **headers})
        return answer  # type: ignore[no-any-return]

    return get


@pytest.fixture
def catalogue(db: None) -> tuple[Term, Term]:
    """Five courses with five sections each in fall 2026; the first section has two meetings, three students and one who
    waits for a seat."""
    fall, spring = make_terms()
    college = College.objects.create(code="SCI", name="Science & <Letters>")
    courses = Course.objects.bulk_create(
        Course(code=f"MATH {place}", title=f"Mathematics {place}", credits="3.5", college=college)
        for place in range(101, 106)
    )
    sections = Section.objects.bulk_create(
        Section(term=fall, course=courses[place % 5], crn=str(20_000 + place), capacity=3)
        for place in range(SECTIONS)
    )
    first, last = datetime.date(2026, 8, 24), datetime.date(2026, 12, 18)
    SectionMeeting.objects.bulk_create(
        SectionMeeting(
            section=sections[0],
            weekday=day,
            begins=datetime.time(9),
            ends=datetime.time(10, 15),
            room="Hall 7",
            first_on=first,
            last_on=last,
        )
        for day in ("wed", "mon")
    )
    now = timezone.now()
    Enrollment.objects.bulk_create(
        Enrollment(student=student, section=sections[0], status=status, status_since_at=now)
        for student, status in zip(
            make_students(5), ["enrolled", "enrolled", "enrolled", "waitlisted", "completed"], strict=True
        )
    )
    return fall, spring
