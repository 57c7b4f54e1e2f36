"""HTTP exchanges: bounded in time and size, kept within the connection's origin, retried only where that is harmless.

What goes wrong comes out as a TransportError, classified by the connector's error table. Around each attempt stands the
connection's `Line`: circuit breaker, limits and request log.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

import requests
import urllib3
from django.conf import settings
from django.db import connection
from django.utils import timezone

from integrations.models.connection import origin_of
from integrations.transports.error_table import FIRST_STATUS_AFTER_SUCCESS, USUAL_ERRORS, ErrorTable
from integrations.transports.errors import (
    BrokenOff,
    ErrorClass,
    NotAdmitted,
    NotSent,
    NotTrusted,
    NotUnderstood,
    TimedOut,
    TooLarge,
    TransportError,
    Unreachable,
)
from integrations.transports.interruption import cut_short, pause
from integrations.transports.messages import (
    Attempt,
    Line,
    OpenLine,
    Purpose,
    Renewable,
    Request,
    Response,
    Timeouts,
)
from integrations.transports.retries import ONE_TRY, Retries, seconds_until
from integrations.transports.sockets import Deadline, GuardedAdapter
from integrations.transports.tls import TlsMaterial, context_for

# Whoever opens a transport finds here what passes over it.
__all__ = ["HttpTransport", "Purpose", "Renewable", "Request", "Response", "Timeouts"]

MAX_BODY_BYTES: Final = 32 * 1024 * 1024
# Of an answer that is a failure, this much is read: error tables look no further.
MAX_FAILURE_BYTES: Final = 1 << 16
MAX_REDIRECTS: Final = 3
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_READ_BYTES: Final = 1 << 16
USER_AGENT: Final = "Matricula/0.1"


class HttpTransport:
    """A session with one system. Use as a context manager: it closes its connections."""

    # How it waits between two attempts. Tests put their own in place.
    wait: Callable[[float], None] = staticmethod(pause)

    def __init__(
        self,
        timeouts: Timeouts,
        *,
        purpose: Purpose = Purpose.PULL,
        errors: ErrorTable = USUAL_ERRORS,
        tls: TlsMaterial | None = None,
        line: Line | None = None,
        retries: Retries | None = None,
    ) -> None:
        """Raises NotSent for TLS material that cannot be used."""
        self.timeouts, self.purpose, self.errors = timeouts, purpose, errors
        self.line: Line = line or OpenLine()
        self.retries = (retries or Retries()) if purpose is Purpose.PULL else ONE_TRY
        self._deadline = Deadline()
        self._session = _session(self._deadline, context_for(tls))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._session.close()
        self.line.close()

    def exchange(self, request: Request) -> Response:
        """Send `request` and return the answer. Raises a TransportError for whatever else happens.

        A pull is tried again as `retries` say. A token that is no longer accepted is renewed once, and the request
        sent once more, for any purpose: what was refused was not done.
        """
        number, waited, may_renew = 1, 0.0, True
        failure: TransportError | None = None
        while True:
            try:
                return self._attempt(request, number)
            except NotAdmitted as error:
                raise failure or error from None  # what failed says more than that it may not be tried again
            except TransportError as error:
                failure = error
            if may_renew and _is_renewed(request, failure):
                may_renew = False
            else:
                pause = self.retries.pause_after(failure, number, waited)
                if pause is None:
                    raise failure
                self.wait(pause)
                waited += pause
            number += 1

    def _attempt(self, request: Request, number: int) -> Response:
        _refuse_in_transaction()
        self.line.admit(request, self.purpose)
        sent_at, start = timezone.now(), time.monotonic()
        response: Response | None = None
        error: TransportError | None = None
        try:
            response = self._follow(request)
            error = self._error_in(request, response)
        except TransportError as caught:
            error = caught
        error = cut_short() or error
        self.line.note(
            Attempt(request, self.purpose, number, sent_at, time.monotonic() - start, response, error)
        )
        if error is not None:
            raise error
        return response  # type: ignore[return-value] # without an error there is one

    def _error_in(self, request: Request, response: Response) -> TransportError | None:
        if response.status in request.accepts:
            return None
        error = self.errors.error_in(response.status, response.body)
        if error is not None and "Retry-After" in response.headers:
            error.retry_after = seconds_until(response.headers["Retry-After"])
        return error

    def _follow(self, request: Request) -> Response:
        """Send, and follow where the system itself sends a reader on: within its own origin, and not for ever."""
        self._deadline.start(self.timeouts.total)
        request = replace(request, url=_with_params(request), params={})
        for _ in range(MAX_REDIRECTS + 1):
            response = self._send(request)
            elsewhere = _redirect(request, response)
            if elsewhere is None:
                return response
            request = replace(request, url=elsewhere)
        raise NotUnderstood(
            "the other system sends us from one address to the next without end",
            advice="Check the connection's address and the path of the dataset.",
        )

    def _send(self, request: Request) -> Response:
        try:
            with self._session.request(
                request.method,
                request.url,
                headers=dict(request.headers),
                data=request.body or None,
                auth=request.auth,
                timeout=(self.timeouts.connect, self.timeouts.read),
                allow_redirects=False,
                stream=True,
            ) as answer:
                body = self._read(answer)
                return Response(answer.status_code, body, answer.headers, answer.raw.tell())
        except TransportError:
            raise
        except (requests.exceptions.InvalidHeader, UnicodeError):
            raise _unsendable() from None
        except requests.exceptions.SSLError as error:
            raise _not_trusted(error) from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            # What these say may quote the URL, and a key may stand in its query.
            raise self._failure(error) from None
        except ValueError:  # http.client's own check; last, because other families are ValueErrors too
            raise _unsendable() from None

    def _failure(self, error: Exception) -> TransportError:
        if self._deadline.is_over:
            return TimedOut(f"the answer took longer than {self.timeouts.total:g} seconds")
        if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError | TimeoutError):
            return TimedOut("the other system did not answer in time")
        if isinstance(error, requests.exceptions.ProxyError):
            return Unreachable(
                "the proxy cannot be reached, or does not let us through",
                advice="Whoever runs Matricula checks EGRESS_PROXY and the proxy.",
            )
        if isinstance(error, requests.ConnectionError):
            return Unreachable("the other system cannot be reached")
        return BrokenOff("the answer broke off or is not HTTP")

    def _read(self, answer: requests.Response) -> bytes:
        """Read an answer whole, or raise TooLarge; of a failure, its beginning. The bound is on what it unpacks to."""
        is_failure = answer.status_code >= FIRST_STATUS_AFTER_SUCCESS
        parts: list[bytes] = []
        size = 0
        # read1 returns what one look at the socket brings, so that the deadline is seen between two of them. It
        # returns nothing at the end of the answer; a Content-Length not reached by then is urllib3's IncompleteRead.
        while part := answer.raw.read1(_READ_BYTES, decode_content=True):
            size += len(part)
            if not is_failure and size > MAX_BODY_BYTES:
                raise TooLarge(f"the answer is larger than {MAX_BODY_BYTES // 2**20} MiB")
            parts.append(part)
            if is_failure and size >= MAX_FAILURE_BYTES:
                break
            self._deadline.bounded(None)
        return b"".join(parts)


def _refuse_in_transaction() -> None:
    """Raise InTransaction inside one: the other system would decide how long our locks are held. The transaction that a test
    runs in does not count, as for Django's `atomic(durable=True)`."""
    blocks: list[Any] = connection.atomic_blocks
    if blocks and not blocks[-1]._from_testcase:  # noqa: SLF001 - what `durable` looks at
        raise InTransaction


