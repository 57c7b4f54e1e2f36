"""Keeps a handful of processes running: starts them in order, starts again what crashed, stops in reverse.

It has a single thread, on purpose: it forks, and a fork of a process with threads may hang in the child.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from integrations.management.parent_death import die_with_parent

POLL_SECONDS = 0.1
DRAIN_SECONDS = 30.0
FIRST_DELAY_SECONDS = 1.0
LONGEST_DELAY_SECONDS = 30.0
STEADY_SECONDS = 60.0  # who has lived this long is well again: its next crash waits FIRST_DELAY_SECONDS
LAST_WORDS_LENGTH = 300


class ChildFailedError(Exception):
    """A process ended, or gave no sign of health in time, while things were being started."""


class ToldToStopError(Exception):
    """A signal to stop came while things were being started."""


@dataclass(frozen=True)
class Child:
    """A process to keep running, and how to see that it does its work."""

    name: str
    command: Sequence[str]
    is_healthy: Callable[[], bool]
    start_seconds: float = 60.0


@dataclass
class _Running:
    child: Child
    process: subprocess.Popen[bytes]
    started_at: float = field(default_factory=time.monotonic)
    delay: float = FIRST_DELAY_SECONDS
    restart_at: float | None = None


class Supervisor:
    """Runs children until a signal says to stop. Leaving the `with` block stops whatever runs.

    Each child has a session of its own, so that Ctrl-C at the terminal reaches only the supervisor, which drains.
    """

    def __init__(
        self, *, logs: Path, folder: Path, environment: Mapping[str, str], say: Callable[[str], None]
    ) -> None:
        self._logs = logs
        self._folder = folder
        self._environment = environment
        self._say = say
        self._running: list[_Running] = []
        self._signals_received = 0
        self._handlers_before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue  # nohup: whoever started it wants it to outlive the terminal
            self._handlers_before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        for number, handler in self._handlers_before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals_received += 1

    @property
    def is_told_to_stop(self) -> bool:
        return self._signals_received > 0

    def log_of(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    # --- starting ---

    def start(self, child: Child) -> None:
        """Start a child and wait until it is healthy. Every child that ends meanwhile fails the start.

        Raises ChildFailedError, naming the child, the reason if it is plain, and the log; ToldToStopError.
        """
        self._logs.mkdir(exist_ok=True)
        log = self.log_of(child.name)
        with contextlib.suppress(FileNotFoundError):
            log.replace(log.with_suffix(".log.1"))
        running = _Running(child, self._spawn(child))
        self._running.append(running)
        deadline = time.monotonic() + child.start_seconds
        while True:
            self.raise_if_interrupted()
            if child.is_healthy():
                return
            if time.monotonic() > deadline:
                raise ChildFailedError(
                    self._failure(running, f"gave no sign of health within {child.start_seconds:g} seconds")
                )
            time.sleep(POLL_SECONDS)

    def run(self, name: str, command: list[str]) -> int:
        """Run a command to its end, its words in a log of its own, and return its exit status; stopped when we are."""
        self._logs.mkdir(exist_ok=True)
        running = _Running(
            Child(name, command, lambda: True), self._spawn(Child(name, command, lambda: True))
        )
        try:
            while (status := running.process.poll()) is None:
                self.raise_if_interrupted()
                time.sleep(POLL_SECONDS)
        finally:
            if running.process.poll() is None:
                _kill_group(running.process)
        return status

    def raise_if_interrupted(self) -> None:
        """Raise if a signal to stop came (ToldToStopError) or a child has ended (ChildFailedError)."""
        if self.is_told_to_stop:
            raise ToldToStopError
        for running in self._running:
            if running.process.poll() is not None:
                raise ChildFailedError(self._failure(running, _ending(running.process.returncode)))

    def _spawn(self, child: Child) -> subprocess.Popen[bytes]:
        with self.log_of(child.name).open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - the commands are ours
                child.command,
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=partial(die_with_parent, os.getpid()),  # noqa: PLW1509 - one thread, see above
            )

    def _failure(self, running: _Running, what: str) -> str:
        log = self.log_of(running.child.name)
        # Whom a signal ended had no time to say why: its last line is about something else.
        was_killed = (running.process.returncode or 0) < 0
        words = "" if was_killed else last_words(log)
        reason = f": {words}" if words else ""
        return f"{running.child.name} {what}{reason} (log: {log})"

    # --- keeping ---

    def watch(self) -> None:
        """Start again what ends, until a signal says to stop."""
        while not self.is_told_to_stop:
            for running in self._running:
                self._tend(running)
            time.sleep(POLL_SECONDS)

    def _tend(self, running: _Running) -> None:
        now = time.monotonic()
        if running.restart_at is not None:
            if now >= running.restart_at:
                running.process = self._spawn(running.child)
                running.started_at, running.restart_at = now, None
        elif running.process.poll() is not None:
            _kill_group(running.process)
            if now - running.started_at >= STEADY_SECONDS:
                running.delay = FIRST_DELAY_SECONDS
            what = f"{_ending(running.process.returncode)}; it starts again in {running.delay:g} s"
            self._say(self._failure(running, what))
            running.restart_at = now + running.delay
            running.delay = min(2 * running.delay, LONGEST_DELAY_SECONDS)

    # --- stopping ---

    def stop(self) -> None:
        """Let every child finish what it is doing, last started first; a second signal cuts that short."""
        asked_before = self._signals_received
        while self._running:
            running = self._running.pop()
            running.process.terminate()
            deadline = time.monotonic() + DRAIN_SECONDS
            while running.process.poll() is None and time.monotonic() < deadline:
                if self._signals_received > asked_before:
                    break
                time.sleep(POLL_SECONDS)
            if running.process.poll() is None:
                self._say(f"{running.child.name} did not end when asked to, and was killed")
            _kill_group(running.process)
            running.process.wait()


def last_words(log: Path) -> str:
    """Return the last line of a log that says something: for an error that is mostly the reason."""
    with contextlib.suppress(OSError):
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        return _plain(lines[-1])[:LAST_WORDS_LENGTH] if lines else ""
    return ""


def _plain(line: str) -> str:
    # Our own log lines are JSON: an exception's last line says most, then the event.
    with contextlib.suppress(ValueError):
        entry = json.loads(line)
        if isinstance(entry, dict):
            said = str(entry.get("exception") or entry.get("event") or "").strip()
            return said.splitlines()[-1] if said else line
    return line


def _ending(code: int) -> str:
    return (
        f"was ended by signal {-code} ({signal.strsignal(-code)})"
        if code < 0
        else f"ended with exit code {code}"
    )


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a child's session, and the child itself if it still runs."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
