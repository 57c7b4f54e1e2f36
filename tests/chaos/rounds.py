"""A round: the source moves on, somebody asks for a sync, something is struck, and then everything must hold."""

from __future__ import annotations

import http.client
import random
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Final

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.db import InterfaceError, OperationalError, close_old_connections, connection, connections
from django.urls import reverse
from django.utils import timezone

from apiauth.models import User
from audit.context import Actor, acting
from integrations.models import RunLease, Stream, SyncRun
from integrations.models.run import RunTrigger
from integrations.operations import AlreadyRunning, request_run, save_connection
from integrations.sync.failpoints import STOPPED_SUFFIX
from integrations.sync.runner import execute_run
from tests.chaos.installation import STUDENTS, Installation, start_processes
from tests.chaos.invariants import broken
from tests.chaos.source import Office
from tests.chaos.stack import python, wait_until
from tests.chaos.strikes import STRIKES, Moment, Victim, all_strikes
from tests.university import make_students, make_terms

# How long a run may take to begin, and to end once everything is up again: several leases.
BEGIN_SECONDS: Final = 60
END_SECONDS: Final = 60
CONVERGE_SYNCS: Final = 3
OPERATOR: Final = Actor(kind="command", name="chaos")
ASKING: Final = ("button", "schedule", "command")


@dataclass
class Round:
    """One line of what the tool prints."""

    round: int
    kind: str
    office: str
    asked_by: str
    strike: str
    moment: str
    struck: bool = False
    runs: list[str] = field(default_factory=list)
    takeovers: int = 0
    seconds: float = 0.0
    broken: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def play(installation: Installation, rounds: int, seed: int) -> Iterator[Round]:
    """Play rounds, and yield what came of each. The same seed strikes the same."""
    fill(installation)
    start_processes(installation)
    dice = random.Random(seed)  # noqa: S311 - the same for a seed
    deck: list[tuple[str, Moment]] = []
    for number in range(1, rounds + 1):
        deck = deck or dice.sample(everything := all_strikes(installation.kind), len(everything))
        strike, moment = deck.pop()
        office, asking = dice.choice(sorted(installation.source.offices)), dice.choice(ASKING)
        played = Round(number, installation.kind, office, asking, strike, str(moment))
        start = time.monotonic()
        try:
            _Play(installation, played, moment).play()
        except TimeoutError as error:
            played.broken.append(str(error))
        played.seconds = round(time.monotonic() - start, 2)
        yield played


def fill(installation: Installation) -> None:
    """A small university, somebody who may do everything, and the connections to the source."""
    make_terms()
    make_students(STUDENTS)
    User.objects.create_superuser("chaos", "chaos@example.edu", None)
    for name in installation.source.offices:
        save_connection(installation.source.document(name))
    Stream.objects.update(next_run_at=None)  # the rounds say when something is due
    connection.close()


