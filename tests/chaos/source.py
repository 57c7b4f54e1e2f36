"""The other system: it serves awards over real HTTP, and says when which page is asked for."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from tests.integrations.feed import MAPPING, UNGUARDED, award

PAGE_SIZE: Final = 15
PAGINATIONS: Final[dict[str, dict[str, Any]]] = {
    "cursor": {"type": "cursor", "cursor": "cursor"},
    "numbers": {"type": "page"},
}


@dataclass
class Office:
    """One feed of the source: what it says now is the truth that the ledger has to come to."""

    name: str
    dice: random.Random
    students: int
    awards: dict[str, dict[str, Any]] = field(default_factory=dict)
    made: int = 0
    # How many pages were asked for since the last `listen`, and what is done when one is, before it is answered.
    asked: int = 0
    on_page: Callable[[int], None] | None = None

    def move_on(self) -> None:
        """Change what the feed says, as a day at the office does: new, other, cancelled and withdrawn awards."""
        keys = list(self.awards)
        self.dice.shuffle(keys)
        for key in keys[:4]:
            self.awards[key]["amount"] = f"{self.dice.randrange(100, 900_000) / 100:.2f}"
        for key in keys[4:5]:
            self.awards[key]["state"] = "cancelled"
        for key in keys[5:7]:
            del self.awards[key]
        for _ in range(4 if keys else 40):
            self._add()

    def _add(self) -> None:
        self.made += 1
        number = self.dice.randint(1, self.students)
        key = f"{self.name[0].upper()}{self.made:05d}"
        amount = f"{self.dice.randrange(100, 900_000) / 100:.2f}"
        self.awards[key] = award(number, id=key, amount=amount)

    def listen(self, on_page: Callable[[int], None] | None) -> None:
        """Count pages from 1 again, and do this at each of them."""
        self.asked, self.on_page = 0, on_page

    @property
    def bills(self) -> dict[str, tuple[str, int]]:
        """What has to stand on bills: by record, the student and the amount in cents."""
        return {
            f"{key}#1": (said["student"]["number"], round(float(said["amount"]) * 100))
            for key, said in self.awards.items()
            if said["state"] != "cancelled"
        }

    def page(self, asked: dict[str, list[str]]) -> dict[str, Any]:
        self.asked += 1
        if self.on_page is not None:
            self.on_page(self.asked)
        start = int(asked.get("cursor", ["0"])[0]) or (int(asked.get("page", ["1"])[0]) - 1) * PAGE_SIZE
        rows = list(self.awards.values())
        end = start + PAGE_SIZE
        return {"data": rows[start:end], "cursor": str(end) if end < len(rows) else None}


class Source(ThreadingHTTPServer):
    """Serves each office at /NAME on this machine, until it is closed."""

    daemon_threads = True

    def __init__(self, seed: int, students: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.offices = {
            name: Office(name, random.Random(f"{seed} {name}"), students)  # noqa: S311 - the same for a seed
            for name in PAGINATIONS
        }
        threading.Thread(target=self.serve_forever, name="source", daemon=True).start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def document(self, name: str) -> dict[str, Any]:
        """The connection document of an office."""
        dataset = {"path": f"/{name}", "records": "data", "pagination": PAGINATIONS[name], "mapping": MAPPING}
        return {
            "slug": name,
            "name": f"Office with {name}",
            "connector": "rest",
            "base_url": f"http://{self.host}",
            "schedule": {"every_minutes": 1440},
            "datasets": {"aid_awards": dataset},
            "guards": UNGUARDED,
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Source

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        body = json.dumps(self.server.offices[parts.path.strip("/")].page(parse_qs(parts.query))).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            return  # whoever asked is dead

    def log_message(self, *_: object) -> None:
        """Be silent: standard output is for the rounds."""
