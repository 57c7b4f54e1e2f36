"""What of the trail concerns a consumer or a member of staff: what was done to them, and what they did."""

from __future__ import annotations

from functools import partial

from django.db import models
from django.db.models import Q

from apiauth.models import Consumer, User
from audit.trails import register_trail


def register_trails() -> None:
    """Say whose doings are part of whose trail; called once, at start."""
    register_trail(Consumer, partial(_done_by, "consumer"))
    register_trail(User, partial(_done_by, "user"))


def _done_by(kind: str, actor: models.Model) -> Q:
    return Q(actor_kind=kind, actor_id=str(actor.pk))
