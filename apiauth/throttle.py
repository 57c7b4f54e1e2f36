"""Failed client authentications: whoever fails more than 10 times in a minute waits, right secret or wrong.

They are counted twice, by (client, address) and by address, so that guessing the secrets of one client and guessing through
many are both slow, and so that nobody can lock a partner out from elsewhere: at its own address a client is untouched by
what others do to its name. Of any number of failures at once, 10 are told "wrong secret", the others to wait.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from apiauth import sliding_windows
from apiauth.counters import key
from apiauth.networks import source_of
from apiauth.sliding_windows import Window

LIMIT: Final = 10
WINDOW_SECONDS: Final = 60


@dataclass(frozen=True)
class Attempt:
    """Somebody at an endpoint who says to be a client."""

    endpoint: str
    client_id: str
    address: str

    @property
    def windows(self) -> tuple[Window, Window]:
        """What its failures count toward. The name is digested: it is the caller's, and may be anything."""
        name = hashlib.sha256(self.client_id.encode(errors="replace")).hexdigest()[:32]
        source = source_of(self.address)
        return (
            Window(key("failed", self.endpoint, name, source), LIMIT, WINDOW_SECONDS),
            Window(key("failed", self.endpoint, source), LIMIT, WINDOW_SECONDS),
        )


def seconds_to_wait(attempt: Attempt) -> int:
    """How long the attempt must wait before it is looked at; 0: not at all."""
    return sliding_windows.seconds_to_wait(attempt.windows)


def count_failure(attempt: Attempt) -> int:
    """Count a failure, and return how long to wait if it was one too many; 0: it was not."""
    return sliding_windows.count(attempt.windows)
