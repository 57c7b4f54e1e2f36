"""How a feed is cut into pages: one declaration for each `pagination.type` of the connection document.

A token names a page: a number, a cursor or an address, always as text; "" is the first page when asked for, and says
that nothing follows when returned.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import jmespath
from pydantic import BaseModel, ConfigDict, Field, field_validator

from integrations.connectors.links import next_target
from integrations.transports.errors import NotUnderstood


@dataclass(frozen=True)
class Received:
    """What came for one page: its JSON value, and the headers beside it (whatever the case of their names)."""

    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


def check_expression(expression: str) -> str:
    """Return a JMESPath expression that compiles, or raise ValueError that says where it does not."""
    try:
        jmespath.compile(expression)
    except jmespath.exceptions.JMESPathError as error:
        raise ValueError(f"{expression!r} is no JMESPath expression: {str(error).splitlines()[0]}") from None
    return expression


class _Paged(BaseModel, ABC):
    """What every pagination has: optionally where the answer says how many records there are in all."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    follows_addresses: ClassVar[bool] = False
    # Whether records that come and go while the feed is read leave the others where they are.
    is_snapshot: ClassVar[bool] = True
    total: str | None = None

    @field_validator("total", "cursor", "next", check_fields=False)
    @classmethod
    def _is_expression(cls, value: str | None) -> str | None:
        return check_expression(value) if value is not None else None

    def params(self, token: str) -> dict[str, str]:
        """The parameters that ask for the page `token`."""
        return {}

    @abstractmethod
    def token_after(self, token: str, received: Received, count: int, read: int) -> str:
        """The token of the page after the one that `token` brought: `count` records in it, `read` so far."""

    def announced(self, received: Received) -> int | None:
        """How many records the answer says there are in all. Raises NotUnderstood when it should and does not."""
        if self.total is None:
            return None
        total = jmespath.search(self.total, received.body)
        if isinstance(total, str) and total.isdecimal():
            total = int(total)
        if isinstance(total, bool) or not isinstance(total, int):
            raise NotUnderstood(f"the answer has no number of records at {self.total!r}")
        return total


class NoPagination(_Paged):
    """Everything in one answer."""

    type: Literal["none"] = "none"

    def token_after(self, token: str, received: Received, count: int, read: int) -> str:
        return ""


class _Sized(_Paged, ABC):
    """Pages whose size may be asked for."""

    size_param: str | None = None
    size: Annotated[int, Field(ge=1, le=100_000)] | None = None

    def size_params(self) -> dict[str, str]:
        """The parameter that asks for the size, where one is declared."""
        return {self.size_param: str(self.size)} if self.size_param and self.size else {}


class PageNumbers(_Sized):
    """Pages are numbered. The last is where `total` says so or, without it, the one before an empty page. A short
    page proves nothing: a server may cap the size or filter after cutting, and what is missing would be voided.
    For the same reason a 404 is a failure; a system that answers so after its last page needs `total`."""

    # A record that goes from page 1 moves the first of page 2 onto page 1, which has been read.
    is_snapshot: ClassVar[bool] = False
    type: Literal["page"]
    page_param: str = "page"
    first: Annotated[int, Field(ge=0)] = 1

    def params(self, token: str) -> dict[str, str]:
        return {self.page_param: token or str(self.first), **self.size_params()}

    def token_after(self, token: str, received: Received, count: int, read: int) -> str:
        announced = self.announced(received)
        if count == 0 or (announced is not None and read >= announced):
            return ""
        return str(int(token or self.first) + 1)


class Offset(_Sized):
    """Each page is asked for by the number of records before it. It ends as page numbers do, and for the same reasons.

    The next offset is what has come so far, not a multiple of `size`: of a server that caps the size nothing is skipped
    then, and what one that filters after cutting sends twice is a copy.
    """

    is_snapshot: ClassVar[bool] = False
    type: Literal["offset"]
    offset_param: str = "offset"

    def params(self, token: str) -> dict[str, str]:
        return {self.offset_param: token or "0", **self.size_params()}

    def token_after(self, token: str, received: Received, count: int, read: int) -> str:
        announced = self.announced(received)
        if count == 0 or (announced is not None and read >= announced):
            return ""
        return str(read)


class Cursor(_Sized):
    """Each answer carries the cursor of the next page, or none."""

    type: Literal["cursor"]
    cursor_param: str = "cursor"
    cursor: str

    def params(self, token: str) -> dict[str, str]:
        return {**({self.cursor_param: token} if token else {}), **self.size_params()}

    def token_after(self, token: str, received: Received, count: int, read: int) -> str:
        cursor = jmespath.search(self.cursor, received.body)
        if cursor is None or cursor == "" or cursor is False:
            return ""
        if isinstance(cursor, bool) or not isinstance(cursor, str | int):
            raise NotUnderstood(f"the answer's cursor at {self.cursor!r} is neither a text nor a number")
        return str(cursor)


class NextUrl(_Paged):
    """Each answer carries the address of the next page, or none."""

    follows_addresses: ClassVar[bool] = True
    type: Literal["next_url"]
    next: str

    def token_after(self, token: str, received: Received, count: int, read: int) -> str:
        address = jmespath.search(self.next, received.body)
        if address is None or address == "":
            return ""
        if not isinstance(address, str):
            raise NotUnderstood(f"the answer's next address at {self.next!r} is not a text")
        return address


class LinkHeader(_Paged):
    """The Link header beside each answer has the address of the next page, or none (RFC 8288, relation "next")."""

    follows_addresses: ClassVar[bool] = True
    type: Literal["link_header"]

    def token_after(self, token: str, received: Received, count: int, read: int) -> str:
        return next_target(received.headers.get("Link", ""))


Pagination = Annotated[
    NoPagination | PageNumbers | Offset | Cursor | NextUrl | LinkHeader, Field(discriminator="type")
]
