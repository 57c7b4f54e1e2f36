"""Whose trail: what of the trail concerns a student, a consumer or a run. Other rooms say so; this one asks.

Each contributor returns a condition over AuditEvent for an instance; the trail is whatever meets one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.urls import reverse

from audit.models.event import subject_id_of

Contributor = Callable[[Any], Q]
_contributors: dict[str, list[Contributor]] = {}


def register_trail(model: type[models.Model], contributor: Contributor) -> None:
    """Add to the trail of a model's instances; called once, when the room that knows is ready."""
    contributors = _contributors.setdefault(model._meta.label_lower, [])
    if contributor not in contributors:
        contributors.append(contributor)


def trail_of(instance: models.Model) -> Q:
    """The condition for the events that concern an instance: those about it, and what was contributed."""
    label: str = instance._meta.label_lower
    condition = Q(subject_type=label, subject_id=subject_id_of(instance))
    for contributor in _contributors.get(label, []):
        condition |= contributor(instance)
    return condition


def trail_address(instance: models.Model) -> str:
    """Where the trail of an instance is shown."""
    of = {"of": f"{instance._meta.label_lower}:{instance.pk}"}
    return f"{reverse('admin:audit_auditevent_changelist')}?{urlencode(of)}"


def instance_named(name: str) -> models.Model | None:
    """The instance that "registration.student:12" names; None when there is no such model or row."""
    label, _, pk = name.partition(":")
    try:
        found: models.Model | None = apps.get_model(label)._default_manager.filter(pk=pk).first()
    except (LookupError, ValueError, OverflowError, ValidationError):
        return None
    return found
