"""A housing office under a test's control, served over real HTTP, and what came of its records."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from django.utils import timezone
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from integrations.models import Stream
from integrations.operations import save_connection
from registration.models import Enrollment, HousingAssignment, Section, Student, Term
from registration.operations import assess_fees
from tests.integrations.feed import UNGUARDED
from tests.registration.bills import charged, owed
from tests.university import make_schedules, make_section

FIELDS = (
    "assignment_id",
    "student_number",
    "term_code",
    "hall",
    "room",
    "status",
    "on_campus",
    "move_in_on",
    "move_out_on",
    "residence_address",
    "residence_phone",
    "emergency_contact_name",
    "emergency_contact_phone",
    "emergency_contact_relation",
    "updated_at",
)


def room(number: int = 1, **changes: Any) -> dict[str, Any]:
    """A room on campus for the student of the same number, who has moved in."""
    return {
        "assignment_id": f"H{number:04d}",
        "student_number": f"S{number:07d}",
        "term_code": "2026FA",
        "hall": "North Hall",
        "room": f"{100 + number}",
        "status": "checked_in",
        "on_campus": True,
        "move_in_on": "2026-08-22",
        "move_out_on": None,
        "residence_address": f"{number} Campus Way",
        "residence_phone": "555-0100",
        "emergency_contact_name": "Grace Okafor",
        "emergency_contact_phone": "555-0199",
        "emergency_contact_relation": "mother",
        "updated_at": "2026-08-22T10:00:00Z",
        **changes,
    }


@dataclass
class HousingFeed:
    """Serves `rooms` in canonical fields at /SLUG. A second one is another system."""

    server: HTTPServer
    slug: str = "housing"
    rooms: list[dict[str, Any]] = field(default_factory=list)
    status: int = 200

    def __post_init__(self) -> None:
        self.server.expect_request(f"/{self.slug}").respond_with_handler(self._answer)

    def _answer(self, request: Request) -> Response:
        since = request.args.get("since", "")
        shown = [each for each in self.rooms if each["updated_at"] >= since]
        return Response(json.dumps({"data": shown}), status=self.status, content_type="application/json")

    def document(self, **changes: Any) -> dict[str, Any]:
        """The connection document for this feed."""
        return {
            "slug": self.slug,
            "name": f"The office {self.slug}",
            "connector": "rest",
            "base_url": self.server.url_for("").rstrip("/"),
            "auth": {"type": "none"},
            "schedule": {"every_minutes": 1440},
            "datasets": {
                "housing_assignments": {
                    "path": f"/{self.slug}",
                    "records": "data",
                    "pagination": {"type": "none"},
                    "mapping": {name: name for name in FIELDS},
                }
            },
            "guards": UNGUARDED,
            **changes,
        }

    def connect(self, **changes: Any) -> Stream:
        """Save the connection, and return its stream."""
        return save_connection(self.document(**changes))[0].streams.get()


def bill_everybody(term: Term) -> None:
    """Give the term its schedules and every student a seat, and charge them."""
    make_schedules(term)
    section: Section = make_section(term, capacity=1000)
    Enrollment.objects.bulk_create(
        Enrollment(student=student, section=section, status_since_at=timezone.now())
        for student in Student.objects.order_by("pk")
    )
    assess_fees(term)


def hall_fee(number: int = 1) -> int:
    """What the student is charged for living on campus in fall, in cents; the whole bill is seen to be right."""
    student, term = Student.objects.get(number=f"S{number:07d}"), Term.objects.get(code="2026FA")
    bill = charged(student, term)
    assert bill == owed(student, term)
    return bill.get("HALL-FEE", 0)


def stays(number: int = 1) -> list[tuple[str, str, str]]:
    """The rooms of the student of this number, oldest first: hall and room, status, when left."""
    rows = HousingAssignment.objects.filter(student__number=f"S{number:07d}").order_by("pk")
    return [(str(row), row.status, str(row.move_out_on or "")) for row in rows]
