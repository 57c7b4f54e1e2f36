"""Every way in which a simulated system may fail, as a table. The same seed makes the same faults.

A fault strikes a share of the calls, or of the records: `KIND:RATE`, with a rate of more than 0 and at most 1, which it is
where nothing is said. No fault makes the simulator itself hang or grow: what is huge is made as it is sent, and what is
held is let go when the caller hangs up, when the server stops, and in any case in the end.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Final, Protocol

MIB: Final = 1024 * 1024
HUGE_BYTES: Final = 1024 * MIB
RETRY_AFTER_SECONDS: Final = 1

Record = dict[str, Any]
# Status, body and headers of an answer that is given in place of the right one.
RawReply = tuple[int, bytes, Mapping[str, str]]


class Delays(Protocol):
    """How long the faults take, in seconds."""

    @property
    def slow(self) -> float: ...
    @property
    def hold(self) -> float: ...
    @property
    def drip(self) -> float: ...


class Wire(Protocol):
    """The connection to a caller, as far as a fault needs it."""

    @property
    def pace(self) -> Delays: ...
    def send_head(self, status: int, headers: Mapping[str, str]) -> None: ...
    def send(self, part: bytes) -> None: ...
    def pause(self, seconds: float) -> bool: ...


class Written(Protocol):
    """The right answer, as it would have been sent."""

    @property
    def status(self) -> int: ...
    @property
    def body(self) -> bytes: ...
    @property
    def headers(self) -> Mapping[str, str]: ...


@dataclass(frozen=True)
class Window:
    """Which records a page shows: `size` of them from `start` on. `leads_to` is where the next page starts, where that
    is not after this one; `is_empty` shows and announces none."""

    start: int
    size: int
    leads_to: int | None = None
    is_empty: bool = False

    def shown(self, records: list[Record]) -> list[Record]:
        return [] if self.is_empty else records[self.start : self.start + self.size]

    def total(self, records: list[Record]) -> int:
        return 0 if self.is_empty else len(records)

    def following(self, records: list[Record]) -> int | None:
        """Where the next page starts, or None after the last."""
        if self.leads_to is not None:
            return self.leads_to
        end = self.start + self.size
        return end if end < len(records) and not self.is_empty else None


@dataclass(frozen=True)
class Fault:
    """What goes wrong, in words, and how: with a record, with the choice of a page, with the answer (before or
    after what was asked for is done), or on the wire."""

    words: str
    record: Callable[[Record, Random], list[Record]] | None = None
    window: Callable[[Window], Window] | None = None
    reply: Callable[[str], RawReply] | None = None
    late_reply: Callable[[str], RawReply] | None = None
    wire: Callable[[Wire, Written], None] | None = None
    revokes_token: bool = False


# --- with a record ----------------------------------------------------------------------------------------


def _twice(record: Record, dice: Random) -> list[Record]:
    return [record, dict(record)]


def _of_wrong_types(record: Record, dice: Random) -> list[Record]:
    """One value becomes one of another type: whichever, so that over a feed every field is hit."""
    name = dice.choice([name for name, value in record.items() if value is not None])
    wrong = [record[name]] if isinstance(record[name], dict) else {"unexpected": record[name]}
    return [{**record, name: wrong}]


# --- with the answer --------------------------------------------------------------------------------------


def _error(path: str) -> RawReply:
    return 500, b'{"error":"An unexpected error has occurred."}', {}


def _too_many(path: str) -> RawReply:
    return 429, b'{"error":"Too many requests."}', {"Retry-After": str(RETRY_AFTER_SECONDS)}


def _login_page(path: str) -> RawReply:
    page = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in.</body></html>"
    return 200, page, {"Content-Type": "text/html; charset=utf-8"}


def _elsewhere(path: str) -> RawReply:
    return 302, b"", {"Location": f"https://login.example.edu/?return={path}"}


# --- on the wire ------------------------------------------------------------------------------------------


def _silence(wire: Wire, right: Written) -> None:
    wire.pause(wire.pace.hold)


def _late(wire: Wire, right: Written) -> None:
    if wire.pause(wire.pace.slow):
        wire.send_head(right.status, {**right.headers, "Content-Length": str(len(right.body))})
        wire.send(right.body)


def _drip(wire: Wire, right: Written) -> None:
    wire.send_head(right.status, {**right.headers, "Content-Length": str(len(right.body))})
    drips = max(1, round(wire.pace.hold / wire.pace.drip))
    for place in range(min(drips, len(right.body))):
        wire.send(right.body[place : place + 1])
        if not wire.pause(wire.pace.drip):
            return


def _cut_off(wire: Wire, right: Written) -> None:
    wire.send_head(right.status, {**right.headers, "Content-Length": str(len(right.body))})
    wire.send(right.body[: len(right.body) // 2])


def _half_of_the_json(wire: Wire, right: Written) -> None:
    half = right.body[: len(right.body) // 2]
    wire.send_head(right.status, {**right.headers, "Content-Length": str(len(half))})
    wire.send(half)


def _without_end(wire: Wire, right: Written) -> None:
    wire.send_head(200, {"Connection": "close"})
    wire.send(b'{"data":[')
    for _ in range(HUGE_BYTES // MIB):
        wire.send(_SPACES)


def _bomb(wire: Wire, right: Written) -> None:
    """A kilobyte that unpacks to a mebibyte, again and again: a gzip stream whose end never comes."""
    wire.send_head(200, {"Connection": "close", "Content-Encoding": "gzip"})
    packer = zlib.compressobj(9, wbits=31)
    wire.send(packer.compress(b"[") + packer.flush(zlib.Z_FULL_FLUSH))
    block = packer.compress(_SPACES) + packer.flush(zlib.Z_FULL_FLUSH)  # unpacks alike, wherever it stands
    for _ in range(HUGE_BYTES // MIB):
        wire.send(block)


_SPACES: Final = b" " * MIB

FAULTS: Final[dict[str, Fault]] = {
    "error500": Fault("answers 500", reply=_error),
    "error500_after": Fault("does what it was asked to, and answers 500", late_reply=_error),
    "timeout": Fault("never answers", wire=_silence),
    "slow": Fault("answers late, and rightly", wire=_late),
    "drip": Fault("sends its answer byte by byte", wire=_drip),
    "truncated": Fault("breaks off in the middle of an answer", wire=_cut_off),
    "malformed": Fault("sends JSON that ends in its middle, as if it were whole", wire=_half_of_the_json),
    "html": Fault("answers 200 with a page to sign in at", reply=_login_page),
    "rate_limit": Fault("answers 429 with Retry-After", reply=_too_many),
    "missing_page": Fault("leaves a page out", window=lambda window: replace(window, start=window.start + window.size)),
    "loop": Fault("answers with its first page, which leads to itself", window=lambda window: replace(window, start=0, leads_to=0)),
    "duplicate": Fault("has records twice", record=_twice),
    "empty": Fault("has no records at all", window=lambda window: replace(window, is_empty=True)),
    "wrong_types": Fault("has records with a value of another type", record=_of_wrong_types),
    "redirect": Fault("sends the caller to another host", reply=_elsewhere),
    "huge": Fault("sends an answer of a gibibyte", wire=_without_end),
    "gzip_bomb": Fault("sends a small answer that unpacks to a gibibyte", wire=_bomb),
    "expired_token": Fault("says that the token has expired", revokes_token=True),
}  # fmt: skip


# --- when they strike -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Strikes:
    """The faults that strike one call."""

    faults: tuple[Fault, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.faults)

    @property
    def revokes_token(self) -> bool:
        return any(fault.revokes_token for fault in self.faults)

    @property
    def reply(self) -> Callable[[str], RawReply] | None:
        return next((fault.reply for fault in self.faults if fault.reply), None)

    @property
    def late_reply(self) -> Callable[[str], RawReply] | None:
        return next((fault.late_reply for fault in self.faults if fault.late_reply), None)

    @property
    def wire(self) -> Callable[[Wire, Written], None] | None:
        return next((fault.wire for fault in self.faults if fault.wire), None)

    def moved(self, window: Window) -> Window:
        for fault in self.faults:
            window = fault.window(window) if fault.window else window
        return window


NO_STRIKES: Final = Strikes()


class NotAFault(ValueError):
    """What should name a fault does not; the text says what would."""


def parse_fault(text: str) -> tuple[str, float]:
    """Return kind and rate of `KIND[:RATE]`. Raises NotAFault."""
    kind, colon, share = text.partition(":")
    if kind not in FAULTS:
        raise NotAFault(f"There is no fault {kind!r}; there are {', '.join(FAULTS)}.")
    try:
        rate = float(share) if colon else 1.0
    except ValueError:
        rate = 0.0
    if not 0 < rate <= 1:
        raise NotAFault(f"The rate of {kind} is a number of more than 0 and at most 1, such as {kind}:0.1.")
    return kind, rate


class Faults:
    """Which faults a system has, at which rate. They may be changed while it runs."""

    def __init__(self, declared: tuple[tuple[str, float], ...], seed: int) -> None:
        self.declared, self._seed = declared, seed
        self.calls = 0
        self._lock = threading.Lock()

    def strikes(self) -> Strikes:
        """The faults that strike the next call: the same for the same seed and number of the call."""
        with self._lock:
            self.calls += 1
            number = self.calls
        struck = [kind for kind, rate in self.declared if self._dice(kind, number).random() < rate]
        return Strikes(tuple(fault for kind in struck if not (fault := FAULTS[kind]).record))

    def spoil(self, records: list[Record]) -> list[Record]:
        """The records, after the faults that strike records."""
        for kind, rate in self.declared:
            if spoil := FAULTS[kind].record:
                dice = self._dice(kind, 0)
                records = [
                    spoiled
                    for record in records
                    for spoiled in (spoil(record, dice) if dice.random() < rate else [record])
                ]
        return records

    def _dice(self, kind: str, number: int) -> Random:
        return Random(f"{self._seed}:{kind}:{number}")  # noqa: S311 - made-up faults, the same every time
