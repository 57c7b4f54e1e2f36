"""The Link header of an answer (RFC 8288): which address it calls the next page.

Read to the letter rather than by splitting at commas: a comma or semicolon may stand in an address and in a quoted text.
A header that is no Link header fails the page, because a feed that ends too early would be taken for a shorter one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from integrations.transports.errors import NotUnderstood

# RFC 8288 section 3, with the empty list elements of RFC 9110 section 5.6.1.
_TARGET: Final = re.compile(r"[ \t,]*<([^<>\x00-\x20\x7f]*)>[ \t]*")
_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - the grammar's word for a word (RFC 9110 section 5.6.2)
_PARAMETER: Final = re.compile(
    rf';[ \t]*(?:({_TOKEN})[ \t]*(?:=[ \t]*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))[ \t]*)?)?'
)
_END: Final = re.compile(r",|\Z")


@dataclass(frozen=True)
class Link:
    """One link: where it leads, and its parameters by their names in small letters; of a repeated one the first counts."""

    target: str
    parameters: dict[str, str] = field(default_factory=dict)

    def is_of(self, relation: str) -> bool:
        """Whether it leads from this very answer to what `relation` names. One with an anchor is another page's link."""
        return relation in self.parameters.get("rel", "").lower().split() and "anchor" not in self.parameters


def parse_links(header: str) -> list[Link]:
    """Return the links of a Link header (several headers joined by commas) in their order. Raises NotUnderstood."""
    return list(_links(header))


def next_target(header: str) -> str:
    """Return the target of the next page as it is written, or "" where the header has none.

    Raises NotUnderstood where the header is no Link header, or names several next pages.
    """
    targets = {link.target for link in parse_links(header) if link.is_of("next")}
    if len(targets) > 1:
        raise NotUnderstood("the answer's Link header names several next pages")
    return targets.pop() if targets else ""


def _links(header: str) -> Iterator[Link]:
    place = 0
    while header[place:].strip(" \t,"):
        target = _TARGET.match(header, place)
        if target is None:
            raise _unreadable()
        place = target.end()
        parameters: dict[str, str] = {}
        while parameter := _PARAMETER.match(header, place):
            place = parameter.end()
            name, quoted, plain = parameter.groups()
            if name:
                value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain or ""
                parameters.setdefault(name.lower(), value)
        end = _END.match(header, place)
        if end is None:
            raise _unreadable()
        place = end.end()
        yield Link(target[1], parameters)


def _unreadable() -> NotUnderstood:
    return NotUnderstood("the answer's Link header cannot be read")
