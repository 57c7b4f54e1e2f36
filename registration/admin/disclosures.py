"""What the student profile shows of disclosures: to which partner, what, for which purpose, and when."""

from __future__ import annotations

from typing import Any, Final

from django.http import HttpRequest

from audit.models import AuditEvent
from registration.disclosure import DISCLOSED
from registration.models import Student
from registration.panels import Panel, register_panel

SHOWN: Final = 20


def register_disclosure_panel() -> None:
    """Fill the student profile's panel; called once, at start."""
    register_panel(
        Panel(
            "Disclosed to partners",
            "admin/registration/student/disclosures.html",
            _disclosures_of,
            permission="registration.view_student",
        )
    )


def _disclosures_of(request: HttpRequest, student: Student) -> dict[str, Any]:
    """The newest disclosures; the trail of the student has them all."""
    return {"rows": AuditEvent.objects.of_student(student.number).filter(action=DISCLOSED)[:SHOWN]}
