"""A financial-aid feed under a test's control, served over real HTTP."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.test import override_settings
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

TOKEN = "a-token-of-the-feed"


def award(number: int = 1, **changes: Any) -> dict[str, Any]:
    """A disbursed grant of 100.00 for a student of the same number, as the feed writes it."""
    return {
        "id": f"A{number:04d}",
        "disbursement": 1,
        "student": {"number": f"S{number:07d}"},
        "term": "2026FA",
        "fund": {"code": "PELL", "name": "Pell Grant", "type": "grant"},
        "amount": "100.00",
        "state": "disbursed",
        "paid_on": "2026-09-01",
        "updated_at": "2026-09-01T10:00:00Z",
        **changes,
    }


def fund(kind: str | None, *, code: str = "FUND") -> dict[str, Any]:
    """A fund of a type, as an award of the feed names it."""
    return {"code": code, "name": f"The {code} fund", "type": kind}


MAPPING = {
    "award_id": "id",
    "disbursement_number": "disbursement",
    "student_number": "student.number",
    "term_code": "term",
    "fund_code": "fund.code",
    "fund_name": "fund.name",
    "fund_type": "fund.type",
    "amount": "amount",
    "status": {"path": "state", "lookup": {"PAID": "disbursed"}},
    "disbursed_on": "paid_on",
    "updated_at": "updated_at",
}
# For tests of the road itself: whatever a feed says is applied. What holds a plan is in test_guards and test_decisions.
UNGUARDED = {
    "first_load": "apply",
    "max_void_share": None,
    "max_void_count": None,
    "max_modified_share": None,
    "max_modified_count": None,
    "max_gross_change_share": None,
    "max_gross_change": None,
    "max_student_change": None,
}
BEARER = ("Authorization", f"Bearer {TOKEN}")


@dataclass
class Feed:
    """Serves `awards` at /awards, cut into pages that can be asked for in every way: by number, offset, cursor or
    address, which stands in the answer and in its Link header.

    `raw` is served instead, byte for byte, where it is set; `answer` answers instead of all this. `header` is what
    a request has to carry, where anything.
    """

    server: HTTPServer
    awards: list[Any] = field(default_factory=list)
    raw: bytes | None = None
    status: int = 200
    page_size: int = 100
    header: tuple[str, str] | None = BEARER
    answer: Callable[[Request], Response] | None = None
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.server.expect_request("/awards").respond_with_handler(self._answer)

    @property
    def base_url(self) -> str:
        return self.server.url_for("").rstrip("/")

    def write(self, *records: str) -> None:
        """Serve these records as they are written: JSON that Python's own encoder would not make."""
        self.raw = f'{{"data": [{", ".join(records)}]}}'.encode()

    def _answer(self, request: Request) -> Response:
        self.requests.append(request)
        if self.answer is not None:
            return self.answer(request)
        if self.header and request.headers.get(self.header[0]) != self.header[1]:
            return Response('{"error": "unauthorized"}', status=401)
        if self.raw is not None:
            # The first page; whoever asks for another gets none, in the words of any pagination.
            body = self.raw if request.args.get("page", "1") == "1" else b'{"data": []}'
            return Response(body, status=self.status, content_type="application/json")
        page = self.page(request)
        links = {"Link": f'<{page["next"]}>; rel="next"'} if page["next"] else {}
        return Response(json.dumps(page), status=self.status, headers=links, content_type="application/json")

    def page(self, request: Request) -> dict[str, Any]:
        """The page that a request asks for."""
        number = int(request.args.get("page", 1))
        start = int(request.args.get("cursor") or request.args.get("offset") or (number - 1) * self.page_size)
        end = start + self.page_size
        has_more = end < len(self.awards)
        return {
            "data": self.awards[start:end],
            "total": len(self.awards),
            "cursor": str(end) if has_more else None,
            "next": f"{request.base_url}?cursor={end}" if has_more else None,
        }

    def document(self, **changes: Any) -> dict[str, Any]:
        """The connection document for this feed."""
        return {
            "slug": "financial-aid",
            "name": "Financial aid office",
            "connector": "rest",
            "base_url": self.base_url,
            "auth": {"type": "bearer", "token": TOKEN},
            "schedule": {"every_minutes": 1440},
            "datasets": {"aid_awards": self.dataset()},
            "guards": UNGUARDED,
            **changes,
        }

    @staticmethod
    def dataset(**changes: Any) -> dict[str, Any]:
        """The part of the document that says where the awards lie and what they map to."""
        return {
            "path": "/awards",
            "records": "data",
            "pagination": {"type": "page", "page_param": "page"},
            "mapping": MAPPING,
            **changes,
        }


@contextmanager
def may_reach(*hosts: str) -> Iterator[None]:
    """Let connections reach these on this machine, as an operator would: host:port."""
    with override_settings(ALLOW_PRIVATE_HOSTS=[*settings.ALLOW_PRIVATE_HOSTS, *hosts]):
        yield


@contextmanager
def wire(answer: Callable[[socket.socket, threading.Event], None]) -> Iterator[str]:
    """Listen on a port, yield its address, and let `answer` do with each request's socket what no HTTP library does.

    The event is set when the test is over: whoever waits, waits for it.
    """
    is_over = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                caller, _ = listener.accept()
            except OSError:
                return
            with caller:
                try:
                    read_request(caller)
                    answer(caller, is_over)
                except OSError:
                    continue  # the caller has hung up, as it should

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        port = listener.getsockname()[1]
        with may_reach(f"127.0.0.1:{port}"):
            yield f"http://127.0.0.1:{port}"
    finally:
        is_over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def read_request(caller: socket.socket) -> bytes:
    """The head of a request."""
    head = b""
    while b"\r\n\r\n" not in head:
        part = caller.recv(4096)
        if not part:
            raise ConnectionError("the caller hung up")
        head += part
    return head


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
