"""The trail: rows that are only ever added."""

from __future__ import annotations

import re
from typing import TypeAlias

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models

from audit.context import Actor, current_context

JsonValue: TypeAlias = "str | int | float | bool | list[JsonValue] | dict[str, JsonValue] | None"

ACTION = re.compile(r"[a-z_]+(\.[a-z_]+)+")


class AuditEventQuerySet(models.QuerySet["AuditEvent"]):
    def append(
        self, action: str, subject: models.Model, *, actor: Actor, reason: str, detail: dict[str, JsonValue]
    ) -> AuditEvent:
        """Add one event. Called by `audit.record` alone."""
        if not ACTION.fullmatch(action):
            raise ValueError(f"{action!r} is not a dotted action such as 'enrollment.dropped'.")
        context = current_context()
        return self.create(
            action=action,
            subject_type=subject._meta.label_lower,
            subject_id=str(subject.pk),
            actor_kind=actor.kind,
            actor_id=actor.id,
            actor_name=actor.name[:150],
            reason=reason,
            detail=detail,
            request_id=context.request_id,
            address=context.address,
        )

    def about(self, subject: models.Model) -> AuditEventQuerySet:
        """Narrow to the events of one subject."""
        label: str = subject._meta.label_lower
        return self.filter(subject_type=label, subject_id=str(subject.pk))


class AuditEvent(models.Model):
    """One thing that somebody did. The database refuses to change or delete a row (migration 0002)."""

    at = models.DateTimeField(auto_now_add=True, db_index=True)
    actor_kind = models.CharField(max_length=10)
    actor_id = models.CharField(max_length=64, blank=True)
    actor_name = models.CharField("actor", max_length=150)
    action = models.CharField(max_length=80, db_index=True)
    subject_type = models.CharField(max_length=80)
    subject_id = models.CharField(max_length=64)
    reason = models.TextField(blank=True)
    detail = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    request_id = models.CharField(max_length=32, blank=True)
    address = models.CharField(max_length=45, blank=True)

    objects = AuditEventQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["subject_type", "subject_id"], name="audit_event_subject")]
        constraints = [
            models.CheckConstraint(
                name="audit_event_actor_kind_known",
                condition=models.Q(actor_kind__in=["user", "consumer", "worker", "command", "system"]),
            ),
            models.CheckConstraint(name="audit_event_action_named", condition=~models.Q(action="")),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.subject_type} {self.subject_id}"
