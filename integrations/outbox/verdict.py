"""What an attempt came to, and what follows from it: facts in a table, by what the failure means."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace
from typing import Any, Final

import structlog
from django.utils import timezone

from apiauth.sealed import SealBroken
from integrations.connectors.base import Unsupported
from integrations.effects import Effect
from integrations.effects.base import Impossible
from integrations.models.outbox import AttemptOutcome
from integrations.transports.breaker import BreakerOpen
from integrations.transports.errors import ErrorClass, NotAdmitted, NotUnderstood, TransportError
from integrations.transports.limits import LimitReached

log = structlog.get_logger(__name__)
# How long a system is left alone that asks us to ask less often, and does not say for how long.
THROTTLED: Final = datetime.timedelta(seconds=60)


@dataclass(frozen=True)
class Verdict:
    """What an attempt came to.

    `is_made`: whether anything was tried at all; `is_counted`: whether it is one of the failures that are escalated after;
    `is_final`: whether no repetition will help; `is_uncertain`: whether it may have been carried out without our knowing.
    `again_at` is when it is tried again, None as its kind's table says; `rests_until` how long its connection is left alone.
    """

    outcome: AttemptOutcome
    result: Any = None
    error_class: str = ""
    reason: str = ""
    advice: str = ""
    is_made: bool = True
    is_counted: bool = True
    is_final: bool = False
    is_uncertain: bool = False
    again_at: datetime.datetime | None = None
    rests_until: datetime.datetime | None = None

    @property
    def words(self) -> str:
        """What happened and what can be done, as a person reads it."""
        return f"{self.reason.removesuffix('.')}. {self.advice}".strip() if self.reason else ""


def delivered(result: Any) -> Verdict:
    return Verdict(AttemptOutcome.DELIVERED, result)


def verdict_on(error: Exception, effect: Effect, *, is_probe: bool) -> Verdict:
    """Judge a failed attempt."""
    if isinstance(error, NotAdmitted):
        return _not_admitted(error)
    if isinstance(error, TransportError):
        return _of_transport(error, effect, is_probe=is_probe)
    if isinstance(error, Impossible):
        return Verdict(
            AttemptOutcome.FAILED, error_class=ErrorClass.PERMANENT, reason=str(error), is_final=True
        )
    if isinstance(error, Unsupported | SealBroken):
        return Verdict(AttemptOutcome.FAILED, error_class=ErrorClass.CONFIG, reason=str(error), is_final=True)
    log.error("outbox.attempt_broke_off", kind=effect.kind, exc_info=error)
    return Verdict(
        AttemptOutcome.UNCERTAIN,
        error_class=ErrorClass.RETRY,
        reason=f"The attempt broke off unexpectedly ({type(error).__name__})",
        advice="Whoever runs Matricula finds the details in the worker's log.",
        is_uncertain=True,
    )


def exhausted(failures: int) -> Verdict:
    """The verdict on a message whose attempts all ended with the death of their process."""
    return Verdict(
        AttemptOutcome.FAILED,
        error_class=ErrorClass.RETRY,
        reason=f"{failures} attempts did not end: their processes died",
        advice="Look into the workers' logs before you retry.",
        is_made=False,
        is_final=True,
    )


def _not_admitted(error: NotAdmitted) -> Verdict:
    """Nothing was sent, and nothing counts: the message stays where it is in the line."""
    until = timezone.now() + THROTTLED
    if isinstance(error, LimitReached):
        until = error.until
    elif isinstance(error, BreakerOpen) and error.until is not None:
        until = max(error.until, timezone.now())
    return Verdict(
        AttemptOutcome.FAILED,
        error_class=error.error_class,
        reason=str(error),
        is_made=False,
        is_counted=False,
        again_at=timezone.now(),
        rests_until=until,
    )


def _of_transport(error: TransportError, effect: Effect, *, is_probe: bool) -> Verdict:
    now = timezone.now()
    # A failure of the system itself may come after it has done what it was asked, and so may an answer that nobody can read.
    is_uncertain = error.reached_it and (
        error.error_class is ErrorClass.RETRY or isinstance(error, NotUnderstood)
    )
    failed = Verdict(
        AttemptOutcome.UNCERTAIN if is_uncertain else AttemptOutcome.FAILED,
        error_class=error.error_class,
        reason=str(error),
        advice=error.advice,
        is_uncertain=is_uncertain,
    )
    if error.error_class is ErrorClass.BLOCKED:
        again_at = now + effect.blocked_after
        return replace(failed, outcome=AttemptOutcome.BLOCKED, is_counted=False, again_at=again_at)
    if error.error_class is ErrorClass.THROTTLE:
        seconds = error.retry_after
        until = now + (THROTTLED if seconds is None else datetime.timedelta(seconds=seconds))
        return replace(failed, is_counted=False, again_at=until, rests_until=until)
    if error.error_class in (ErrorClass.PERMANENT, ErrorClass.EXISTS):
        return replace(failed, is_final=True)
    if error.error_class is ErrorClass.RETRY and is_probe:
        # It was the circuit breaker's one attempt in a minute: it says that the system is down, and nothing of the message.
        return replace(failed, is_counted=False, again_at=now, rests_until=now + THROTTLED)
    return failed
