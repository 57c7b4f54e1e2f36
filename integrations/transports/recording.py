"""What passed over the wire for one operation, kept for those who ask why: masked, so that it names no person.

Of bodies only members are kept as they are that the connector declares (`Connector.shown`); of every other value it is
seen that there was one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

import orjson

from apiauth.sealed import SealBroken
from integrations.models import Connection
from integrations.transports.masking import MASK, Mask
from integrations.transports.messages import Attempt, Tokened

# Of one value, this much is kept.
MAX_CHARACTERS: Final = 500
# No operation needs as many exchanges or members; what goes beyond is left out.
MAX_EXCHANGES: Final = 20
MAX_ITEMS: Final = 50
_attempts: ContextVar[list[Attempt] | None] = ContextVar("integrations_recorded_attempts", default=None)


@contextmanager
def recording() -> Iterator[list[Attempt]]:
    """Yield a list to which every attempt inside the block is added."""
    attempts: list[Attempt] = []
    token = _attempts.set(attempts)
    try:
        yield attempts
    finally:
        _attempts.reset(token)


def record_attempt(attempt: Attempt) -> None:
    """Remember an attempt, where somebody records."""
    attempts = _attempts.get()
    if attempts is not None and len(attempts) < MAX_EXCHANGES:
        attempts.append(attempt)


def masked(
    attempts: Iterable[Attempt], connection: Connection, shown: frozenset[str]
) -> list[dict[str, Any]]:
    """Return the attempts as JSON values that may be kept and shown."""
    try:
        mask = Mask.of(connection)
    except SealBroken:  # nobody can say what is secret, and so everything is
        return [{"method": attempt.request.method, "url": MASK} for attempt in attempts]
    return [_exchange(attempt, mask, shown) for attempt in attempts]


def _exchange(attempt: Attempt, mask: Mask, shown: frozenset[str]) -> dict[str, Any]:
    request, response = attempt.request, attempt.response
    auth: object = request.auth
    token = Mask([auth.token]) if isinstance(auth, Tokened) else None
    return {
        "method": request.method,
        "url": mask.url(request.url),
        "sent": _body(request.body, mask, token, shown),
        "status": response.status if response else None,
        "answer": _body(response.body, mask, token, shown) if response else None,
        "milliseconds": round(attempt.seconds * 1000),
        "error": str(attempt.error) if attempt.error else "",
    }


def _body(body: bytes, mask: Mask, token: Mask | None, shown: frozenset[str]) -> Any:
    if not body:
        return None
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return MASK  # a page, or half an answer: what it says of whom, nobody knows

    def text(words: str) -> str:
        words = token.text(words) if token else words
        return mask.text(words.replace("\0", "\ufffd"))[:MAX_CHARACTERS]

    def shadow(value: Any, *, is_shown: bool) -> Any:
        if isinstance(value, Mapping):
            members = [(name, part) for name, part in value.items() if part is not None][:MAX_ITEMS]
            return {text(str(name)): shadow(part, is_shown=name in shown) for name, part in members}
        if isinstance(value, list):
            return [shadow(part, is_shown=is_shown) for part in value[:MAX_ITEMS]]
        if value is None or value in ("", []):
            return value
        if not is_shown:
            return MASK
        return text(value) if isinstance(value, str) else value

    return shadow(value, is_shown=False)
