"""Interruption: whoever waits for another system stops waiting once what it waits for is not wanted any more.

A run that was cancelled may sit in a read that takes minutes, or wait out a Retry-After. Python cannot be made to leave a
blocking read from outside, but a socket can be shut down under it: the read then ends at once (shutdown(2) wakes whoever
waits in recv or connect; close does not).
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Final
from weakref import WeakSet

from integrations.transports.errors import NotSent

_WHY: Final = "the run was stopped while it waited"


class CutShort(NotSent):
    """We ourselves stopped waiting: it shows nothing of the other system."""

    advice = "Whoever stopped the run has said why."


class Interruption:
    """Ends, once and for all, the waits of those who are told of it: called from another thread than theirs."""

    def __init__(self) -> None:
        self._happened = threading.Event()
        self._sockets: WeakSet[Any] = WeakSet()
        self._lock = threading.Lock()

    @property
    def has_happened(self) -> bool:
        return self._happened.is_set()

    def interrupt(self) -> None:
        """End every wait, those under way and those to come."""
        with self._lock:
            self._happened.set()
            sockets = list(self._sockets)
        for sock in sockets:
            _shut_down(sock)

    def wait(self, seconds: float) -> None:
        """Wait, and raise CutShort when interrupted."""
        if self._happened.wait(seconds):
            raise CutShort(_WHY)

    def watch(self, sock: socket.socket) -> None:
        """Shut this socket down when interrupted."""
        with self._lock:
            self._sockets.add(sock)
        if self.has_happened:
            _shut_down(sock)


_current: ContextVar[Interruption | None] = ContextVar("integrations_interruption", default=None)


@contextmanager
def interrupted_by(interruption: Interruption) -> Iterator[None]:
    """Let `interruption` end the waits inside the block, of this thread."""
    token = _current.set(interruption)
    try:
        yield
    finally:
        _current.reset(token)


def pause(seconds: float) -> None:
    """Wait, unless interrupted: then raise CutShort."""
    interruption = _current.get()
    if interruption is None:
        time.sleep(seconds)
    else:
        interruption.wait(seconds)


def watch(sock: socket.socket) -> None:
    """Have this socket shut down when the work at hand is interrupted."""
    if interruption := _current.get():
        interruption.watch(sock)


def cut_short() -> CutShort | None:
    """What the work at hand came to when it was interrupted; None when it was not."""
    interruption = _current.get()
    return CutShort(_WHY) if interruption and interruption.has_happened else None


def _shut_down(sock: socket.socket) -> None:
    with suppress(OSError, ValueError):  # closed by now, or not connected yet
        # Of the file, not of TLS, whose own shutdown would speak to the other side and wait for it.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
