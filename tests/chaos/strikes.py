"""What is done to an installation, and when: each strike at each moment that it makes sense at."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import redis
from django.conf import settings
from django.utils import timezone

from audit.context import Actor, acting
from integrations.decisions import Undecided, cancel_run
from integrations.models import RunLease, SyncRun
from integrations.sync.failpoints import Failpoint
from tests.chaos.installation import Installation
from tests.chaos.stack import LEASE_SECONDS

# In the midst of a transaction a stopped process holds rows (PostgreSQL) or everything (SQLite): nobody can take over, or
# cancel, until it goes on or dies.
IN_TRANSACTION: Final = frozenset({Failpoint.STAGING, Failpoint.PLANNING, Failpoint.LANDING})
PAGES: Final = (1, 2, 3)


@dataclass(frozen=True)
class Moment:
    """When it strikes: where the road has this failpoint, or when the source is asked for this page of the round."""

    failpoint: Failpoint | None = None
    page: int = 0

    def __str__(self) -> str:
        return str(self.failpoint) if self.failpoint else f"page {self.page}"


@dataclass(frozen=True)
class Victim:
    """The run that is struck, and the process that is at it."""

    run: SyncRun
    process: int

    def go_on(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.process, signal.SIGCONT)

    def die(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.process, signal.SIGKILL)


Strike = Callable[[Installation, Victim, Moment], None]


def _kill_child(on: Installation, victim: Victim, moment: Moment) -> None:
    victim.die()


def _kill_parent(on: Installation, victim: Victim, moment: Moment) -> None:
    """The worker's parent alone: its children follow by the kernel's hand. A command has no parent of ours."""
    on.stack.kill_parent("worker")
    victim.die()


def _kill_everything(on: Installation, victim: Victim, moment: Moment) -> None:
    victim.die()
    on.stack.kill(*on.stack.running)


def _kill_beat_and_web(on: Installation, victim: Victim, moment: Moment) -> None:
    on.stack.kill("beat", "web")
    victim.die()


def _oversleep(on: Installation, victim: Victim, moment: Moment) -> None:
    """Stop past the lease, then go on: while another process has the run, where another could take it."""
    with suppress(ProcessLookupError):
        os.kill(victim.process, signal.SIGSTOP)
    fence = RunLease.objects.filter(run=victim.run).values_list("fence", flat=True).first()
    if moment.failpoint in IN_TRANSACTION:
        _outlast_the_lease(on, victim)
    else:
        on.wait_until(lambda: _has_moved_on(victim.run, fence), "somebody takes the run over")
    victim.go_on()


def _outlast_the_lease(on: Installation, victim: Victim) -> None:
    """Nobody may have it, and reading does not lock: look on until the lease has run out, and a sweep has come by."""
    lease = RunLease.objects.get(run=victim.run)
    on.wait_until(
        lambda: (timezone.now() - lease.expires_at).total_seconds() > LEASE_SECONDS, "the lease runs out"
    )


def _has_moved_on(run: SyncRun, fence: int | None) -> bool:
    current = RunLease.objects.filter(run=run).values_list("fence", flat=True).first()
    return current != fence or not SyncRun.objects.live().filter(pk=run.pk).exists()


def _flush_broker(on: Installation, victim: Victim, moment: Moment) -> None:
    with suppress(redis.RedisError):
        redis.Redis.from_url(settings.COUNTERS_URL).flushall()
    victim.die()


def _restart_broker(on: Installation, victim: Victim, moment: Moment) -> None:
    on.stack.kill("broker")
    on.stack.heal()
    victim.go_on()


def _restart_broker_and_kill(on: Installation, victim: Victim, moment: Moment) -> None:
    _restart_broker(on, victim, moment)
    victim.die()


def _restart_database(on: Installation, victim: Victim, moment: Moment) -> None:
    """The postmaster and all of its backends at once, as a power cut would; what is committed comes back from the log."""
    on.stack.kill("database")
    on.stack.heal()
    on.wait_for_database()
    victim.go_on()


def _cancel(on: Installation, victim: Victim, moment: Moment) -> None:
    with acting(Actor(kind="user", name="chaos")), suppress(Undecided):
        cancel_run(victim.run, reason="chaos")
    victim.go_on()


def _nothing(on: Installation, victim: Victim, moment: Moment) -> None:
    victim.go_on()


STRIKES: Final[dict[str, Strike]] = {
    "kill the child": _kill_child,
    "kill the parent": _kill_parent,
    "kill everything": _kill_everything,
    "kill beat, web and the child": _kill_beat_and_web,
    "oversleep": _oversleep,
    "flush the broker and kill the child": _flush_broker,
    "restart the broker": _restart_broker,
    "restart the broker and kill the child": _restart_broker_and_kill,
    "restart the database": _restart_database,
    "cancel": _cancel,
    "nothing": _nothing,
}


def all_strikes(kind: str) -> list[tuple[str, Moment]]:
    """Every strike at every moment at which it can be had on this kind of installation."""
    moments = [*(Moment(failpoint=point) for point in Failpoint), *(Moment(page=page) for page in PAGES)]
    return [
        (name, moment)
        for name in STRIKES
        for moment in moments
        if (kind == "servers" or name != "restart the database")
        and (name != "cancel" or moment.failpoint not in IN_TRANSACTION)
    ]
