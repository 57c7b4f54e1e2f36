"""What of the trail concerns a student: whatever names them by number."""

from __future__ import annotations

from django.db.models import Q
from django.db.models.lookups import Exact

from audit.models.event import StudentNumber
from audit.trails import register_trail
from registration.models import Student


def register_trails() -> None:
    """Say what belongs to a student's trail; called once, at start."""
    register_trail(Student, _naming)


def _naming(student: Student) -> Q:
    return Q(Exact(StudentNumber(), student.number))
