"""A library for tests: the simulated Koha, its connection, and what is seen of both."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from integrations.models import Connection, OutboxMessage
from integrations.operations import save_connection
from integrations.outbox.library import reconcile_library
from integrations.outbox.worker import Round, work_off
from integrations.simulators.koha import Koha, connection_document
from registration.models import LibraryAccount, Student
from tests.integrations.simulated import Simulated, simulated

# So that nothing waits long where the library does not answer.
TIMEOUTS = {"connect": 1, "read": 0.5, "total": 1, "slow_ms": 5000}


@dataclass
class Library:
    """The library: what stands there, and the connection that leads to it."""

    office: Simulated
    connection: Connection

    @property
    def koha(self) -> Koha:
        assert isinstance(self.office.system, Koha)
        return self.office.system

    @property
    def cards(self) -> list[str]:
        """The card numbers of every patron, in the order in which they were added."""
        return [patron["cardnumber"] for patron in self.koha.patrons.values()]

    def patron(self, number: str) -> dict[str, Any]:
        [patron] = [one for one in self.koha.patrons.values() if one["cardnumber"] == number]
        return patron

    def has_expired(self, number: str) -> bool:
        return bool(self.patron(number)["expiry_date"] < timezone.localdate().isoformat())


@contextmanager
def library(*faults: str, token_seconds: int = 3600, **changes: Any) -> Iterator[Library]:
    """A library with a connection to it, its document with these changes."""
    with simulated("koha", *faults, token_seconds=token_seconds) as office:
        document = {**connection_document(office.url), "timeouts": TIMEOUTS, **changes}
        yield Library(office, save_connection(document)[0])


def drain() -> Round:
    """What `outbox drain` does: reconcile, and work off what is due."""
    reconcile_library()
    return work_off()


def later(**passed: float) -> Round:
    """As `drain`, when this much more time has passed for what waits."""
    shift = datetime.timedelta(**passed)
    for message in OutboxMessage.objects.waiting():
        OutboxMessage.objects.filter(pk=message.pk).update(due_at=message.due_at - shift)
    return drain()


def status_of(student: Student) -> str:
    return LibraryAccount.objects.get(student=student).status


def end_grace(*students: Student) -> None:
    """Let the grace of these students' accounts be over (of all, where none is named)."""
    accounts = LibraryAccount.objects.filter(grace_ends_at__isnull=False)
    if students:
        accounts = accounts.filter(student__in=students)
    assert accounts.update(grace_ends_at=timezone.now() - datetime.timedelta(seconds=1))
