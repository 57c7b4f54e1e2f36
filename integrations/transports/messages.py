"""What passes over the wire, as values: a request, its answer, and what there is to know of the attempt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol, runtime_checkable

from requests.auth import AuthBase

from integrations.transports.errors import TransportError


class Purpose(StrEnum):
    """What an exchange is for. A pull only reads and may ask again; an operation is one try, whoever wants it again
    asks again."""

    PULL = "pull"
    DO = "do"


@dataclass(frozen=True)
class Timeouts:
    """Bounds of one attempt, in seconds: to connect, between two reads, and for all of it."""

    connect: float = 5.0
    read: float = 30.0
    total: float = 120.0

    @classmethod
    def of(cls, declared: Mapping[str, float]) -> Timeouts:
        """The bounds that a connection declares. Its `slow_ms` is no bound: it is for the circuit breaker."""
        return cls(**{name: declared[name] for name in ("connect", "read", "total") if name in declared})


@runtime_checkable
class Renewable(Protocol):
    """An authentication whose token can be renewed."""

    def renew(self) -> bool:
        """Get a new token in place of the one that was refused, and say whether there is another one now."""


@runtime_checkable
class Tokened(Protocol):
    """An authentication that sends a token which stands nowhere among the connection's secrets."""

    @property
    def token(self) -> str:
        """The token that was sent last, "" before the first."""


@dataclass(frozen=True)
class Request:
    """One request. `url` is absolute; `params` are added to its query. `accepts` are statuses of failure that are an answer
    here, such as the 404 of a look-up."""

    url: str
    method: str = "GET"
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    auth: AuthBase | None = None
    body: bytes = b""
    accepts: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Response:
    """An answer that was read whole or, where it is a failure, as far as its beginning. `received` counts its bytes
    as they came, before they were unpacked."""

    status: int
    body: bytes
    headers: Mapping[str, str]
    received: int = 0


@dataclass(frozen=True)
class Attempt:
    """What there is to know of one attempt when it is over: with a response, an error, or both."""

    request: Request
    purpose: Purpose
    number: int
    sent_at: datetime
    seconds: float
    response: Response | None
    error: TransportError | None


class Line(Protocol):
    """What stands around the wire of one connection."""

    def admit(self, request: Request, purpose: Purpose) -> None:
        """Let an attempt through, if need be after a wait. Raises NotAdmitted where none may be made now."""

    def note(self, attempt: Attempt) -> None:
        """Learn from an attempt that was admitted. Never raises for what is wrong with its own bookkeeping."""

    def close(self) -> None:
        """Write down what is still to be written."""


class OpenLine:
    """A line without anything on it: for what belongs to no connection."""

    def admit(self, request: Request, purpose: Purpose) -> None:
        pass

    def note(self, attempt: Attempt) -> None:
        pass

    def close(self) -> None:
        pass
