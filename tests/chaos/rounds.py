"""A round: the source moves on, somebody asks for a sync, something is struck, and then everything must hold."""

from __future__ import annotations

import http.client
import random
import subprocess
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.db import InterfaceError, OperationalError, connection
from django.urls import reverse
from django.utils import timezone

from apiauth.models import User
from apiauth.sign_on.sessions import SEEN_AT, SIGNED_ON_AT, SessionStore
from audit.context import Actor, acting
from integrations.models import RunLease, Stream, SyncRun
from integrations.models.run import RunTrigger
from integrations.operations import AlreadyRunning, request_run, save_connection
from integrations.sync.failpoints import STOPPED_SUFFIX
from integrations.sync.runner import execute_run
from tests.chaos.installation import STUDENTS, Installation, start_processes
from tests.chaos.invariants import broken
from tests.chaos.outbox import broken_accounts, connect, move_students
from tests.chaos.source import Office
from tests.chaos.stack import PATIENCE_SECONDS, dying_with_us, python, wait_until
from tests.chaos.strikes import STRIKES, Moment, Victim, all_strikes
from tests.university import make_section, make_students, make_terms

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

    @property
    def faults(self) -> str:
        """On one line: what did not hold, and what was done."""
        told = f"{self.strike} at {self.moment}, asked for by {self.asked_by}"
        return f"Round {self.round} ({told}): {' '.join(self.broken)}"


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
        except Exception as error:  # noqa: BLE001 - whatever it is, the round did not hold
            traceback.print_exc()
            played.broken.append(f"{type(error).__name__}: {error}")
        played.seconds = round(time.monotonic() - start, 2)
        yield played


def fill(installation: Installation) -> None:
    """A small university, somebody who may do everything, and the connections to the source."""
    make_students(STUDENTS)
    User.objects.create_superuser("chaos", "chaos@example.edu", None)
    for name in installation.source.offices:
        save_connection(installation.source.document(name))
    make_section(make_terms()[0], capacity=STUDENTS)
    connect(installation.library)
    Stream.objects.update(next_run_at=None)  # the rounds say when something is due
    connection.close()


