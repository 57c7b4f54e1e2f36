"""What `up --demo` adds: a demo university, and connections to simulated external systems."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from django.core.management import call_command

from integrations.management.processes import HOST, free_port, is_free, manage
from integrations.models import Connection
from integrations.models.connection import origin_of
from integrations.operations import save_connection
from integrations.simulators import aid, housing, koha
from registration.demo import assume_library_accounts
from registration.models import LedgerEntry, Student


@dataclass(frozen=True)
class Simulator:
    """A simulated external system, where it listens, and how many records it has."""

    system: str
    port: int
    records: int

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def document(self) -> dict[str, Any]:
        """The document of the demo's connection to it."""
        return _SYSTEMS[self.system].document(self.address)


@dataclass(frozen=True)
class _System:
    records: int
    document: Callable[[str], dict[str, Any]]


# Six of ten students have a room, and nobody has two; the library begins empty.
_SYSTEMS: Final = {
    "aid": _System(2600, aid.connection_document),
    "housing": _System(1200, housing.connection_document),
    "koha": _System(0, koha.connection_document),
}
# What is charged when the demo begins.
_FIRST_TERM: Final = "2026FA"


def choose_simulators(folder: Path) -> list[Simulator]:
    """Return each simulator on the port that it had at the last start, if that is still free, else on another."""
    return [
        Simulator(name, _port(folder / f"simulator-{name}.port"), system.records)
        for name, system in _SYSTEMS.items()
    ]


def _port(kept: Path) -> int:
    try:
        port = int(kept.read_text())
    except (FileNotFoundError, ValueError):
        port = 0
    if not port or not is_free(port):
        port = free_port()
        kept.write_text(f"{port}\n")
    return port


def load_university() -> None:
    """Load the demo university; where there are students already, they are left as they are."""
    if not Student.objects.exists():
        # stdout is for the Ready block
        call_command("load_demo", without_fees=True, stdout=sys.stderr)
        assume_library_accounts()


def connect(simulator: Simulator) -> Connection:
    """Return the demo's connection to a simulated system, saved anew when it is missing or the simulator has moved;
    otherwise it stays as it is, with whatever was changed in it since."""
    document = simulator.document
    connection = Connection.objects.filter(slug=document["slug"]).first()
    if connection is None or connection.origin != origin_of(simulator.address):
        connection, _ = save_connection(document)
    return connection


def commands_of_the_first_start() -> dict[str, list[str]]:
    """What a term begins with, by name, where nobody is charged yet: the rooms first, because they decide the fees."""
    if LedgerEntry.objects.from_schedules().exists():
        return {}
    return {
        "first-rooms": manage("sync", "housing"),
        "first-fees": manage("assess_fees", _FIRST_TERM),
    }
