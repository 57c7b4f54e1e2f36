"""The other system of the sync benchmark: a server of rendered pages, in a process of its own.

    python -m integrations.management.benchmarks.award_source ROWS

It prints its port. `GET /edition?version=V&envelope=E` says what it holds from then on, `GET /awards?page=N` is a page of that:
a thousand awards between the count, the address of the next page and the envelope. Another envelope around the same awards
makes other bytes of the same records.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Final
from urllib.parse import parse_qs, urlsplit

import orjson

from integrations.management.benchmarks.awards import awards

HOST: Final = "127.0.0.1"
PAGE_SIZE: Final = 1_000
_END_OF_HEAD: Final = b"\r\n\r\n"


class Source:
    """What the server holds: the records of each page as JSON, and how many there are in all."""

    def __init__(self, rows: int) -> None:
        self.rows, self.port = rows, 0
        self.pages: list[bytes] = []
        self.count, self.envelope = 0, ""

    def hold(self, version: int, envelope: str) -> None:
        records = list(awards(self.rows, version))
        self.count, self.envelope = len(records), envelope
        starts = range(0, len(records), PAGE_SIZE)
        self.pages = [orjson.dumps(records[start : start + PAGE_SIZE]) for start in starts]

    def page(self, number: int) -> bytes:
        following = number + 1
        address = f"http://{HOST}:{self.port}/awards?page={following}" if number < len(self.pages) else None
        head = {"count": self.count, "next": address, "envelope": self.envelope}
        return b"".join([orjson.dumps(head)[:-1], b',"results":', self.pages[number - 1], b"}"])


class Exchange(asyncio.Protocol):
    """One connection: a request after the other, answered at once."""

    def __init__(self, source: Source) -> None:
        self._source, self._received = source, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while _END_OF_HEAD in self._received:
            head, self._received = self._received.split(_END_OF_HEAD, 1)
            body = self._answer(head.split(b" ", 2)[1].decode())
            line = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            self._transport.write(line.encode() + body)  # type: ignore[attr-defined]  # a TCP transport

    def _answer(self, target: str) -> bytes:
        address = urlsplit(target)
        asked = {name: values[0] for name, values in parse_qs(address.query).items()}
        if address.path == "/edition":
            self._source.hold(int(asked["version"]), asked["envelope"])
            return b"{}"
        return self._source.page(int(asked.get("page", "1")))


async def serve(rows: int) -> None:
    source = Source(rows)
    server = await asyncio.get_running_loop().create_server(lambda: Exchange(source), HOST, 0)
    source.port = server.sockets[0].getsockname()[1]
    print(source.port, flush=True)  # noqa: T201  what the starter waits for
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
