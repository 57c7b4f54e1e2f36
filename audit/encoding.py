"""The bytes of an event that are sealed: the same on SQLite and PostgreSQL, whatever each keeps them as.

An event is a JSON array in a fixed order: version, id, microseconds since 1970, the texts, and the detail with its keys
sorted. PostgreSQL keeps `detail` in an order and a spacing of its own, so that it is read, and written anew. A number in
it is a whole one of 53 bits (`AuditEventQuerySet.append` sees to that): those are the ones that every reader reads alike
(RFC 8259, section 6).
"""

from __future__ import annotations

import datetime
import struct
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final

import orjson
from django.db import connection

VERSION: Final = 1
EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND: Final = datetime.timedelta(microseconds=1)
# The columns of an event in the order of the array, `at` and `detail` in the form that `encoded` takes.
TEXTS: Final = (
    "actor_kind",
    "actor_id",
    "actor_name",
    "action",
    "subject_type",
    "subject_id",
    "reason",
    "request_id",
    "address",
)
_SEALED: Final = struct.Struct(">qqq")


def event_columns(alias: str) -> str:
    """The columns of an event for a SELECT, in the order that `encoded` takes them."""
    detail = f"{alias}.detail::text" if connection.vendor == "postgresql" else f"{alias}.detail"
    return ", ".join(
        [f"{alias}.id", instant_column(f"{alias}.at"), *(f"{alias}.{name}" for name in TEXTS), detail]
    )


def instant_column(name: str) -> str:
    """An instant for a SELECT, in the form that `microseconds` takes: a number, or on SQLite the text that it keeps,
    which an expression leaves as it is where the driver would make a datetime of a column."""
    return _epoch(name) if connection.vendor == "postgresql" else f"{name} || ''"


def _epoch(name: str) -> str:
    # Exact: extract() is numeric from PostgreSQL 14 on.
    return f"(extract(epoch FROM {name}) * 1000000)::bigint"


def microseconds(instant: Any) -> Any:
    """Microseconds since 1970 of what a SELECT of `instant_column` yields, or of a datetime.

    SQLite keeps a text, which somebody may have replaced by one that is no instant: that is returned as it is, and no
    seal holds over it.
    """
    if isinstance(instant, str):
        try:
            instant = datetime.datetime.fromisoformat(instant)
        except ValueError:
            return instant
        instant = instant.replace(tzinfo=instant.tzinfo or datetime.UTC)
    return (instant - EPOCH) // _MICROSECOND if isinstance(instant, datetime.datetime) else instant


def instant_of(microseconds_since: int) -> datetime.datetime:
    """The instant of so many microseconds since 1970."""
    return EPOCH + datetime.timedelta(microseconds=microseconds_since)


def encoded(row: Sequence[Any]) -> bytes:
    """The canonical bytes of an event, from a row of `event_columns`. Takes whatever a database may hold."""
    return orjson.dumps(
        [VERSION, row[0], microseconds(row[1]), *row[2:-1], _detail(row[-1])],
        option=orjson.OPT_SORT_KEYS,
        default=repr,
    )


def _detail(text: Any) -> Any:
    try:
        return orjson.loads(text)
    except (orjson.JSONDecodeError, TypeError):
        return repr(text)  # written past our code: it is sealed as it stands, and stops nobody


def event_digest(row: Sequence[Any]) -> bytes:
    """SHA-256 of an event's canonical bytes."""
    return sha256(encoded(row)).digest()


def seal_digest(position: int, event_id: int, sealed_us: int, digest: bytes, previous: bytes) -> bytes:
    """SHA-256 of a seal: position, event id and time as 64-bit big-endian numbers, then the event's digest and the one before."""
    return sha256(_SEALED.pack(position, event_id, sealed_us) + digest + previous).digest()
