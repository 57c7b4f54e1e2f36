"""Sockets that keep an attempt's deadline and open only where the egress guard lets them.

requests bounds the wait for a connection and for each single read. Whoever drips one byte now and then, in the head of
an answer as in its body, keeps every read short for ever (docs.python-requests.org, "timeout is not a time limit on the
entire response download"). So each read of these sockets gets no more time than the attempt has left.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from contextlib import suppress
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from requests import PreparedRequest
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from integrations.transports.egress import check_address
from integrations.transports.interruption import watch

# A family of addresses, and what `connect` of a socket of that family takes.
Found = tuple[int, Any]
_LEAST_SECONDS: Final = 0.001  # 0 would mean a socket that does not wait at all


class Deadline:
    """The moment by which the attempt at hand has to be over."""

    def __init__(self) -> None:
        self._at = float("inf")

    def start(self, seconds: float) -> None:
        """Begin an attempt that may take this long."""
        self._at = time.monotonic() + seconds

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self._at

    def bounded(self, seconds: float | None) -> float:
        """Return `seconds`, or what is left where that is less. Raises TimeoutError when nothing is."""
        left = self._at - time.monotonic()
        if left <= 0:
            raise TimeoutError("the time for the whole exchange is over")
        return max(_LEAST_SECONDS, left if seconds is None else min(seconds, left))


class _Bounded(socket.socket):
    """What both kinds of socket have in common. `patience` is the time that one read may take."""

    deadline: Deadline | None = None
    patience: float | None = None

    def settimeout(self, value: float | None) -> None:
        self.patience = value
        super().settimeout(value)

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        if self.deadline is not None:
            super().settimeout(self.deadline.bounded(self.patience))
        return super().recv_into(*args, **kwargs)

    def sendall(self, *args: Any, **kwargs: Any) -> None:
        if self.deadline is not None:
            super().settimeout(self.deadline.bounded(self.patience))
        super().sendall(*args, **kwargs)


class PlainSocket(_Bounded):
    pass


class TlsSocket(_Bounded, ssl.SSLSocket):
    """Made by an SSL context whose `sslsocket_class` it is. A handshake is one step, with one timeout for all of it."""

    def do_handshake(self, block: bool = False) -> None:
        watch(self)  # the plain socket that was watched is an empty shell since this one was made of it
        super().do_handshake(block)


def look_up(host: str, port: int, seconds: float) -> list[Found]:
    """Return the addresses of a host, and give up in time: the resolver's own bounds are a matter of the machine.

    Raises TimeoutError, or another OSError for a name that there is not.
    """
    answers: list[list[Found] | OSError] = []

    def ask() -> None:
        try:
            rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answers.append([(int(row[0]), row[4]) for row in rows])
        except OSError as error:
            answers.append(error)
        except UnicodeError:  # a label that no name can have
            answers.append(socket.gaierror("no such name"))

    thread = threading.Thread(target=ask, name="name lookup", daemon=True)
    thread.start()
    thread.join(seconds)
    if not answers:
        raise TimeoutError("the name was not resolved in time")
    if isinstance(answers[0], OSError):
        raise answers[0]
    return answers[0]


def check_all(host: str, port: int, found: list[Found]) -> None:
    """Raise EgressRefused if any address of the host is. One refuses the name: what has a public and a private address
    is not what it seems."""
    for _, address in found:
        check_address(host, port, str(address[0]))


class _HttpConnection(HTTPConnection):
    deadline: Deadline
    goes_to_proxy = False

    def _new_conn(self) -> socket.socket:
        """Open a socket to an address that was looked at: the first that answers."""
        problem: OSError | None = None
        for family, address in self._addresses():
            sock = PlainSocket(family, socket.SOCK_STREAM)
            watch(sock)
            try:
                sock.settimeout(self.deadline.bounded(self._patience()))
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.connect(address)
            except OSError as error:
                sock.close()
                problem = error
                continue
            sock.deadline = self.deadline
            return sock
        if isinstance(problem, TimeoutError):
            raise ConnectTimeoutError(self, "no connection in time") from None
        raise NewConnectionError(self, f"no connection: {type(problem).__name__}") from None

    def _addresses(self) -> list[Found]:
        host, port = self._dns_host.strip("[]"), self.port or self.default_port
        try:
            found = look_up(host, port, self.deadline.bounded(self._patience()))
        except TimeoutError:
            raise ConnectTimeoutError(self, "the name was not resolved in time") from None
        except OSError:
            raise NameResolutionError(self.host, self, socket.gaierror("no such name")) from None
        if not self.goes_to_proxy:  # a proxy is chosen by whoever runs Matricula
            check_all(host, port, found)
        return found

    def _patience(self) -> float | None:
        return self.timeout if isinstance(self.timeout, int | float) else None


class _HttpsConnection(_HttpConnection, HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        if isinstance(self.sock, TlsSocket):
            self.sock.deadline = self.deadline


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _HttpConnection
    deadline: Deadline

    def _new_conn(self) -> Any:
        return _equipped(super()._new_conn(), self)


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection
    deadline: Deadline

    def _new_conn(self) -> Any:
        return _equipped(super()._new_conn(), self)


def _equipped(connection: Any, pool: _HttpPool | _HttpsPool) -> Any:
    connection.deadline = pool.deadline
    connection.goes_to_proxy = pool.proxy is not None
    return connection


class GuardedAdapter(HTTPAdapter):
    """requests' adapter, on these sockets. `context` alone says whom TLS trusts."""

    def __init__(self, deadline: Deadline, context: ssl.SSLContext) -> None:
        self.deadline, self.context = deadline, context
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, ssl_context=self.context)
        _use_our_pools(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs, ssl_context=self.context)
        _use_our_pools(manager)
        return manager

    def get_connection_with_tls_context(
        self, request: PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        pool: Any = super().get_connection_with_tls_context(request, verify, proxies=proxies, cert=cert)
        pool.deadline = self.deadline
        if pool.proxy is not None:
            self._check_target(urlsplit(request.url or ""))
        return pool

    def _check_target(self, url: SplitResult) -> None:
        """Look at where a proxy is going to lead. What has no address here is left to the proxy, which is then the one
        that decides."""
        host, port = url.hostname or "", url.port or {"https": 443}.get(url.scheme, 80)
        with suppress(OSError):
            check_all(host, port, look_up(host, port, self.deadline.bounded(None)))

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Leave the context as it is: requests would add the public authorities to a private one, at every exchange."""
        conn.cert_reqs = "CERT_REQUIRED"


def _use_our_pools(manager: PoolManager) -> None:
    manager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
