"""What a simulated system is: it answers calls from made-up records, and checks what it is sent."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from random import Random
from typing import Any, ClassVar
from urllib.parse import urlencode

from integrations.simulators.faults import NO_STRIKES, Faults, Strikes, Window
from integrations.simulators.parameters import NotSo, Parameters
from integrations.simulators.tokens import TokenEndpoint

Record = dict[str, Any]


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
    """A simulated external system with one list of records, cut into pages."""

    name: ClassVar[str]
    path: ClassVar[str]
    parameters: ClassVar[Parameters]
    max_page_size: ClassVar[int] = 1000
    default_page_size: ClassVar[int] = 500
    # Whether what it answers depends on what it was sent before, so that no answer may be kept.
    is_changing: ClassVar[bool] = False

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
        self.tokens = TokenEndpoint(seed, token_seconds)

    @cached_property
    def records(self) -> list[Record]:
        """Every record, in the order of its id, with what the faults of its records have done to it."""
        dice = Random(self.seed)  # noqa: S311 - made-up data, the same every time
        return self.faults.spoil([self.make(index, dice) for index in range(self.size)])

    def strikes_at(self, call: Call) -> Strikes:
        """The faults that strike this call. The token endpoint is spared: it is not what is tried here."""
        return self.faults.strikes() if call.path == self.path else NO_STRIKES

    def answer(self, call: Call, strikes: Strikes = NO_STRIKES) -> Reply:
        """Return what the system answers. Called from several threads."""
        if call.path == self.tokens.path:
            return reply(*self.tokens.answer(call.method, call.headers, call.body))
        if refused := self._refused(call, strikes):
            return refused
        if strikes.reply:
            return Reply(*strikes.reply(self.path))
        try:
            asked = self.parameters.checked(call.query)
        except NotSo as error:
            return refusal(400, str(error))
        page = self.page(call, strikes.moved(self.window(asked)), self.select(asked))
        return Reply(*strikes.late_reply(self.path)) if strikes.late_reply else page

    def _refused(self, call: Call, strikes: Strikes) -> Reply | None:
        if call.path != self.path:
            return refusal(404, f"There is nothing here; records are at {self.path}.")
        if call.method != "GET":
            return refusal(405, f"{self.path} can only be read.", {"Allow": "GET"})
        if strikes.revokes_token:
            self.tokens.revoke(_bearer(call))
        if strikes.revokes_token or not self.admits(call):
            return refusal(401, "A valid credential is needed.", {"WWW-Authenticate": self.challenge(call)})
        return None

    def admits(self, call: Call) -> bool:
        """Whether the caller has proven who it is: by a token of the token endpoint, or as the system has it."""
        return self.tokens.is_good(_bearer(call)) or self.knows(call.headers.get("authorization", ""))

    def challenge(self, call: Call) -> str:
        """What the caller is told to prove itself with (RFC 6750 section 3)."""
        return 'Bearer error="invalid_token"' if _bearer(call) else "Bearer"

    def window(self, asked: Mapping[str, Any]) -> Window:
        """Which records the caller asks for, however it counts them."""
        size = asked.get("limit", self.default_page_size)
        start = asked.get("cursor", asked.get("offset", (asked.get("page", 1) - 1) * size))
        return Window(start, size)

    def links(self, call: Call, following: int | None, size: int) -> dict[str, str]:
        """The Link header (RFC 8288) of a page: the first one and, where there is one, the next."""
        links = [f'<{self.address(call, 0, size)}>; rel="first"']
        if following is not None:
            links.append(f'<{self.address(call, following, size)}>; rel="next"')
        return {"Link": ", ".join(links)}

    def address(self, call: Call, start: int, size: int) -> str:
        """The address of a page that starts at `start`, with whatever else was asked for."""
        others = [(name, value) for name, value in call.query if name not in self.parameters.of_pages]
        return f"{call.address}{call.path}?{urlencode([*others, ('offset', start), ('limit', size)])}"

    @abstractmethod
    def make(self, index: int, dice: Random) -> Record:
        """Make record number `index`, from 0, with these dice."""

    @abstractmethod
    def knows(self, authorization: str) -> bool:
        """Whether an Authorization header has the system's own kind of credential."""

    @abstractmethod
    def select(self, asked: Mapping[str, Any]) -> list[Record]:
        """The records that the caller's filters let through."""

    @abstractmethod
    def page(self, call: Call, window: Window, records: list[Record]) -> Reply:
        """The page of `records` that the window shows, as the vendor writes it."""


def _bearer(call: Call) -> str:
    kind, _, token = call.headers.get("authorization", "").partition(" ")
    return token if kind.lower() == "bearer" else ""
