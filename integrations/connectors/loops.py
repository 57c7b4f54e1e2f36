"""Feeds that go round in circles: a page or a cursor that comes a second time ends the extract.

Of each page 16 bytes are remembered, and of each cursor: a loop is noticed at the first page that comes again, however
many lie between, and a feed of the most pages that may be read takes some 20 MB.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import xxhash

from integrations.connectors.decoding import Encoded, digest_of
from integrations.transports.errors import NotUnderstood

_ADVICE = "The other system does not follow the paging that the connection describes: check it."


class Trail:
    """The pages that one extract has seen, and the tokens that led to them."""

    def __init__(self) -> None:
        self._pages: dict[bytes, int] = {}
        self._tokens: set[bytes] = set()

    def follow(self, number: int, records: Sequence[Any], following: str) -> None:
        """Note page `number` by its records, as `follow_encoded` does."""
        self.follow_encoded(number, Encoded.of(records), following)

    def follow_encoded(self, number: int, encoded: Encoded, following: str) -> None:
        """Note page `number`, with its records and the token of what follows it. Raises NotUnderstood for a page that
        was there before, and for a token that leads back.

        A page is known by its records and not by its bytes: an answer may say when it was made, or carry a cursor that
        is new each time. Empty pages are all alike; of those only the token tells.
        """
        if encoded.fingerprints:
            before = self._pages.setdefault(encoded.digest, number)
            if before != number:
                what = "the page before it" if before == number - 1 else f"page {before}"
                raise NotUnderstood(f"page {number} is the same as {what}", advice=_ADVICE)
        if following:
            token = _token(following)
            if token in self._tokens:
                raise NotUnderstood(
                    f"page {number} leads back to a page that was read already", advice=_ADVICE
                )
            self._tokens.add(token)

    def remember(self, number: int, fingerprints: list[bytes], following: str) -> None:
        """Note a page that another process has read and followed: the raw fingerprints of its records."""
        if fingerprints:
            self._pages.setdefault(digest_of(fingerprints), number)
        if following:
            self._tokens.add(_token(following))


def _token(following: str) -> bytes:
    return xxhash.xxh3_128_digest(following.encode("utf-8", "surrogatepass"))
