"""What `up --demo` adds: a demo university, and a connection to a simulated external system."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from django.core.management import call_command

from integrations.management.processes import HOST, free_port, is_free
from integrations.models import Connection
from integrations.models.connection import origin_of
from integrations.operations import save_connection
from integrations.simulators import aid
from registration.models import Student


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


def connect_aid(simulator: Simulator) -> Connection:
    """Return the demo's connection, saved anew when it is missing or the simulator has moved; otherwise it stays
    as it is, with whatever was changed in it since."""
    document = aid.connection_document(simulator.address)
    connection = Connection.objects.filter(slug=document["slug"]).first()
    if connection is None or connection.origin != origin_of(simulator.address):
        connection, _ = save_connection(document)
    return connection
