"""Days as other systems write them, by formats that an administrator declares.

A format is one of Python's strptime, or `epoch` or `epoch_ms`: seconds or milliseconds since 1970, of which the day is
that in UTC. A moment with a time and an offset is of the day that is written, not of the one it is elsewhere.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from typing import Any, Final

from django.utils import timezone

EPOCH_UNITS: Final = {"epoch": 1, "epoch_ms": 1000}
# Days by which formats are tried: all of their numbers differ, and two readings of one text show.
_SAMPLES: Final = (datetime.date(2001, 2, 3), datetime.date(2022, 11, 10))
_NUMBER: Final = re.compile(r"-?\d{1,15}(\.\d{1,9})?", re.ASCII)
# Numbers without anything between them: strptime would take 2026111 for the first of November.
_RUN_TOGETHER: Final = re.compile(r"%[dmyYHMSj]%[dmyYHMSj]")
MAX_CHARACTERS: Final = 60

Reader = Callable[[str], datetime.date | None]


def date_reader(formats: list[str]) -> Callable[[Any], datetime.date | None]:
    """Return what reads a text or a number as a day by the first format that fits, and None where none does.

    Raises ValueError for a format that does not say year, month and day, and for two that would read the same text as
    different days: nobody could tell which of them was meant.
    """
    readers = {each: _reader(each) for each in formats}
    for each, reader in readers.items():
        _check_pair(each, formats, reader)

    def read(value: Any) -> datetime.date | None:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            return None
        text = value.strip() if isinstance(value, str) else repr(value)
        if not text.isascii() or len(text) > MAX_CHARACTERS:
            return None
        return next((day for reader in readers.values() if (day := reader(text))), None)

    return read


def local_day(value: Any) -> datetime.date | None:
    """The day on which a moment (ISO 8601 with its offset from UTC) falls where the institution is, or None for what is
    no such moment. Half past two in the night in UTC is the evening before in New York: the census day, perhaps."""
    if not isinstance(value, str) or len(value) > MAX_CHARACTERS:
        return None
    try:
        moment = datetime.datetime.fromisoformat(value.strip())
        return None if moment.tzinfo is None else timezone.localdate(moment)
    except (ValueError, OverflowError):
        return None


def _check_pair(written: str, formats: list[str], reader: Reader) -> None:
    for day in _SAMPLES:
        if reader(_write(day, written)) != day:
            raise ValueError(
                f"date: {written!r} is no format that says year, month and day, such as %Y-%m-%d or %m/%d/%Y"
            )
        for other in formats:
            text = _write(day, other)
            if reader(text) not in (None, day):
                raise ValueError(
                    f"date: {written!r} and {other!r} read a text such as {text!r} as different days; declare one of them"
                )


def _write(day: datetime.date, written: str) -> str:
    moment = datetime.datetime.combine(day, datetime.time(), datetime.UTC)
    if written in EPOCH_UNITS:
        return str(int(moment.timestamp()) * EPOCH_UNITS[written])
    return moment.strftime(written)


def _reader(written: str) -> Reader:
    if written in EPOCH_UNITS:
        return lambda text: _since_epoch(text, EPOCH_UNITS[written])
    is_exact = _RUN_TOGETHER.search(written) is not None

    def read(text: str) -> datetime.date | None:
        try:
            moment = datetime.datetime.strptime(text, written)  # noqa: DTZ007 - the day that is written counts
            return moment.date() if not is_exact or moment.strftime(written) == text else None
        except (ValueError, re.error, OverflowError):
            return None

    return read


def _since_epoch(text: str, unit: int) -> datetime.date | None:
    if not _NUMBER.fullmatch(text):
        return None
    try:
        return datetime.datetime.fromtimestamp(float(text) / unit, datetime.UTC).date()
    except (ValueError, OverflowError, OSError):
        return None