@dataclass
class _Play:
    installation: Installation
    played: Round
    moment: Moment
    victims: list[Victim] = field(default_factory=list)

    @property
    def office(self) -> Office:
        return self.installation.source.offices[self.played.office]

    def play(self) -> None:
        close_old_connections()
        first = (SyncRun.objects.order_by("-pk").values_list("pk", flat=True).first() or 0) + 1
        stream = Stream.objects.select_related("connection").get(connection__slug=self.played.office)
        self.office.move_on()
        self._arm(stream)
        asker = self._ask(stream)
        wait_until(lambda: self._has_begun(stream, first), "the run begins", BEGIN_SECONDS)
        self.office.listen(None)
        self._disarm()
        self.installation.stack.heal()
        self.installation.wait_for_database()
        connections.close_all()
        wait_until(lambda: self._is_well(stream, first), f"the runs of {self.played.office} end", END_SECONDS)
        if asker is not None:
            asker.wait(END_SECONDS)
        converge(stream)
        runs = SyncRun.objects.filter(pk__gte=first).order_by("pk")
        self.played.runs = [f"{run.pk} {run.status}" for run in runs]
        leases = RunLease.objects.filter(run__in=runs)
        self.played.takeovers = sum(lease.fence - 1 for lease in leases)
        self.played.broken += broken(self.installation.source, first)

    def _has_begun(self, stream: Stream, first: int) -> bool:
        """Whether the run has come to the moment of the strike, or has ended without."""
        self.installation.stack.heal()
        return self._is_struck(stream) or _has_ended(stream, first)

    def _is_well(self, stream: Stream, first: int) -> bool:
        """Start again what has died meanwhile, as a supervisor does, and see whether the runs of the round have ended."""
        self.installation.stack.heal()
        return _has_ended(stream, first)

    # --- asking -------------------------------------------------------------------------------------------

    def _ask(self, stream: Stream) -> subprocess.Popen[bytes] | None:
        """Ask for a sync as people, the clock and operators do."""
        if self.played.asked_by == "button":
            press(self.installation.port, stream)
        elif self.played.asked_by == "schedule":
            now = timezone.now()  # a slot of its own: one that a round before has used has its run
            Stream.objects.filter(pk=stream.pk).update(next_slot_at=now, next_run_at=now)
        else:
            with (self.installation.stack.folder / "command.log").open("ab") as log:
                return subprocess.Popen(
                    python("manage.py", "sync", self.played.office, "--json"),
                    env=self.installation.stack.environment,
                    cwd=settings.BASE_DIR,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        return None

    # --- striking -----------------------------------------------------------------------------------------

    def _arm(self, stream: Stream) -> None:
        if self.moment.failpoint is not None:
            (self.installation.armed / self.moment.failpoint).touch()
        self.office.listen(self._on_page if self.moment.page else None)

    def _on_page(self, page: int) -> None:
        """Called by the source, in a thread of its own, while whoever asks waits for the page."""
        if page != self.moment.page or self.victims:
            return
        try:
            lease = RunLease.objects.filter(run__status="running").select_related("run").first()
            if lease is not None:
                self._strike(Victim(lease.run, int(lease.holder.rpartition(":")[2])))
        finally:
            connection.close()

    def _is_struck(self, stream: Stream) -> bool:
        if self.moment.failpoint is None:
            return self.played.struck
        stopped = self.installation.armed / f"{self.moment.failpoint}{STOPPED_SUFFIX}"
        if not stopped.exists():
            return False
        process = int(stopped.read_text())
        stopped.unlink()
        run = SyncRun.objects.filter(stream=stream).latest("pk")
        wait_until(lambda: _is_stopped(process), "the process stops at its failpoint", BEGIN_SECONDS)
        self._strike(Victim(run, process))
        return True

    def _strike(self, victim: Victim) -> None:
        self.victims.append(victim)
        STRIKES[self.played.strike](self.installation, victim, self.moment)
        self.played.struck = True

    def _disarm(self) -> None:
        for left in self.installation.armed.iterdir():
            left.unlink(missing_ok=True)


def converge(stream: Stream) -> None:
    """Sync until a run is applied: what failed or was cancelled is made good by the next sync."""
    for _ in range(CONVERGE_SYNCS):
        last = SyncRun.objects.filter(stream=stream).latest("pk")
        if last.status == "applied":
            return
        with acting(OPERATOR):
            try:
                execute_run(request_run(stream, RunTrigger.COMMAND).pk)
            except AlreadyRunning as error:
                wait_until(partial(_is_over, error.run), "the run in the way ends", END_SECONDS)


def _has_ended(stream: Stream, first: int) -> bool:
    """Whether there are runs since `first`, and none is live. A database that is being killed at this moment says nothing."""
    try:
        runs = SyncRun.objects.filter(stream=stream, pk__gte=first)
        return runs.exists() and not runs.live().exists()
    except (OperationalError, InterfaceError):
        connection.close()
        return False


def _is_over(run: SyncRun) -> bool:
    return not SyncRun.objects.live().filter(pk=run.pk).exists()


def _is_stopped(process: int) -> bool:
    """Whether the kernel has stopped it (proc(5): T in the state field, behind the name in parentheses)."""
    try:
        with open(f"/proc/{process}/stat") as stat:  # noqa: PTH123 - a file of the kernel
            return stat.read().rpartition(")")[2].split()[0] == "T"
    except FileNotFoundError:
        return True


def press(port: int, stream: Stream) -> None:
    """Press the button on the page, as a person who has signed in."""
    user = User.objects.get(username="chaos")
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    token = "c" * 32
    caller = http.client.HTTPConnection("127.0.0.1", port, timeout=BEGIN_SECONDS)
    path = reverse("admin:integrations_stream_sync", args=[stream.pk])
    caller.request(
        "POST",
        path,
        headers={
            "Cookie": f"{settings.SESSION_COOKIE_NAME}={session.session_key}; {settings.CSRF_COOKIE_NAME}={token}",
            "X-CSRFToken": token,
            "Content-Length": "0",
        },
    )
    response = caller.getresponse()
    response.read()
    if response.status >= http.client.BAD_REQUEST:
        raise TimeoutError(f"the button answers {response.status}")
    caller.close()
