"""What `up --demo` adds: a demo university, and connections to simulated external systems."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from django.core.management import call_command

from integrations.management.processes import HOST, free_port, is_free
from integrations.models import Connection
from integrations.models.connection import origin_of
from integrations.operations import save_connection
from integrations.simulators import aid, koha
from registration.demo import assume_library_accounts
from registration.models import Student

# The systems of the demo, each with its connection's document.
DOCUMENTS: Final[dict[str, Callable[[str], dict[str, Any]]]] = {
    "aid": aid.connection_document,
    "koha": koha.connection_document,
}


@dataclass(frozen=True)
class Simulator:
    """A simulated external system, and where it listens."""

    system: str
    port: int

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.port}"


def choose_simulator(system: str, folder: Path) -> Simulator:
    """Return the simulator on the port that it had at the last start, if that is still free, else on another."""
    kept = folder / f"simulator-{system}.port"
    try:
        port = int(kept.read_text())
    except (FileNotFoundError, ValueError):
        port = 0
    if not port or not is_free(port):
        port = free_port()
        kept.write_text(f"{port}\n")
    return Simulator(system, port)


def load_university() -> None:
    """Load the demo university; where there are students already, they are left as they are."""
    if not Student.objects.exists():
        call_command("load_demo", stdout=sys.stderr)  # stdout is for the Ready block
        assume_library_accounts()


def connect(simulator: Simulator) -> Connection:
    """Return the demo's connection to a simulated system, saved anew when it is missing or the simulator has moved;
    otherwise it stays as it is, with whatever was changed in it since."""
    document = DOCUMENTS[simulator.system](simulator.address)
    connection = Connection.objects.filter(slug=document["slug"]).first()
    if connection is None or connection.origin != origin_of(simulator.address):
        connection, _ = save_connection(document)
    return connection