class InTransaction(RuntimeError):
    """A fault of Matricula: somebody asks another system while a transaction is open."""


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """None, for any answer: where we go is decided here, and an odd Location is no reason to break off."""


def _session(deadline: Deadline, context: ssl.SSLContext) -> requests.Session:
    session = _Session()
    session.trust_env = False  # no proxy, no .netrc that an environment slips in
    session.headers.update({"User-Agent": USER_AGENT, "Accept": "application/json"})
    session.proxies = {scheme: settings.EGRESS_PROXY for scheme in ("http", "https") if settings.EGRESS_PROXY}
    adapter = GuardedAdapter(deadline, context)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def _is_renewed(request: Request, error: TransportError) -> bool:
    auth: object = request.auth
    return error.error_class is ErrorClass.REFRESH_TOKEN and isinstance(auth, Renewable) and auth.renew()


def _with_params(request: Request) -> str:
    if not request.params:
        return request.url
    parts = urlsplit(request.url)
    query = "&".join(filter(None, [parts.query, urlencode(request.params)]))
    return urlunsplit(parts._replace(query=query))


def _redirect(request: Request, response: Response) -> str | None:
    """The address within the same origin that a reader is sent on to, if it still asks for the same: a parameter that
    got lost on the way might have been the filter without which a feed is another one."""
    target = response.headers.get("Location", "")
    if response.status not in REDIRECTS or request.method not in ("GET", "HEAD") or not target:
        return None
    try:
        url = urljoin(request.url, target)
        is_ours = origin_of(url) == origin_of(request.url)
    except ValueError:  # no address, or a port that is none
        return None
    asked = parse_qsl(urlsplit(request.url).query, keep_blank_values=True)
    still_asked = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    return url if is_ours and set(asked) <= set(still_asked) else None


def _not_trusted(error: Exception) -> TransportError:
    if "CERTIFICATE_VERIFY_FAILED" in str(error) or "doesn't match" in str(error):
        return NotTrusted("the other system's certificate was not accepted")
    return NotTrusted(
        "no encrypted connection could be agreed on",
        advice="The other system has to speak TLS 1.2 or later, and may ask for our certificate: check both.",
    )


def _unsendable() -> NotSent:
    # What these say would quote the header, which may be a credential.
    return NotSent(
        "the request could not be sent: a header has characters that HTTP does not carry",
        advice="Enter the connection's credentials and headers again, without line breaks or typographic signs.",
    )
