"""What this process says to other machines, and whether it does so while a transaction is open."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from django.db import transaction


def in_transaction() -> bool:
    """Whether a transaction of the product is open, and not only that of the test."""
    blocks = transaction.get_connection().atomic_blocks
    return bool(blocks) and not blocks[-1]._from_testcase


def watch_sockets(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Note from now on, for whatever is opened or sent over any socket of Python (to systems, mail servers, counters and
    the broker alike), whether a transaction was open."""
    sent: list[bool] = []
    for name in ("connect", "sendall", "send"):
        original = getattr(socket.socket, name)

        def watched(self: socket.socket, *args: Any, original: Any = original) -> Any:
            sent.append(in_transaction())
            return original(self, *args)

        monkeypatch.setattr(socket.socket, name, watched)
    return sent
