"""Conditions that several tables' constraints share."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Length, Upper
from django.db.models.lookups import Exact


def one_of(field: str, choices: type[models.TextChoices]) -> models.Q:
    """The condition that `field` holds one of the declared choices."""
    return models.Q(**{f"{field}__in": [value for value, _ in choices.choices]})


def filled(*fields: str) -> models.Q:
    """The condition that no text among `fields` is empty."""
    condition = models.Q()
    for field in fields:
        condition &= ~models.Q(**{field: ""})
    return condition


def currency_code(field: str) -> models.Q:
    """The condition that `field` has the form of an ISO 4217 code. Written without a regular expression, which
    SQLite would have to ask Python about at each row."""
    return models.Q(Exact(Length(field), 3)) & models.Q(Exact(Upper(field), models.F(field)))
