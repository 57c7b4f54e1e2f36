"""Whose trail: what of the trail concerns a student, a consumer or a run. Other rooms say so; this one asks.

Each contributor returns a condition over AuditEvent for an instance; the trail is whatever meets one of them.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import reduce
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
    return reduce(operator.or_, conditions_of_trail(instance))


def conditions_of_trail(instance: models.Model) -> list[Q]:
    """The same, as the conditions of which one is to be met. Each has an index of its own; all of them together have none."""
    label: str = instance._meta.label_lower
    contributed = [contributor(instance) for contributor in _contributors.get(label, [])]
    return [Q(subject_type=label, subject_id=subject_id_of(instance)), *contributed]


def trail_address(instance: models.Model) -> str:
    """Where the trail of an instance is shown."""
    return address_of_trail(f"{instance._meta.label_lower}:{instance.pk}")


def address_of_trail(name: str) -> str:
    """Where the trail of what is named, as "registration.student:12", is shown."""
    return f"{reverse('admin:audit_auditevent_changelist')}?{urlencode({'of': name})}"


def instance_named(name: str) -> models.Model | None:
    """The instance that "registration.student:12" names; None when there is no such model or row."""
    label, _, pk = name.partition(":")
    try:
        found: models.Model | None = apps.get_model(label)._default_manager.filter(pk=pk).first()
    except (LookupError, ValueError, OverflowError, ValidationError):
        return None
    return found
