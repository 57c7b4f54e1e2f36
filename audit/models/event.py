"""The trail: rows that are only ever added."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import orjson
from django.apps import apps
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, models
from django.db.models import Exists, Func, OuterRef
from django.db.models.lookups import Exact
from django.utils import timezone

from audit.context import Actor, current_context

if TYPE_CHECKING:
    from audit import Entry

JsonValue: TypeAlias = "str | int | bool | Sequence[JsonValue] | Mapping[str, JsonValue] | None"

ACTION = re.compile(r"[a-z_]+(\.[a-z_]+)+")


# What every reader of JSON reads alike as a number (RFC 8259, section 6).
MAX_NUMBER: Final = 2**53 - 1
# A NUL is no text to PostgreSQL, and half a surrogate pair is none to UTF-8: whoever sends one must not escape the trail.
_UNWRITABLE: Final = re.compile("[\x00\ud800-\udfff]")
MAX_TEXT: Final = 2000


def writable(text: str, limit: int = MAX_TEXT) -> str:
    """The text as any database keeps it: what it cannot is replaced, and what is too long is cut."""
    return _UNWRITABLE.sub("\ufffd", text)[:limit]


def sealable(value: Any) -> JsonValue:
    """The value as it is kept and sealed, the same on every database. Raises ValueError for a fraction or a number
    beyond 53 bits: databases keep those differently, and money is a decimal text."""
    if isinstance(value, dict):
        return {writable(str(name)): sealable(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [sealable(part) for part in value]
    if isinstance(value, float) or (isinstance(value, int) and abs(value) > MAX_NUMBER):
        raise ValueError(f"{value!r} cannot be sealed: write a fraction or a number that large as text.")
    if value is None or isinstance(value, bool | int):
        return value
    return writable(str(value))


# The rows of `append_each` out of the JSON array that they come as: subject, reason and detail.
_EACH_ROW: Final = {
    "postgresql": "each ->> 0, each ->> 1, each -> 2 FROM jsonb_array_elements(%s::jsonb) AS rows(each)",
    "sqlite": "value ->> 0, value ->> 1, value -> 2 FROM json_each(%s)",
}


def _check_action(action: str) -> None:
    if not ACTION.fullmatch(action):
        raise ValueError(f"{action!r} is not a dotted action such as 'enrollment.dropped'.")


class StudentNumber(Func):
    """The student whom an event is about: the number that its detail refers to them by."""

    template = "(%(expressions)s ->> 'student')"
    output_field = models.TextField()

    def __init__(self, *expressions: Any, **extra: Any) -> None:
        super().__init__(*(expressions or ("detail",)), **extra)


class AuditEventQuerySet(models.QuerySet["AuditEvent"]):
    def append(
        self,
        action: str,
        subject: models.Model,
        *,
        actor: Actor,
        reason: str,
        detail: Mapping[str, JsonValue],
    ) -> AuditEvent:
        """Add one event. Called by `audit.record` alone."""
        _check_action(action)
        context = current_context()
        return self.create(
            action=action,
            subject_type=subject._meta.label_lower,
            subject_id=subject_id_of(subject),
            actor_kind=actor.kind,
            actor_id=writable(actor.id, 64),
            actor_name=writable(actor.name, 150),
            reason=writable(reason),
            detail=sealable(detail),
            request_id=writable(context.request_id, 32),
            address=writable(context.address, 45),
        )

    def append_each(
        self, action: str, subjects: type[models.Model], entries: Sequence[Entry], *, actor: Actor
    ) -> None:
        """Add an event for each entry, about rows of the model `subjects`, in one statement. Called by `audit.record_each`
        alone."""
        _check_action(action)
        if not entries:
            return
        context, at = current_context(), connection.ops.adapt_datetimefield_value(timezone.now())
        alike = {
            "at": at,
            "action": action,
            "subject_type": subjects._meta.label_lower,
            "actor_kind": actor.kind,
            "actor_id": writable(actor.id, 64),
            "actor_name": writable(actor.name, 150),
            "request_id": writable(context.request_id, 32),
            "address": writable(context.address, 45),
        }
        rows = [[str(each.subject_id), writable(each.reason), sealable(each.detail)] for each in entries]
        # Rows come as one parameter: with a parameter for each value, SQLite would take 90 rows at a time.
        names = ", ".join(connection.ops.quote_name(name) for name in alike)
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {self.model._meta.db_table} ({names}, subject_id, reason, detail) "
                f"SELECT {', '.join(['%s'] * len(alike))}, {_EACH_ROW[connection.vendor]}",
                [*alike.values(), orjson.dumps(rows).decode()],
            )

    def about(self, subject: models.Model) -> AuditEventQuerySet:
        """Narrow to the events of one subject."""
        label: str = subject._meta.label_lower
        return self.filter(subject_type=label, subject_id=str(subject.pk))

    def unsealed(self) -> AuditEventQuerySet:
        """Narrow to what no seal holds yet."""
        seal = apps.get_model("audit", "AuditSeal")
        return self.filter(~Exists(seal._default_manager.filter(event_id=OuterRef("pk"))))

    def of_student(self, number: str) -> AuditEventQuerySet:
        """Narrow to what refers to a student by number."""
        return self.filter(Exact(StudentNumber(), number))


def subject_id_of(subject: models.Model) -> str:
    """How an event names its subject; empty where the subject is a kind of thing and not one of them."""
    return "" if subject.pk is None else str(subject.pk)


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
        permissions = [("export_auditevent", "Can export the audit trail")]
        # Each ends in the id: a page of a search is the newest of its kind, read off the index and no further.
        indexes = [
            models.Index(fields=["subject_type", "subject_id", "id"], name="audit_event_of_subject"),
            models.Index(fields=["actor_kind", "actor_id", "id"], name="audit_event_of_actor"),
            models.Index(fields=["actor_name", "id"], name="audit_event_actor"),
            models.Index(fields=["action", "id"], name="audit_event_action"),
            models.Index(StudentNumber(), "id", name="audit_event_student"),
        ]
        constraints = [
            models.CheckConstraint(
                name="audit_event_actor_kind_known",
                condition=models.Q(actor_kind__in=["user", "consumer", "worker", "command", "system"]),
            ),
            models.CheckConstraint(name="audit_event_action_named", condition=~models.Q(action="")),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.subject_type} {self.subject_id}"
