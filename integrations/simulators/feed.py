"""Simulated systems that have records to read: made up from a seed, and the same every time."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from random import Random
from typing import Any, ClassVar
from urllib.parse import urlencode

from integrations.simulators.faults import Strikes, Window
from integrations.simulators.parameters import NotSo, Parameters
from integrations.simulators.system import Call, Reply, System, refusal

Record = dict[str, Any]


class Feed(System):
    """A system with a list of records that somebody else keeps, and that can only be read."""

    @cached_property
    def records(self) -> list[Record]:
        """Every record, in the order of its id, with what the faults of its records have done to it."""
        dice = Random(self.seed)  # noqa: S311 - made-up data, the same every time
        return self.faults.spoil([self.make(index, dice) for index in range(self.size)])

    @abstractmethod
    def make(self, index: int, dice: Random) -> Record:
        """Make record number `index`, from 0, with these dice."""


class Listing(Feed):
    """A feed at one address, read by GET, page by page; the query says which page, and of which records."""

    parameters: ClassVar[Parameters]
    max_page_size: ClassVar[int] = 1000
    default_page_size: ClassVar[int] = 500

    def refused(self, call: Call, strikes: Strikes) -> Reply | None:
        if call.path != self.path:
            return refusal(404, f"There is nothing here; records are at {self.path}.")
        if call.method != "GET":
            return refusal(405, f"{self.path} can only be read.", {"Allow": "GET"})
        if not self.lets_in(call, strikes):
            return refusal(401, "A valid credential is needed.", {"WWW-Authenticate": self.challenge(call)})
        return None

    def serve(self, call: Call, strikes: Strikes) -> Reply:
        try:
            asked = self.parameters.checked(call.query)
        except NotSo as error:
            return refusal(400, str(error))
        return self.page(call, strikes.moved(self.window(asked)), self.select(asked))

    def window(self, asked: Mapping[str, Any]) -> Window:
        """Which records the caller asks for, however it counts them."""
        size = asked.get("limit", self.default_page_size)
        start = asked.get("cursor", asked.get("offset", (asked.get("page", 1) - 1) * size))
        return Window(start, size)

    def links(self, call: Call, following: int | None, size: int) -> dict[str, str]:
        """The Link header (RFC 8288) of a page: the first one and, where there is one, the next."""
        links = [f'<{self.address(call, 0, size)}>; rel="first"']
        if following is not None:
            links.append(f'<{self.address(call, following, size)}>; rel="next"')
        return {"Link": ", ".join(links)}

    def address(self, call: Call, start: int, size: int) -> str:
        """The address of a page that starts at `start`, with whatever else was asked for."""
        others = [(name, value) for name, value in call.query if name not in self.parameters.of_pages]
        return f"{call.address}{call.path}?{urlencode([*others, ('offset', start), ('limit', size)])}"

    @abstractmethod
    def select(self, asked: Mapping[str, Any]) -> list[Record]:
        """The records that the caller's filters let through."""

    @abstractmethod
    def page(self, call: Call, window: Window, records: list[Record]) -> Reply:
        """The page of `records` that the window shows, as the vendor writes it."""
