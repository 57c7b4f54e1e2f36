"""What a simulated system is: it knows its callers, checks what it is sent, answers, and fails where it is told to."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from integrations.simulators.faults import NO_STRIKES, Faults, Strikes
from integrations.simulators.tokens import TokenEndpoint


@dataclass(frozen=True)
class Call:
    """A request as a system sees it."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    address: str  # scheme, host and port that the caller used
    body: bytes = b""

    @property
    def key(self) -> tuple[Any, ...]:
        """What the answer to an admitted caller depends on."""
        return self.method, self.path, self.query, self.address


@dataclass(frozen=True)
class Reply:
    """A system's answer."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def reply(status: int, value: Any, headers: Mapping[str, str] | None = None) -> Reply:
    """An answer in JSON."""
    return Reply(status, json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(), headers or {})


def refusal(status: int, words: str, headers: Mapping[str, str] | None = None) -> Reply:
    """An answer that says what was wrong with the call."""
    return reply(status, {"error": words}, headers)


class System(ABC):
    """A simulated external system. `records` is how many of them it has, where it makes up any, about so many `students`."""

    name: ClassVar[str]
    # Where its records are, or what their addresses begin with.
    path: ClassVar[str]
    # Whether what it answers depends on what it was sent before, so that no answer may be kept.
    is_changing: ClassVar[bool] = False
    has_token_endpoint: ClassVar[bool] = True

    def __init__(
        self,
        *,
        records: int,
        seed: int,
        students: int,
        faults: Faults | None = None,
        token_seconds: int = 3600,
    ) -> None:
        self.size, self.seed, self.students = records, seed, students
        self.faults = faults or Faults((), seed)
        self.tokens = self.make_tokens(token_seconds)

    def make_tokens(self, seconds: int) -> TokenEndpoint:
        """The token endpoint, of which a token is good for so long."""
        return TokenEndpoint(self.seed, seconds)

    def strikes_at(self, call: Call) -> Strikes:
        """The faults that strike this call. The token endpoint is spared: it is not what is tried here."""
        return self.faults.strikes() if self.is_about_records(call) else NO_STRIKES

    def answer(self, call: Call, strikes: Strikes = NO_STRIKES) -> Reply:
        """Return what the system answers. Called from several threads."""
        if self.has_token_endpoint and call.path == self.tokens.path:
            return reply(*self.tokens.answer(call.method, call.headers, call.body))
        if refused := self.refused(call, strikes):
            return refused
        if strikes.reply:
            return Reply(*strikes.reply(call.path))
        done = self.serve(call, strikes)
        return Reply(*strikes.late_reply(call.path)) if strikes.late_reply else done

    def lets_in(self, call: Call, strikes: Strikes) -> bool:
        """Whether the caller is heard; a token that a fault has ended is none from now on."""
        if strikes.revokes_token:
            self.tokens.revoke(_bearer(call))
        return not strikes.revokes_token and self.admits(call)

    def admits(self, call: Call) -> bool:
        """Whether the caller has proven who it is: by a token of the token endpoint, or as the system has it."""
        return self.tokens.is_good(_bearer(call)) or self.knows(call.headers.get("authorization", ""))

    def knows(self, authorization: str) -> bool:
        """Whether an Authorization header has the system's own kind of credential; some have none but tokens."""
        return False

    def challenge(self, call: Call) -> str:
        """What the caller is told to prove itself with (RFC 6750 section 3)."""
        return 'Bearer error="invalid_token"' if _bearer(call) else "Bearer"

    def is_about_records(self, call: Call) -> bool:
        """Whether this is a call that faults may strike."""
        return call.path == self.path

    @abstractmethod
    def refused(self, call: Call, strikes: Strikes) -> Reply | None:
        """What a caller is told that is not heard at all; None for one that is."""

    @abstractmethod
    def serve(self, call: Call, strikes: Strikes) -> Reply:
        """Do what an admitted caller asks for, and return the right answer, or what was wrong with the call."""


def _bearer(call: Call) -> str:
    kind, _, token = call.headers.get("authorization", "").partition(" ")
    return token if kind.lower() == "bearer" else ""
