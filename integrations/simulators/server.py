"""A small HTTP server for simulated systems: one thread a request, loopback only, stopped from a signal."""

from __future__ import annotations

import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Call:
    """A request as a system sees it."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    address: str  # scheme, host and port that the caller used


@dataclass(frozen=True)
class Reply:
    """A system's answer: a JSON value, with its status."""

    status: int
    value: Any
    headers: Mapping[str, str] = field(default_factory=dict)


class System(ABC):
    """A simulated external system."""

    name: ClassVar[str]

    def __init__(self, *, records: int, seed: int, students: int) -> None:
        self.records, self.seed, self.students = records, seed, students

    @abstractmethod
    def answer(self, call: Call) -> Reply:
        """Return what the system answers. Called from several threads."""


class SystemServer(ThreadingHTTPServer):
    """Serves one system on the loopback interface."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, system: System, port: int) -> None:
        self.system = system
        super().__init__(("127.0.0.1", port), _Handler)

    def stop(self) -> None:
        """End `serve_forever`; may be called from a signal handler, which runs in its very thread."""
        threading.Thread(target=self.shutdown).start()


def serve(system: System, port: int) -> SystemServer:
    """Return a server that listens already; `serve_forever` makes it answer. Raises OSError for a busy port."""
    return SystemServer(system, port)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: SystemServer

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        call = Call(
            method=self.command,
            path=parts.path,
            query=dict(parse_qsl(parts.query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in self.headers.items()},
            address=f"http://{self.headers.get('Host', '127.0.0.1')}",
        )
        reply = self.server.system.answer(call)
        body = json.dumps(reply.value, ensure_ascii=False, separators=(",", ":")).encode()
        self.send_response(reply.status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Be silent: requests carry credentials."""
