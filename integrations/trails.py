"""What of the trail concerns a student because a run changed their records: the run's own events."""

from __future__ import annotations

from django.db.models import CharField, Q
from django.db.models.functions import Cast

from audit.trails import register_trail
from integrations.models import Change, SyncRun
from registration.models import Student


def register_trails() -> None:
    """Say that the runs that changed a student's records belong to their trail; called once, at start."""
    register_trail(Student, _runs_of)


def _runs_of(student: Student) -> Q:
    runs = Change.objects.filter(student=student).values_list("run_id", flat=True).distinct()
    return Q(
        subject_type=SyncRun._meta.label_lower,
        subject_id__in=runs.annotate(run_text=Cast("run_id", CharField())).values_list("run_text", flat=True),
    )
