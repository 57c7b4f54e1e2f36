"""How a feed is cut into pages: one declaration for each `pagination.type` of the connection document.

A token names a page: a number, a cursor or an address, always as text; "" is the first page when asked for, and says
that nothing follows when returned.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Any, ClassVar, Literal

import jmespath
from pydantic import BaseModel, ConfigDict, Field, field_validator

from integrations.transports.errors import NotUnderstood


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
    def token_after(self, token: str, body: Any, count: int, read: int) -> str:
        """The token of the page after the one that `token` brought: `count` records in it, `read` so far."""

    def announced(self, body: Any) -> int | None:
        """How many records the answer says there are in all. Raises NotUnderstood when it should and does not."""
        if self.total is None:
            return None
        total = jmespath.search(self.total, body)
        if isinstance(total, str) and total.isdecimal():
            total = int(total)
        if isinstance(total, bool) or not isinstance(total, int):
            raise NotUnderstood(f"the answer has no number of records at {self.total!r}")
        return total


class NoPagination(_Paged):
    """Everything in one answer."""

    type: Literal["none"] = "none"

    def token_after(self, token: str, body: Any, count: int, read: int) -> str:
        return ""


class PageNumbers(_Paged):
    """Pages are numbered. The last is where `total` says so or, without it, the one before an empty page. A short
    page proves nothing: a server may cap the size or filter after cutting, and what is missing would be voided.
    For the same reason a 404 is a failure; a system that answers so after its last page needs `total`."""

    # A record that goes from page 1 moves the first of page 2 onto page 1, which has been read.
    is_snapshot: ClassVar[bool] = False
    type: Literal["page"]
    page_param: str = "page"
    size_param: str | None = None
    size: Annotated[int, Field(ge=1, le=100_000)] | None = None
    first: Annotated[int, Field(ge=0)] = 1

    def params(self, token: str) -> dict[str, str]:
        params = {self.page_param: token or str(self.first)}
        if self.size_param and self.size:
            params[self.size_param] = str(self.size)
        return params

    def token_after(self, token: str, body: Any, count: int, read: int) -> str:
        announced = self.announced(body)
        if count == 0 or (announced is not None and read >= announced):
            return ""
        return str(int(token or self.first) + 1)


class Cursor(_Paged):
    """Each answer carries the cursor of the next page, or none."""

    type: Literal["cursor"]
    cursor_param: str = "cursor"
    cursor: str
    size_param: str | None = None
    size: Annotated[int, Field(ge=1, le=100_000)] | None = None

    def params(self, token: str) -> dict[str, str]:
        params = {self.cursor_param: token} if token else {}
        if self.size_param and self.size:
            params[self.size_param] = str(self.size)
        return params

    def token_after(self, token: str, body: Any, count: int, read: int) -> str:
        cursor = jmespath.search(self.cursor, body)
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

    def token_after(self, token: str, body: Any, count: int, read: int) -> str:
        address = jmespath.search(self.next, body)
        if address is None or address == "":
            return ""
        if not isinstance(address, str):
            raise NotUnderstood(f"the answer's next address at {self.next!r} is not a text")
        return address


Pagination = Annotated[NoPagination | PageNumbers | Cursor | NextUrl, Field(discriminator="type")]