@dataclass
class _Play:
    installation: Installation
    played: Round
    moment: Moment
    # Set by the source while it is asked for the page of the moment: that page is answered once the strike is over.
    page_is_asked_for: threading.Event = field(default_factory=threading.Event)
    is_over: threading.Event = field(default_factory=threading.Event)

    @property
    def office(self) -> Office:
        return self.installation.source.offices[self.played.office]

    def play(self) -> None:
        self.installation.wait_for_database()
        self.installation.wait_until_it_serves()
        first = (SyncRun.objects.order_by("-pk").values_list("pk", flat=True).first() or 0) + 1
        stream = Stream.objects.select_related("connection").get(connection__slug=self.played.office)
        self.office.move_on()
        move_students(random.Random(f"{self.played.round} {self.installation.library.koha.seed}"))  # noqa: S311 - the same for a seed
        self._arm()
        asker = self._ask(stream)
        wait = self.installation.wait_until
        wait(lambda: self._has_come(stream, first), "a run comes to the moment of the strike, or ends")
        self._disarm(stream)
        self.installation.wait_for_database()
        wait(
            lambda: _has_ended(stream, first),
            f"the runs of {self.played.office} end",
            progress=lambda: _progress(stream),
        )
        if asker is not None:
            wait(lambda: asker.poll() is not None, "the command that has asked for the run ends")
        converge(self.installation, stream)
        runs = SyncRun.objects.filter(pk__gte=first).order_by("pk")
        self.played.runs = [f"{run.pk} {run.status}" for run in runs]
        leases = RunLease.objects.filter(run__in=runs)
        self.played.takeovers = sum(lease.fence - 1 for lease in leases)
        self.played.broken += broken_accounts(self.installation)
        self.played.broken += broken(self.installation.source, first)

    def _has_come(self, stream: Stream, first: int) -> bool:
        """Whether the run has come to the moment of the strike and was struck, or has ended without."""
        return self._is_struck(stream) or _has_ended(stream, first)

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
                    preexec_fn=dying_with_us(),  # noqa: PLW1509 - as the supervisor does
                )
        return None

    # --- striking -----------------------------------------------------------------------------------------

    def _arm(self) -> None:
        if self._failpoint is not None:
            self._failpoint.touch()
        self.office.listen(self._on_page if self.moment.page else None)

    @property
    def _failpoint(self) -> Path | None:
        return self.installation.armed / self.moment.failpoint if self.moment.failpoint else None

    def _on_page(self, page: int) -> None:
        """Called by the source, in a thread of its own, while whoever asks waits for the page."""
        if page == self.moment.page:
            self.page_is_asked_for.set()
            self.is_over.wait(PATIENCE_SECONDS)

    def _is_struck(self, stream: Stream) -> bool:
        """Strike once the moment has come."""
        victim = (
            self._at_page(stream) if self._failpoint is None else self._at_failpoint(stream, self._failpoint)
        )
        if victim is None:
            return False
        STRIKES[self.played.strike](self.installation, victim, self.moment)
        self.played.struck = True
        return True

    def _at_page(self, stream: Stream) -> Victim | None:
        if not self.page_is_asked_for.is_set():
            return None
        lease = (
            RunLease.objects.filter(run__stream=stream, run__status="running").select_related("run").first()
        )
        return Victim(lease.run, int(lease.holder.rpartition(":")[2])) if lease else None

    def _at_failpoint(self, stream: Stream, failpoint: Path) -> Victim | None:
        stopped = failpoint.with_suffix(STOPPED_SUFFIX)
        if not stopped.exists():
            return None
        process = int(stopped.read_text())
        stopped.unlink()
        wait_until(lambda: _is_stopped(process), "the process stops at its failpoint")
        return Victim(SyncRun.objects.filter(stream=stream).latest("pk"), process)

    def _disarm(self, stream: Stream) -> None:
        """From now on nothing stops or is struck. Whoever was about to stop as the run ended is struck yet: it would
        never go on."""
        self.is_over.set()
        self.office.listen(None)
        if self._failpoint is None or self.played.struck:
            return
        try:
            self._failpoint.unlink()
        except FileNotFoundError:
            self.installation.wait_until(
                lambda: self._is_struck(stream), "the process stops at its failpoint"
            )


def converge(on: Installation, stream: Stream) -> None:
    """Sync until a run is applied: what failed or was cancelled is made good by the next sync. Raises TimeoutError when it
    is not."""
    for _ in range(CONVERGE_SYNCS):
        if _settled(on, stream).status == "applied":
            return
        with acting(OPERATOR), suppress(AlreadyRunning):
            execute_run(request_run(stream, RunTrigger.COMMAND).pk)
    last = _settled(on, stream)
    if last.status != "applied":
        raise TimeoutError(
            f"{CONVERGE_SYNCS} syncs in a row were not applied; run {last.pk} says: {last.reason}"
        )


def _settled(on: Installation, stream: Stream) -> SyncRun:
    """The last run of the stream, once none is live."""
    on.wait_until(
        lambda: not SyncRun.objects.live().filter(stream=stream).exists(),
        "the run in the way ends",
        progress=lambda: _progress(stream),
    )
    return SyncRun.objects.filter(stream=stream).latest("pk")


def _has_ended(stream: Stream, first: int) -> bool:
    """Whether there are runs since `first`, and none is live. A database that is being killed at this moment says nothing."""
    try:
        runs = SyncRun.objects.filter(stream=stream, pk__gte=first)
        return runs.exists() and not runs.live().exists()
    except (OperationalError, InterfaceError):
        connection.close()
        return False


def _progress(stream: Stream) -> object:
    """What changes as long as the runs of the stream get on: it does not change for ever."""
    return list(
        RunLease.objects.filter(run__stream=stream)
        .order_by("pk")
        .values_list("run__step", "run__pages", "fence")
    )


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
    session[SIGNED_ON_AT] = session[SEEN_AT] = timezone.now().isoformat()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    token = "c" * 32
    caller = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
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
    led_to = response.getheader("Location", "")
    if response.status >= http.client.BAD_REQUEST or led_to.startswith(reverse("admin:login")):
        raise TimeoutError(f"the button answers {response.status} {led_to}")
    caller.close()
