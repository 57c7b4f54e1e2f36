"""JSON as other systems write it, and one way to write a record back.

orjson is strict: one NaN, one number beyond a double or one broken surrogate makes it refuse the page. A page is
hundreds of students' money, so the standard library, which is lenient there, has a second look: the bad record is
then rejected by itself and the rest goes on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import orjson
import xxhash

from integrations.transports.errors import NotUnderstood

_MAX_DIGITS: Final = 4000


class NotJson(ValueError):
    """The body is not JSON by any reading."""


def decode(body: bytes) -> Any:
    """Return the JSON value in `body`. Raises NotJson."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        try:
            return json.loads(body, parse_constant=_NotANumber, parse_float=_float, parse_int=_int)
        except (ValueError, RecursionError):
            raise NotJson from None


class _NotANumber(float):
    """What JSON text calls a number and no amount can be: NaN, an infinity, digits without end. A type of its own,
    because orjson writes a float that is not finite as null, and a rejected record is kept as it came."""


def _float(text: str) -> float:
    return value if math.isfinite(value := float(text)) else _NotANumber(value)


def _int(text: str) -> float:
    # Python refuses to read integers of more than 4300 digits, by default.
    return int(text) if len(text) <= _MAX_DIGITS else _NotANumber(text)


def encode(record: Any) -> bytes:
    """Return a record as bytes that are the same whenever the record is: keys sorted, no spaces.

    Raises NotUnderstood for nesting that no writer here can follow.
    """
    try:
        return orjson.dumps(record, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # broken surrogates, integers beyond 64 bits, nesting beyond orjson's limit
        try:
            return json.dumps(record, sort_keys=True, separators=(",", ":")).encode()
        except RecursionError:
            raise NotUnderstood("a record is nested deeper than any record is") from None


@dataclass(frozen=True)
class Encoded:
    """The records of a page as bytes, and a fingerprint of each: both are made once, and whoever compares records uses
    them."""

    raws: Sequence[bytes] = ()
    fingerprints: Sequence[bytes] = ()

    @classmethod
    def of(cls, records: Sequence[Any]) -> Self:
        """Raises NotUnderstood as `encode` does."""
        raws = [encode(record) for record in records]
        return cls(raws, [xxhash.xxh3_128_digest(raw) for raw in raws])

    @property
    def digest(self) -> bytes:
        """Sixteen bytes that are the same whenever the records are, in this order."""
        return digest_of(self.fingerprints)


def digest_of(fingerprints: Sequence[bytes]) -> bytes:
    """Sixteen bytes for records of these fingerprints, in this order."""
    return xxhash.xxh3_128_digest(b"".join(fingerprints))
