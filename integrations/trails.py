"""What of the trail concerns a student because a run changed their records: the run's own events; and a consumer because of its
webhook subscriptions, also where somebody else ended one."""

from __future__ import annotations

from django.db.models import CharField, Q
from django.db.models.functions import Cast

from apiauth.models import Consumer
from audit.trails import register_trail
from integrations.models import Change, SyncRun, WebhookSubscription
from registration.models import Student


def register_trails() -> None:
    """Say what belongs to whose trail; called once, at start."""
    register_trail(Student, _runs_of)
    register_trail(Consumer, _subscriptions_of)


def _runs_of(student: Student) -> Q:
    runs = Change.objects.filter(student=student).values_list("run_id", flat=True).distinct()
    return Q(
        subject_type=SyncRun._meta.label_lower,
        subject_id__in=runs.annotate(run_text=Cast("run_id", CharField())).values_list("run_text", flat=True),
    )


def _subscriptions_of(consumer: Consumer) -> Q:
    subscriptions = WebhookSubscription.objects.filter(consumer=consumer).values_list("pk", flat=True)
    return Q(
        subject_type=WebhookSubscription._meta.label_lower,
        subject_id__in=[str(pk) for pk in subscriptions],
    )
