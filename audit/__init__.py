"""Who did what, provably: `audit.record(...)` is the only way into the trail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from audit.context import Actor, current_actor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.db.models import Model

    from audit.models import AuditEvent, JsonValue

__all__ = ["Actor", "Entry", "current_actor", "record", "record_each", "record_or_count"]


@dataclass(frozen=True)
class Entry:
    """One event of many that are alike: whom it is about (the key of a row), why, and what."""

    subject_id: int
    reason: str
    detail: Mapping[str, JsonValue]


def record(
    action: str,
    subject: Model,
    *,
    actor: Actor | None = None,
    reason: str = "",
    detail: Mapping[str, JsonValue] | None = None,
) -> AuditEvent:
    """Write one event into the trail, in the transaction of the change that it tells of.

    `action` is a dotted verb in the past tense ("enrollment.dropped"); `subject` the model instance that it
    was done to; `actor` who did it (by default whoever the request or command at hand belongs to); `reason`
    the words a person gave; `detail` facts of the change, by reference: no personal data, no secret. What is about a
    student names them by number as `student` in `detail`, which is how their trail is found.

    Raises ValueError when `action` is not of that form, or `detail` holds a fraction or a number beyond 53 bits.
    """
    # Imported here: this package is imported by INSTALLED_APPS before models may be.
    from audit.models import AuditEvent  # noqa: PLC0415

    return AuditEvent.objects.append(
        action, subject, actor=actor or current_actor(), reason=reason, detail=detail or {}
    )


def record_each(action: str, subjects: type[Model], entries: Sequence[Entry]) -> None:
    """As `record`, an event for each entry, about rows of the model `subjects`, in one statement however many they are."""
    from audit.models import AuditEvent  # noqa: PLC0415

    AuditEvent.objects.append_each(action, subjects, entries, actor=current_actor())


def record_or_count(
    action: str,
    subject: Model,
    *,
    actor: Actor | None = None,
    reason: str = "",
    detail: Mapping[str, JsonValue] | None = None,
) -> AuditEvent | None:
    """As `record`, for what a stranger can cause as often as they like: the first of its kind from an address is
    written, those of the minute after it are counted, and the count is written when the minute is over.

    `subject` may be an instance without a key, for a kind of thing: `User()` for an account that does not exist.
    """
    from audit import floods  # noqa: PLC0415

    return floods.record_or_count(action, subject, actor=actor, reason=reason, detail=detail)
