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
from typing import Any, Final

from requests import PreparedRequest
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from integrations.transports.egress import check_address

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


class _HttpConnection(HTTPConnection):
    deadline: Deadline
    goes_to_proxy = False

    def _new_conn(self) -> socket.socket:
        """Open a socket to an address that was looked at: the first that answers."""
        problem: OSError | None = None
        for family, address in self._addresses():
            sock = PlainSocket(family, socket.SOCK_STREAM)
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

    def _addresses(self) -> list[tuple[int, Any]]:
        """Every address of the host, if a connection may reach all of them. One that is refused refuses the name: what
        has a public and a private address is not what it seems."""
        host, port = self._dns_host.strip("[]"), self.port or self.default_port
        found = self._resolved(host, port)
        if not self.goes_to_proxy:  # a proxy is chosen by whoever runs Matricula
            for _, address in found:
                check_address(host, port, str(address[0]))
        return found

    def _resolved(self, host: str, port: int) -> list[tuple[int, Any]]:
        """Look a name up, and give up in time: the resolver's own bounds are a matter of the machine."""
        answers: list[list[tuple[int, Any]] | OSError] = []

        def look_up() -> None:
            try:
                rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            except (OSError, UnicodeError) as error:
                answers.append(error if isinstance(error, OSError) else socket.gaierror(str(error)))
            else:
                answers.append([(int(row[0]), row[4]) for row in rows])

        thread = threading.Thread(target=look_up, name="name lookup", daemon=True)
        thread.start()
        thread.join(self.deadline.bounded(self._patience()))
        if not answers:
            raise ConnectTimeoutError(self, "the name was not resolved in time")
        if isinstance(answers[0], OSError):
            raise NameResolutionError(self.host, self, socket.gaierror("no such name")) from None
        return answers[0]

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
        return pool

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Leave the context as it is: requests would add the public authorities to a private one, at every exchange."""
        conn.cert_reqs = "CERT_REQUIRED"


def _use_our_pools(manager: PoolManager) -> None:
    manager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
