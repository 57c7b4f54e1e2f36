"""A small HTTP server for simulated systems: one thread a request, loopback only, stopped from a signal."""

from __future__ import annotations

import random
import select
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic
from typing import Any, ClassVar, Final
from urllib.parse import parse_qsl, urlsplit

from integrations.simulators.faults import Strikes
from integrations.simulators.system import Call, Reply, System, refusal

MAX_REQUEST_BYTES: Final = 1 << 16
# What is kept of answers in load mode, in bytes: the simulator is then no slower than the wire.
KEPT_BYTES: Final = 64 * 1024 * 1024
_IDLE_SECONDS: Final = 60
OK: Final = 200


@dataclass(frozen=True)
class Pace:
    """How long things take, in seconds. `latency` is added to each answer, half to one and a half of it; the others are
    of the faults: how late a slow answer is, how long a silent one is held, and the pause between two dripped bytes."""

    latency: float = 0.0
    slow: float = 3.0
    hold: float = 120.0
    drip: float = 0.1


@dataclass
class Load:
    """What was served. In load mode answers are kept, as bytes, by what was asked for."""

    is_keeping: bool = False
    requests: int = 0
    bytes: int = 0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[tuple[Any, ...], Reply] = {}
        self._size = 0

    def kept(self, call: Call) -> Reply | None:
        return self._kept.get(call.key) if self.is_keeping else None

    def keep(self, call: Call, reply: Reply) -> None:
        with self._lock:
            fits = self._size + len(reply.body) <= KEPT_BYTES
            if self.is_keeping and call.method == "GET" and fits and call.key not in self._kept:
                self._kept[call.key] = reply
                self._size += len(reply.body)

    def count(self, sent: int) -> None:
        with self._lock:
            self.requests += 1
            self.bytes += sent


class SystemServer(ThreadingHTTPServer):
    """Serves one system on the loopback interface."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, system: System, port: int, *, pace: Pace, load: Load) -> None:
        self.system, self.pace, self.load = system, pace, load
        self.is_stopping = threading.Event()
        self.started = monotonic()
        self.dice = random.Random(system.seed)  # noqa: S311 - made-up delays, no secret
        super().__init__(("127.0.0.1", port), _Handler)

    def stop(self) -> None:
        """End `serve_forever` and every answer that is being held; may be called from a signal handler, which runs in
        its very thread."""
        self.is_stopping.set()
        threading.Thread(target=self.shutdown).start()


def serve(system: System, port: int, *, pace: Pace | None = None, load: Load | None = None) -> SystemServer:
    """Return a server that listens already; `serve_forever` makes it answer. Raises OSError for a busy port."""
    return SystemServer(system, port, pace=pace or Pace(), load=load or Load())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS
    # An answer is written in two parts: without this, the second waits for the acknowledgement of the first.
    disable_nagle_algorithm: ClassVar[bool] = True
    server: SystemServer

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > MAX_REQUEST_BYTES:
            self.close_connection = True
            self._send(refusal(413, f"A request has at most {MAX_REQUEST_BYTES:,} bytes."))
            return
        self._answer(self.rfile.read(int(length)))

    do_PUT = do_PATCH = do_DELETE = do_POST  # noqa: N815 - the names that http.server calls

    def _answer(self, body: bytes) -> None:
        server, system = self.server, self.server.system
        call = self._call(body)
        if server.pace.latency:
            self.pause(server.pace.latency * server.dice.uniform(0.5, 1.5))
        strikes = system.strikes_at(call)
        may_be_kept = not strikes and not system.is_changing and system.admits(call)
        reply = server.load.kept(call) if may_be_kept else None
        if reply is None:
            reply = system.answer(call, strikes)
            if may_be_kept and reply.status == OK:
                server.load.keep(call, reply)
        self._send(reply, strikes)

    def _call(self, body: bytes) -> Call:
        parts = urlsplit(self.path)
        return Call(
            method=self.command,
            path=parts.path,
            query=tuple(parse_qsl(parts.query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in self.headers.items()},
            address=f"http://{self.headers.get('Host', '127.0.0.1')}",
            body=body,
        )

    def _send(self, reply: Reply, strikes: Strikes | None = None) -> None:
        try:
            if strikes and strikes.wire:
                self.close_connection = True
                strikes.wire(self, reply)
            else:
                self.send_head(reply.status, {**reply.headers, "Content-Length": str(len(reply.body))})
                self.send(reply.body)
        except OSError:
            self.close_connection = True  # the caller has had enough

    # --- what a fault may do with the wire ----------------------------------------------------------------

    @property
    def pace(self) -> Pace:
        return self.server.pace

    def send_head(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the first line and the headers."""
        self.send_response(status)
        for name, value in {"Content-Type": "application/json; charset=utf-8", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def send(self, part: bytes) -> None:
        """Send bytes of the body. Raises OSError when the caller has hung up."""
        # Counted first: whoever has the answer finds it counted.
        self.server.load.count(len(part))
        self.wfile.write(part)

    def pause(self, seconds: float) -> bool:
        """Wait, but no longer than the server runs and the caller listens. Returns whether both still do."""
        deadline = monotonic() + seconds
        while (left := deadline - monotonic()) > 0:
            if self.server.is_stopping.wait(min(left, 0.05)) or self._has_hung_up():
                return False
        return True

    def _has_hung_up(self) -> bool:
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable) and self.connection.recv(1, socket.MSG_PEEK) == b""

    def log_message(self, *_: object) -> None:
        """Be silent: requests carry credentials."""
