"""Who did what, provably: `audit.record(...)` is the only way into the trail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from audit.context import Actor, current_actor

if TYPE_CHECKING:
    from django.db.models import Model

    from audit.models import AuditEvent, JsonValue

__all__ = ["Actor", "current_actor", "record"]


def record(
    action: str,
    subject: Model,
    *,
    actor: Actor | None = None,
    reason: str = "",
    detail: dict[str, JsonValue] | None = None,
) -> AuditEvent:
    """Write one event into the trail, in the transaction of the change that it tells of.

    `action` is a dotted verb in the past tense ("enrollment.dropped"); `subject` the model instance that it
    was done to; `actor` who did it (by default whoever the request or command at hand belongs to); `reason`
    the words a person gave; `detail` facts of the change, by reference: no personal data, no secret.

    Raises ValueError when `action` is not of that form.
    """
    # Imported here: this package is imported by INSTALLED_APPS before models may be.
    from audit.models import AuditEvent  # noqa: PLC0415

    return AuditEvent.objects.append(
        action, subject, actor=actor or current_actor(), reason=reason, detail=detail or {}
    )
