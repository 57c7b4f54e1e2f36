"""Servers that are measured: one process each, on one core, started for its turn and stopped after it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from django.conf import settings

from integrations.management.processes import HOST, WEB_THREADS, free_port, http_status

SERVER_CORE, LOAD_CORE = 0, 1
PEERS: Final = "integrations.management.benchmarks.peers"
_READY_SECONDS: Final = 30
_STOP_SECONDS: Final = 10


@dataclass(frozen=True)
class Server:
    """What is started: an application, and whether it is an asynchronous one."""

    application: str
    is_asgi: bool = False

    def command(self, port: int) -> list[str]:
        """The product's own web server for what is WSGI; for ASGI the one that its users would take."""
        if self.is_asgi:
            serve = ["uvicorn", self.application, "--host", HOST, "--port", str(port), "--no-access-log"]
            return [sys.executable, "-m", *serve, "--log-level", "error"]
        serve = ["gunicorn", self.application, "--bind", f"{HOST}:{port}", "--workers", "1"]
        threads = ["--worker-class", "gthread", "--threads", str(WEB_THREADS), "--keep-alive", "5"]
        return [sys.executable, "-m", *serve, *threads, "--no-control-socket", "--log-level", "error"]


@contextmanager
def running(server: Server, environment: Mapping[str, str]) -> Iterator[str]:
    """Start a server, wait until it answers, and yield its address; stop it in the end. Raises RuntimeError."""
    port = free_port()
    command = [*pinned(SERVER_CORE), *server.command(port)]
    with subprocess.Popen(  # noqa: S603  commands of our own
        command, cwd=settings.BASE_DIR, env={**os.environ, **environment}, stdout=subprocess.DEVNULL
    ) as process:
        try:
            _wait_until_ready(process, port, server)
            yield f"http://{HOST}:{port}"
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def pinned(core: int) -> list[str]:
    """What keeps a command on one core; nothing on a machine that has no other."""
    return ["taskset", "-c", str(core)] if len(os.sched_getaffinity(0)) > 1 else []


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, server: Server) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while http_status(port, "/") is None:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{server.application} did not start; what it said is above.")
        time.sleep(0.05)
