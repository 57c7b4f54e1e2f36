"""The line to one connection's system: what an attempt has to pass, and who is told of it."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from django.db import DatabaseError

import audit
from integrations.models import Connection
from integrations.transports import breaker
from integrations.transports.egress import EgressRefused, Refusal
from integrations.transports.http import Attempt, Purpose, Request, Timeouts
from integrations.transports.request_log import RequestLog

log = structlog.get_logger(__name__)


class ConnectionLine:
    """Circuit breaker and request log of a connection, around each attempt of one session."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._seconds = Timeouts.of(connection.timeouts).total
        self._slow_ms: int | None = connection.timeouts.get("slow_ms")
        self._log = RequestLog(connection)
        self._probe = ""

    def admit(self, request: Request, purpose: Purpose) -> None:
        self._probe = breaker.admit(self.connection, self._seconds)

    def note(self, attempt: Attempt) -> None:
        self._keeping(self._log.note, attempt)
        self._keeping(self._learn, attempt)
        if isinstance(attempt.error, EgressRefused):
            _record_refusal(self.connection, attempt.error.refusal)

    def close(self) -> None:
        self._log.write()

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
