"""The road of an effect: claim, attempt, settle, until nothing is due."""

from __future__ import annotations

import datetime
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from django.utils import timezone

from audit.context import Actor, acting
from integrations.connectors.base import Connector
from integrations.connectors.registry import connector_for
from integrations.effects import EFFECTS
from integrations.outbox.claim import Claim, claim_next, renewing
from integrations.outbox.settle import Settled, settle
from integrations.outbox.verdict import Verdict, delivered, exhausted, verdict_on
from integrations.transports.messages import Attempt
from integrations.transports.recording import masked, recording

DELIVERER: Final = Actor(kind="worker", name="outbox")
# How long somebody who waits for the end waits for a turn with a system that allows only so many requests a minute.
PATIENCE: Final = datetime.timedelta(seconds=90)


@dataclass
class Round:
    """One round of work: what came of each attempt, and which connections (ids) are left alone until when."""

    counts: Counter[Settled] = field(default_factory=Counter)
    resting: dict[int, datetime.datetime] = field(default_factory=dict)
    is_cut_short: bool = False

    @property
    def attempted(self) -> int:
        """How many attempts were really made."""
        return sum(self.counts.values()) - self.counts[Settled.POSTPONED]

    def wake(self, now: datetime.datetime) -> None:
        """Forget who has rested long enough."""
        self.resting = {pk: until for pk, until in self.resting.items() if until > now}


def work_off(
    seconds: float = float("inf"), *, is_patient: bool = False, wait: Callable[[float], None] = time.sleep
) -> Round:
    """Attempt what is due, the oldest cause first, until nothing is or `seconds` are over. Whoever `is_patient` also waits
    for a system's next turn, where that comes soon."""
    done, deadline = Round(), time.monotonic() + seconds
    while time.monotonic() < deadline:
        done.wake(timezone.now())
        claim = claim_next(done.resting)
        if claim is not None:
            _deliver(claim, done)
        elif pause := _pause(done) if is_patient else None:
            wait(pause)
        else:
            return done
    done.is_cut_short = True
    return done


def _pause(done: Round) -> float | None:
    """The seconds until the first resting connection has its turn; None where none has soon."""
    soonest = min(done.resting.values(), default=None)
    if soonest is None or soonest > timezone.now() + PATIENCE:
        return None
    return max(0.05, (soonest - timezone.now()).total_seconds())


def _deliver(claim: Claim, done: Round) -> None:
    with acting(DELIVERER):
        verdict, exchanges = _attempt(claim)
        done.counts[settle(claim, verdict, exchanges)] += 1
    if verdict.rests_until is not None:
        done.resting[claim.message.connection_id] = verdict.rests_until


def _attempt(claim: Claim) -> tuple[Verdict, list[dict[str, Any]]]:
    """Bring the effect about, with no transaction open, and say what came of it and what passed over the wire."""
    message, effect = claim.message, EFFECTS[claim.message.kind]
    if message.failures > len(effect.retry_after):
        return exhausted(message.failures), []
    attempts: list[Attempt] = []
    connector: Connector | None = None
    try:
        with renewing(claim), recording() as attempts:
            connector = connector_for(message.connection)
            verdict = delivered(effect.bring_about(message, connector))
    except Exception as error:  # noqa: BLE001 - one message must not end the work on all the others
        verdict = verdict_on(error, effect, is_probe=claim.is_probe)
    return verdict, masked(attempts, message.connection, connector.shown if connector else frozenset())
