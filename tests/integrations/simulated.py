"""Simulated systems for tests: in this process, over real HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from integrations.simulators import SYSTEMS
from integrations.simulators.aid import TOKEN
from integrations.simulators.faults import Faults, parse_fault
from integrations.simulators.feed import Feed, Record
from integrations.simulators.server import Pace, SystemServer, serve
from integrations.simulators.system import System
from tests.integrations.feed import MAPPING, may_reach

# Faults that take their time take less of it here.
QUICK = Pace(slow=0.1, hold=5.0, drip=0.01)


@dataclass
class Simulated:
    """A simulated system that answers, and how often it was asked for records."""

    server: SystemServer
    system: System
    edits: dict[int, dict[str, Any]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    @property
    def calls(self) -> int:
        return self.system.faults.calls

    @property
    def feed(self) -> Feed:
        assert isinstance(self.system, Feed)
        return self.system

    @property
    def records(self) -> list[Record]:
        """What it answers from."""
        return self.feed.records

    def suffer(self, *faults: str) -> None:
        """Have these faults from now on, and no others."""
        self.system.faults.declared = tuple(parse_fault(fault) for fault in faults)
        self.system.__dict__.pop("records", None)

    def edit(self, index: int, **changes: Any) -> None:
        """Change a record at the source."""
        self.edits[index] = changes
        self.system.__dict__.pop("records", None)

    @property
    def source(self) -> list[Record]:
        """What is true there, whatever goes wrong with saying it."""
        dice = Random(self.system.seed)  # noqa: S311 - made-up data, the same every time
        return [self.feed.make(index, dice) for index in range(self.feed.size)]


@contextmanager
def simulated(
    name: str = "aid",
    *faults: str,
    records: int = 30,
    seed: int = 1,
    pace: Pace = QUICK,
    token_seconds: int = 3600,
) -> Iterator[Simulated]:
    """Serve a system in a thread of its own; it stops with the block, whatever it is at."""
    declared = tuple(parse_fault(fault) for fault in faults)
    system = SYSTEMS[name](
        records=records, seed=seed, students=12, faults=Faults(declared, seed), token_seconds=token_seconds
    )
    server = serve(system, 0, pace=pace)
    office = Simulated(server, system)
    if isinstance(system, Feed):
        make = system.make
        system.make = lambda index, dice: make(index, dice) | office.edits.get(index, {})  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with may_reach(f"127.0.0.1:{server.server_port}"):
            yield office
    finally:
        server.stop()
        thread.join()
        server.server_close()


def aid_document(base_url: str, **changes: Any) -> dict[str, Any]:
    """A connection to the simulated aid office, in small pages whose number of records is checked."""
    state = {"path": "state", "transforms": ["lower"], "lookup": {"paid": "disbursed"}}
    return {
        "slug": "financial-aid",
        "name": "Financial aid office",
        "base_url": base_url,
        "auth": {"type": "bearer", "token": TOKEN},
        "timeouts": {"connect": 1, "read": 0.5, "total": 1},
        "guards": {"first_load": "apply"},
        "datasets": {
            "aid_awards": {
                "path": "/awards",
                "records": "data",
                "pagination": {
                    "type": "cursor",
                    "cursor": "next_cursor",
                    "size_param": "limit",
                    "size": 10,
                    "total": "total",
                },
                "mapping": {**MAPPING, "status": state},
            }
        },
        **changes,
    }
