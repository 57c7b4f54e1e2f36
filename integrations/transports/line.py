"""The line to one connection's system: what an attempt has to pass, and who is told of it."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Final

import structlog
from django.db import DatabaseError
from django.utils import timezone

import audit
from integrations.models import Connection
from integrations.transports import breaker, limits
from integrations.transports.breaker import BreakerOpen
from integrations.transports.egress import EgressRefused, Refusal
from integrations.transports.interruption import pause
from integrations.transports.messages import Attempt, Purpose, Request, Timeouts
from integrations.transports.quota import USUAL_QUOTA, QuotaHeaders, pause_after
from integrations.transports.recording import record_attempt
from integrations.transports.request_log import RequestLog

log = structlog.get_logger(__name__)
# What a wait counts for at least, so that waits of nothing come to an end too.
LEAST_WAIT: Final = 0.05


class ConnectionLine:
    """Circuit breaker, limits and request log of a connection, around each attempt of one session."""

    # How it waits for its turn. Tests put their own in place.
    wait: Callable[[float], None] = staticmethod(pause)

    def __init__(self, connection: Connection, quota: QuotaHeaders = USUAL_QUOTA) -> None:
        self.connection, self.quota = connection, quota
        self._seconds = Timeouts.of(connection.timeouts).total
        self._slow_ms: int | None = connection.timeouts.get("slow_ms")
        self._log = RequestLog(connection)
        self._probe = ""
        self._limits = limits.limits_of(connection)
        self._turn = limits.Turn()
        # A Retry-After that this session was given: it waits for it between its attempts, and not a second time.
        self._own_pause: datetime.datetime | None = None

    def admit(self, request: Request, purpose: Purpose) -> None:
        """With limits the breaker is asked before as well: whoever may not call neither waits for a turn nor uses one up,
        and no probe waits for one while it keeps every other away."""
        if self._limits:
            breaker.check(self.connection)
        self._await_turn(limits.PATIENCE[purpose])
        try:
            self._probe = breaker.admit(self.connection, self._seconds)
        except BreakerOpen:
            limits.give_back(self._turn)
            raise

    def _await_turn(self, patience: float) -> None:
        waited = 0.0
        while True:
            turn = self._next_turn()
            if turn.again_at is None:
                self._turn = turn
                return
            seconds = max(0.0, (turn.again_at - timezone.now()).total_seconds())
            if waited + seconds > patience:
                raise limits.LimitReached(turn.again_at, turn.why)
            self.wait(seconds)
            waited += max(seconds, LEAST_WAIT)

    def _next_turn(self) -> limits.Turn:
        until = limits.paused_until(self.connection)
        if until is not None and until != self._own_pause:
            return limits.Turn(again_at=until, why="it asked to be left alone until then")
        return limits.take_turn(self._limits, self._seconds) if self._limits else limits.Turn()

    def note(self, attempt: Attempt) -> None:
        self._keeping(self._end_turn, attempt)
        self._keeping(self._log.note, attempt)
        record_attempt(attempt)
        self._keeping(self._learn, attempt)
        if isinstance(attempt.error, EgressRefused):
            _record_refusal(self.connection, attempt.error.refusal)

    def close(self) -> None:
        self._log.write()

    def _end_turn(self, attempt: Attempt) -> None:
        turn, self._turn = self._turn, limits.Turn()
        limits.end_turn(turn)
        until = pause_after(attempt, self.quota)
        if until is not None and until > timezone.now():
            limits.pause(self.connection, until)
            self._own_pause = until if attempt.error is not None else None

    def _learn(self, attempt: Attempt) -> None:
        probe, self._probe = self._probe, ""
        reason = str(attempt.error) if attempt.error else f"it took {attempt.seconds:.1f} seconds"
        breaker.learn(self.connection, probe, breaker.shown_by(attempt, self._slow_ms), reason)

    def _keeping(self, book: Callable[[Attempt], None], attempt: Attempt) -> None:
        """Our own bookkeeping is no reason for an exchange to fail."""
        try:
            book(attempt)
        except DatabaseError:
            log.exception("line.not_noted", connection=self.connection.slug)


def _record_refusal(connection: Connection, refusal: Refusal) -> None:
    audit.record(
        "connection.egress_refused",
        connection,
        reason=f"{refusal.host}:{refusal.port} has the address {refusal.address}, which is {refusal.kind}.",
        detail={"host": refusal.host, "port": refusal.port, "address": refusal.address, "kind": refusal.kind},
    )
