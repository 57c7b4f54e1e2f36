"""Who is acting, and for which request: kept for the length of a request, a command or a task."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

ActorKind = Literal["user", "consumer", "worker", "command", "system"]


@dataclass(frozen=True)
class Actor:
    """Who did something. `name` is kept as text, so that the trail still reads when the account is gone."""

    kind: ActorKind
    name: str
    id: str = ""


@dataclass(frozen=True)
class RequestContext:
    """What an audit event keeps of the request it happened in."""

    actor: Actor
    request_id: str = ""
    address: str = ""


SYSTEM = Actor(kind="system", name="system")
_current: ContextVar[RequestContext | None] = ContextVar("audit_context", default=None)


def current_context() -> RequestContext:
    """Return the context at hand; the system's own where nobody acts."""
    return _current.get() or RequestContext(actor=SYSTEM)


def current_actor() -> Actor:
    """Return who is acting now."""
    return current_context().actor


@contextmanager
def acting(actor: Actor, *, request_id: str = "", address: str = "") -> Iterator[None]:
    """Make `actor` the one whom events inside the block are ascribed to."""
    token = _current.set(RequestContext(actor, request_id or uuid.uuid4().hex, address))
    try:
        yield
    finally:
        _current.reset(token)


def ascribe(actor: Actor) -> None:
    """Ascribe what follows in the block at hand to `actor`, once it is known who signed on."""
    at_hand = current_context()
    _current.set(RequestContext(actor, at_hand.request_id, at_hand.address))
