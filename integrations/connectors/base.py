"""The contract of a connector: three verbs, pull, do and hear.

A connector states facts about its vendor. The base owns the loop over pages, and the transport owns the wire: a
connector never retries, sleeps, logs or reads Django settings.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Final

import xxhash
from pydantic import BaseModel, ConfigDict

from integrations.connectors.authentication import authentication_of, tls_material_of
from integrations.connectors.decoding import Encoded, NotJson, decode
from integrations.connectors.incremental import Incremental
from integrations.connectors.joins import Join, Joined
from integrations.connectors.loops import Trail
from integrations.connectors.operations import In, Operation, Out
from integrations.connectors.pagination import Received
from integrations.models import Connection, Stream
from integrations.transports.error_table import USUAL_ERRORS, ErrorTable
from integrations.transports.errors import NotUnderstood
from integrations.transports.http import HttpTransport, Purpose, Request, Timeouts
from integrations.transports.line import ConnectionLine
from integrations.transports.quota import USUAL_QUOTA, QuotaHeaders
from integrations.transports.retries import Retries

# A feed of a hundred records a page would have ten million by then: it is going round in circles.
MAX_PAGES: Final = 100_000


class Unsupported(Exception):
    """A connector was asked for what its system cannot do."""

    def __init__(self, connector: str, verb: str, name: str) -> None:
        super().__init__(f"The {connector} connector cannot {verb} {name}.")


class ConnectorSettings(BaseModel):
    """What a kind of system needs to know beyond address and credentials; nothing by default."""

    model_config = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Page:
    """One page as it was read: `records` are JSON values, `next` the token of the page after it, "" after the last."""

    number: int
    digest: bytes
    records: list[Any]
    encoded: Encoded
    next: str


@dataclass(frozen=True)
class Answer:
    """What a connector makes of one answer: its records, and the token of what follows ("" for nothing)."""

    records: list[Any]
    next: str
    announced: int | None = None


@dataclass(frozen=True)
class Bookmark:
    """Where a feed is read on: after so many pages and records, with this token ("" when nothing follows), and what was
    met on the way. The trail goes on to be written by whoever reads on."""

    pages: int = 0
    read: int = 0
    token: str = ""
    trail: Trail = field(default_factory=Trail)


MappingOf = Callable[[Any], Mapping[str, Any]]
RequestFor = Callable[[str], Request]
ReadAnswer = Callable[[str, Received, int], Answer]


class Connector(ABC):
    """A kind of external system, bound to one configured connection."""

    key: ClassVar[str]
    label: ClassVar[str]
    datasets: ClassVar[frozenset[str]] = frozenset()
    # Whether the document says where records lie and how they are paged; of most vendors the connector knows.
    has_endpoints: ClassVar[bool] = False
    # The operations that it can do, by name; each is a method that is given the wire and the operation's input.
    operations: ClassVar[frozenset[str]] = frozenset()
    # Members of what is sent and answered that name no person, and so may be kept of an operation as they are.
    shown: ClassVar[frozenset[str]] = frozenset()
    # Where the vendor gives its tokens, below the connection's address, and how its clients prove themselves there.
    token_path: ClassVar[str] = ""
    client_auth: ClassVar[str] = ""
    # Whether it sends events, which are signed (`auth.type` signature) and go over TLS alone.
    signs: ClassVar[bool] = False
    Settings: ClassVar[type[ConnectorSettings]] = ConnectorSettings
    # How the vendor's records become canonical ones under given settings, as a connection document writes a mapping: for
    # each dataset of which not only an administrator knows. A document's own mapping comes before it, field by field.
    mappings: ClassVar[Mapping[str, MappingOf]] = {}
    # What the vendor's failures mean.
    errors: ClassVar[ErrorTable] = USUAL_ERRORS
    # Where the vendor says how much it may still be asked.
    quota: ClassVar[QuotaHeaders] = USUAL_QUOTA

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.settings = self.Settings.model_validate(connection.settings)
        self.auth = authentication_of(connection)
        self.tls = tls_material_of(connection)
        self.retries = Retries()

    def open_transport(self, purpose: Purpose) -> HttpTransport:
        """The wire to the connection's system, for pulls or for operations. Use it as a context manager."""
        return HttpTransport(
            Timeouts.of(self.connection.timeouts),
            purpose=purpose,
            errors=self.errors,
            tls=self.tls,
            line=ConnectionLine(self.connection, self.quota),
            retries=self.retries,
        )

    def pull(self, stream: Stream, *, since: str = "", bookmark: Bookmark | None = None) -> Iterator[Page]:
        """Yield every page of the stream's dataset, in order, or those after a `bookmark`; of what has changed `since` a
        watermark, where there is one.

        Raises Unsupported for a dataset that the system does not have, and a TransportError when a page cannot be
        had, is not understood, or the pages go round in circles. Pages yielded before that are not the whole.
        """
        if stream.dataset not in self.datasets:
            raise Unsupported(self.label, "pull", stream.dataset)
        with self.open_transport(Purpose.PULL) as transport:
            yield from self._pages(transport, stream, since, bookmark or Bookmark())

    def _pages(
        self, transport: HttpTransport, stream: Stream, since: str, bookmark: Bookmark
    ) -> Iterator[Page]:
        joins = self.joins(stream)
        joined = Joined(joins, partial(self._row_pages, transport))
        answers = self._answers(
            transport,
            lambda token: self.request_page(stream, token, since),
            lambda token, received, read: self.read_page(stream, token, received, read),
            bookmark,
        )
        for number, (digest, answer, encoded) in enumerate(answers, start=bookmark.pages + 1):
            if not joins:
                yield Page(number, digest, answer.records, encoded, answer.next)
                continue
            # What a record refers to is part of it: the same page with another row is another page.
            records = joined.complete(answer.records)
            completed = Encoded.of(records)
            yield Page(number, completed.digest, records, completed, answer.next)

    def _row_pages(
        self, transport: HttpTransport, join: Join, where: Mapping[str, Any]
    ) -> Iterator[list[Any]]:
        answers = self._answers(
            transport,
            lambda token: self.request_rows(join, where, token),
            lambda token, received, _: self.read_rows(join, token, received),
            Bookmark(),
        )
        return (answer.records for _, answer, _ in answers)

    def _answers(
        self, transport: HttpTransport, request: RequestFor, read: ReadAnswer, bookmark: Bookmark
    ) -> Iterator[tuple[bytes, Answer, Encoded]]:
        """Every answer from the bookmark to the last, between a digest of its body and its records as bytes: the one loop
        over pages."""
        token, count, trail = bookmark.token, bookmark.read, bookmark.trail
        for number in range(bookmark.pages + 1, MAX_PAGES + 1):
            response = transport.exchange(request(token))
            answer = read(token, Received(decoded(response.body), response.headers), count)
            encoded = Encoded.of(answer.records)
            trail.follow_encoded(number, encoded, answer.next)
            count += len(answer.records)
            if not answer.next:
                # Before the page is kept: whoever takes the run over takes a last page for the end of a whole feed.
                _check_announced(answer.announced, count)
            yield xxhash.xxh3_128_digest(response.body), answer, encoded
            if not answer.next:
                return
            token = answer.next
        raise NotUnderstood(f"the feed has more than {MAX_PAGES:,} pages")

    def request_page(self, stream: Stream, token: str, since: str) -> Request:
        """Return the request for the page that `token` stands for; "" is the first. `since` asks for what has changed
        after that moment, in the source's own writing; "" asks for everything."""
        raise Unsupported(self.label, "pull", stream.dataset)

    def read_page(self, stream: Stream, token: str, received: Received, read: int) -> Answer:
        """Return the records of an answer and what follows it; `read` records came before. Raises NotUnderstood."""
        raise Unsupported(self.label, "pull", stream.dataset)

    def joins(self, stream: Stream) -> Sequence[Join]:
        """What the dataset's records refer to in other tables of the system, and is to be put into them."""
        return ()

    def request_rows(self, join: Join, where: Mapping[str, Any], token: str) -> Request:
        """Return the request for a page of a join's table: the rows whose columns have the values of `where`."""
        raise Unsupported(self.label, "join", join.table)

    def read_rows(self, join: Join, token: str, received: Received) -> Answer:
        """Return the rows of an answer to `request_rows` and what follows it. Raises NotUnderstood."""
        raise Unsupported(self.label, "join", join.table)

    def is_snapshot(self, stream: Stream) -> bool:
        """Whether a record that stays in the feed is in every extract, though others come and go while it is read."""
        return True

    def incremental(self, stream: Stream) -> Incremental | None:
        """How the source is asked for what has changed; None where it is always asked for everything."""
        return None

    @classmethod
    def operations_of(cls, connection: Connection) -> frozenset[str]:  # noqa: ARG003 - others read its settings
        """The names of what the connection's system can do."""
        return cls.operations

    def do(self, operation: Operation[In, Out], arguments: In) -> Out:
        """Perform an operation: one try. Raises Unsupported for what the system cannot do, and a TransportError for what
        did not succeed, or of which nobody knows whether it did."""
        if operation.name not in self.operations_of(self.connection):
            raise Unsupported(self.label, "do", operation.name)
        with self.open_transport(Purpose.DO) as transport:
            perform: Callable[[HttpTransport, In], Out] = getattr(self, operation.name)
            return perform(transport, arguments)

    def hear(self, headers: dict[str, str], body: bytes) -> list[BaseModel]:
        """Verify a webhook and return its events. The base hears none."""
        raise Unsupported(self.label, "hear", "webhooks")


def decoded(body: bytes) -> Any:
    """Return the JSON value that an answer is. Raises NotUnderstood for one that is none."""
    try:
        return decode(body)
    except NotJson:
        start = body.lstrip()[:1]
        kind = "a web page" if start == b"<" else "not JSON"
        raise NotUnderstood(f"the answer is {kind}, where JSON was expected") from None


def _check_announced(announced: int | None, read: int) -> None:
    if announced is not None and announced != read:
        raise NotUnderstood(
            f"the feed announced {announced:,} records and {read:,} came",
            advice="Part of the feed is missing, or it changed while it was read. Sync again.",
        )
