"""The request log: each attempt as a row, written in handfuls and never at the cost of the exchange itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

import structlog
from django.db import DatabaseError, transaction

from apiauth.sealed import SealBroken
from integrations.models import Connection, LoggedRequest
from integrations.transports.masking import MASK, Mask
from integrations.transports.messages import Attempt, Request, Tokened

log = structlog.get_logger(__name__)
# One transaction for so many attempts: a transaction for each would cost a pull of many small pages a tenth of its time.
ROWS_A_WRITE: Final = 25
MAX_BODY_CHARACTERS: Final = 4096
_run: ContextVar[int | None] = ContextVar("integrations_requests_of_run", default=None)


@contextmanager
def requests_of(run_id: int) -> Iterator[None]:
    """Ascribe the requests inside the block to a run."""
    token = _run.set(run_id)
    try:
        yield
    finally:
        _run.reset(token)


class RequestLog:
    """The attempts of one session with a connection's system."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._rows: list[LoggedRequest] = []
        self._mask = _mask_of(connection)

    def note(self, attempt: Attempt) -> None:
        """Remember an attempt. A failure is written at once: what follows it may be the end."""
        self._rows.append(self._row(attempt))
        if attempt.error is not None or len(self._rows) >= ROWS_A_WRITE:
            self.write()

    def write(self) -> None:
        """Write what is remembered. What cannot be written is given up: the exchange is worth more than its note."""
        rows, self._rows = self._rows, []
        if not rows:
            return
        try:
            with transaction.atomic():
                LoggedRequest.objects.bulk_create(rows)
        except DatabaseError:
            log.warning("request_log.lost", connection=self.connection.slug, rows=len(rows))

    def _row(self, attempt: Attempt) -> LoggedRequest:
        request, response, error = attempt.request, attempt.response, attempt.error
        return LoggedRequest(
            connection_id=self.connection.pk,
            run_id=_run.get(),
            purpose=attempt.purpose,
            sent_at=attempt.sent_at,
            method=request.method[:10],
            url=self._mask.url(request.url) if self._mask else MASK,
            attempt=attempt.number,
            status=response.status if response else None,
            milliseconds=round(attempt.seconds * 1000),
            bytes_sent=len(request.body),
            bytes_received=response.received if response else 0,
            error_class=error.error_class if error else "",
            error=str(error) if error else "",
            body=self._body(response.body, request) if error and response else "",
        )

    def _body(self, body: bytes, request: Request) -> str:
        """The beginning of an answer. It is masked before it is cut: half a secret would not be recognised as one."""
        if not self._mask:
            return MASK
        text = body[: 4 * MAX_BODY_CHARACTERS].decode("utf-8", "replace").replace("\0", "\ufffd")
        auth: object = request.auth
        if isinstance(auth, Tokened):
            text = Mask([auth.token]).text(text)
        return self._mask.text(text)[:MAX_BODY_CHARACTERS]


def _mask_of(connection: Connection) -> Mask | None:
    """How to mask; None where nobody can say what is secret, and so everything is."""
    try:
        return Mask.of(connection)
    except SealBroken:
        return None
