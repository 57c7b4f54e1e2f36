"""Names of pages: where one ends, signed, so that a list goes on behind a row and never by counting rows.

A cursor holds the key of the row at which its page begins or ends. It is signed together with the question (which resource,
in which order, narrowed how): one that was changed, or that belongs to another question, is no cursor. It says nothing of who
asked, because it gives nobody anything: the next page is asked for with a token of its own.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import orjson
from django.conf import settings

_SIGNATURE_BYTES: Final = 16
_MAX_LENGTH: Final = 600
_FORWARD, _BACKWARD = b">", b"<"


@dataclass(frozen=True)
class Position:
    """Behind (`is_forward`) or before the row that has these values in the columns of the order."""

    keys: tuple[object, ...]
    is_forward: bool


def cursor_of(position: Position, question: bytes) -> str:
    """The cursor that names a position within the answer to a question."""
    content = (_FORWARD if position.is_forward else _BACKWARD) + orjson.dumps(position.keys)
    return base64.urlsafe_b64encode(_signature(content, question) + content).decode().rstrip("=")


def position_of(cursor: str, question: bytes) -> Position:
    """The position that a cursor names. Raises ValueError for what is no cursor of this question."""
    try:
        if len(cursor) > _MAX_LENGTH:
            raise ValueError  # noqa: TRY301  as for any other text that is none
        signed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        signed = b""
    signature, content = signed[:_SIGNATURE_BYTES], signed[_SIGNATURE_BYTES:]
    if not content or not hmac.compare_digest(signature, _signature(content, question)):
        raise ValueError(
            "This cursor is not one of this list with these filters, this search and this ordering: take `next` or "
            "`previous` of an answer as it is, or begin without a cursor."
        )
    return Position(tuple(orjson.loads(content[1:])), is_forward=content[:1] == _FORWARD)


def _signature(content: bytes, question: bytes) -> bytes:
    signed = hashlib.sha256(question).digest() + content
    return hmac.digest(_key(settings.SECRET_KEY), signed, "sha256")[:_SIGNATURE_BYTES]


@lru_cache(maxsize=4)
def _key(secret: str) -> bytes:
    return hashlib.sha256(b"matricula.cursors:" + secret.encode()).digest()
