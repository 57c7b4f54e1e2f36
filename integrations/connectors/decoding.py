"""JSON as other systems write it, and one way to write a record back.

orjson is strict: one NaN, one number beyond a double or one broken surrogate makes it refuse the page. A page is
hundreds of students' money, so the standard library, which is lenient there, has a second look: the bad record is
then rejected by itself and the rest goes on.
"""

from __future__ import annotations

import json
from typing import Any

import orjson


class NotJson(ValueError):
    """The body is not JSON by any reading."""


def decode(body: bytes) -> Any:
    """Return the JSON value in `body`. Raises NotJson."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise NotJson from None


def encode(record: Any) -> bytes:
    """Return a record as bytes that are the same whenever the record is: keys sorted, no spaces."""
    try:
        return orjson.dumps(record, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # broken surrogates, integers beyond 64 bits, nesting beyond orjson's limit
        return json.dumps(record, sort_keys=True, separators=(",", ":")).encode()
