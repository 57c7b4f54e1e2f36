"""HTTP exchanges: bounded in time and size, never redirected, never retried by the caller.

The whole exchange has a deadline of its own: a server that sends a byte now and then keeps every single read short
(docs.python-requests.org, "timeout is not a time limit on the entire response download").
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

import requests
import urllib3
from requests.auth import AuthBase

from integrations.transports.errors import (
    NotUnderstood,
    TimedOut,
    TooLarge,
    TransportError,
    UnexpectedStatus,
    Unreachable,
)

MAX_BODY_BYTES: Final = 32 * 1024 * 1024
_READ_BYTES: Final = 1 << 16
USER_AGENT: Final = "Matricula/0.1"
FIRST_STATUS_AFTER_SUCCESS: Final = 300


@dataclass(frozen=True)
class Timeouts:
    """Bounds of one exchange, in seconds."""

    connect: float = 5.0
    read: float = 30.0
    total: float = 120.0

    @classmethod
    def of(cls, declared: Mapping[str, float]) -> Timeouts:
        """The bounds that a connection declares. Its `slow_ms` is no bound: it is for the circuit breaker."""
        return cls(**{name: declared[name] for name in ("connect", "read", "total") if name in declared})


@dataclass(frozen=True)
class Request:
    """One request. `url` is absolute; `params` are added to its query."""

    url: str
    method: str = "GET"
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    auth: AuthBase | None = None


@dataclass(frozen=True)
class Response:
    """An answer that was read whole."""

    status: int
    body: bytes
    headers: Mapping[str, str]


class HttpTransport:
    """A session with one system. Use as a context manager: it closes its connections."""

    def __init__(self, timeouts: Timeouts) -> None:
        self.timeouts = timeouts
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy, no .netrc that an environment slips in
        self._session.headers.update({"User-Agent": USER_AGENT, "Accept": "application/json"})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._session.close()

    def exchange(self, request: Request) -> Response:
        """Send `request` once and return the answer. Raises a TransportError for whatever else happens."""
        deadline = time.monotonic() + self.timeouts.total
        try:
            with self._session.request(
                request.method,
                request.url,
                params=request.params,
                headers=dict(request.headers),
                auth=request.auth,
                timeout=(self.timeouts.connect, self.timeouts.read),
                allow_redirects=False,
                stream=True,
            ) as answer:
                if answer.status_code >= FIRST_STATUS_AFTER_SUCCESS:
                    raise UnexpectedStatus(answer.status_code)
                return Response(answer.status_code, self._read(answer, deadline), answer.headers)
        except TransportError:
            raise
        except (requests.exceptions.InvalidHeader, UnicodeError):
            raise _unsendable() from None
        except (requests.Timeout, urllib3.exceptions.TimeoutError):
            raise TimedOut("the other system did not answer in time") from None
        except requests.exceptions.SSLError:
            raise Unreachable(
                "the other system's certificate was not accepted",
                advice="Its certificate is expired, self-signed or for another name: its owner has to renew it.",
            ) from None
        except requests.ConnectionError:
            raise Unreachable("the other system cannot be reached") from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError):
            # What these say may quote the URL, and a key may stand in its query.
            raise NotUnderstood("the answer broke off or is not HTTP") from None
        except ValueError:  # http.client's own check; last, because other families are ValueErrors too
            raise _unsendable() from None

    def _read(self, answer: requests.Response, deadline: float) -> bytes:
        parts: list[bytes] = []
        size = 0
        # read1 returns what one look at the socket brings, so that the deadline is seen between two of them. It
        # returns nothing at the end of the answer; a Content-Length not reached by then is urllib3's IncompleteRead.
        while part := answer.raw.read1(_READ_BYTES, decode_content=True):
            size += len(part)
            if size > MAX_BODY_BYTES:
                raise TooLarge(f"the answer is larger than {MAX_BODY_BYTES // 2**20} MiB")
            if time.monotonic() > deadline:
                raise TimedOut(f"the answer took longer than {self.timeouts.total:g} seconds")
            parts.append(part)
        return b"".join(parts)


def _unsendable() -> NotUnderstood:
    # What these say would quote the header, which may be a credential.
    return NotUnderstood(
        "the request could not be sent: a header has characters that HTTP does not carry",
        advice="Enter the connection's credentials and headers again, without line breaks or typographic signs.",
    )
