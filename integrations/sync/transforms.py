"""What a mapping may do with a value on its way, as tables: one step for each name.

A step takes the value that was found and returns another one, or None where that makes nothing; it is not asked about
nothing. What it cannot do raises NotTransformed, and rejects the record alone.
"""

from __future__ import annotations

import datetime
import re
import zoneinfo
from collections.abc import Callable, Mapping
from typing import Any, Final

from integrations.sync.dates import date_reader, local_day
from registration.money import NotMoney, parse_decimal

_BOOLEANS: Final = {
    **dict.fromkeys(["true", "t", "yes", "y", "1"], True),
    **dict.fromkeys(["false", "f", "no", "n", "0"], False),
}
_SHOWN_CHARACTERS: Final = 60
_INTEGER: Final = re.compile(r"[+-]?\d{1,18}", re.ASCII)
MAX_LENGTH: Final = 100_000

Step = Callable[[Any], Any]


class NotTransformed(ValueError):
    """A transform cannot be done with this value; the text says why."""


def shown(value: object) -> str:
    """A value as an error message quotes it: short, whatever it is."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


# --- by name alone ----------------------------------------------------------------------------------------


def _text_only(change: Callable[[str], str]) -> Step:
    return lambda value: change(value) if isinstance(value, str) else value


def _decimal(value: Any) -> Any:
    try:
        return format(parse_decimal(value.strip() if isinstance(value, str) else value), "f")
    except NotMoney as error:
        raise NotTransformed(str(error)) from None


def _integer(value: Any) -> Any:
    if isinstance(value, bool):
        raise NotTransformed("is true or false, where a whole number is expected")
    text = value.strip() if isinstance(value, str) else repr(value)
    text = re.sub(r"\.0+\Z", "", text)
    if not _INTEGER.fullmatch(text):
        raise NotTransformed(f"{shown(value)} is not a whole number")
    return int(text)


def _boolean(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    known = _BOOLEANS.get(str(value).strip().lower())
    if known is None:
        raise NotTransformed(f"{shown(value)} is neither true nor false")
    return known


def _local_date(value: Any) -> Any:
    day = local_day(value)
    if day is None:
        raise NotTransformed(
            f"{shown(value)} is no moment with its offset from UTC, such as 2026-09-12T02:30:00Z: where the source "
            "writes days, use date"
        )
    return day.isoformat()


_PLAIN: Final[dict[str, Step]] = {
    "trim": _text_only(str.strip),
    "upper": _text_only(str.upper),
    "lower": _text_only(str.lower),
    "decimal": _decimal,
    "integer": _integer,
    "boolean": _boolean,
    "local_date": _local_date,
}


# --- with an argument -------------------------------------------------------------------------------------


def lookup(argument: object) -> Step:
    """A value that the table does not name passes as it is: validation decides whether it can stand."""
    if not isinstance(argument, dict):
        # A ValueError, as for every other fault of a declaration: pydantic tells it with its place.
        raise ValueError('lookup takes a table, such as {"lookup": {"PAID": "disbursed"}}')  # noqa: TRY004
    table: Mapping[str, Any] = argument

    def step(value: Any) -> Any:
        key = ("true" if value else "false") if isinstance(value, bool) else value
        return table.get(str(key), value) if isinstance(key, str | int) else value

    return step


def _default(argument: object) -> Step:
    return lambda value: argument if value is None else value


def _date(argument: object) -> Step:
    formats = [argument] if isinstance(argument, str) else argument
    if not isinstance(formats, list) or not formats or not all(isinstance(each, str) for each in formats):
        raise ValueError('date takes a format or a list of them, such as {"date": ["%m/%d/%Y", "epoch"]}')
    read = date_reader(formats)

    def step(value: Any) -> Any:
        day = read(value)
        if day is None:
            raise NotTransformed(f"{shown(value)} is no date of the form {' or '.join(formats)}")
        return day.isoformat()

    return step


def _zone(argument: object) -> Step:
    if not isinstance(argument, str) or argument not in zoneinfo.available_timezones():
        raise ValueError('zone takes the name of a time zone, such as {"zone": "America/New_York"}')
    zone = zoneinfo.ZoneInfo(argument)

    def step(value: Any) -> Any:
        try:
            moment = datetime.datetime.fromisoformat(value)
        except (TypeError, ValueError):
            raise NotTransformed(f"{shown(value)} is no moment such as 2026-09-01T10:00:00") from None
        # Of the hour that is written twice when clocks are set back, the first is meant.
        return value if moment.tzinfo else moment.replace(tzinfo=zone).isoformat()

    return step


def _join(argument: object) -> Step:
    if not isinstance(argument, str):
        raise ValueError('join takes the text that stands between, such as {"join": " "}')  # noqa: TRY004

    def step(value: Any) -> Any:
        if not isinstance(value, list):
            raise NotTransformed(f"{shown(value)} is no list that could be joined")
        parts = [part for part in value if part is not None]
        if unfit := next((part for part in parts if not _is_word(part)), None):
            raise NotTransformed(f"{shown(unfit)} in the list is neither a text nor a whole number")
        return argument.join(map(str, parts)) if parts else None

    return step


def _split(argument: object) -> Step:
    fits = isinstance(argument, dict) and argument.keys() == {"separator", "index"}
    separator, index = (argument["separator"], argument["index"]) if fits else ("", None)  # type: ignore[index]
    if not (
        isinstance(separator, str) and separator and isinstance(index, int) and not isinstance(index, bool)
    ):
        raise ValueError(
            'split takes a separator and which part is meant, from 0 or from the end with -1, such as {"split": '
            '{"separator": "-", "index": 0}}'
        )

    def step(value: Any) -> Any:
        if not _is_word(value):
            raise NotTransformed(f"{shown(value)} is no text that could be split")
        parts = str(value).split(separator)
        return parts[index] if -len(parts) <= index < len(parts) else None

    return step


def _truncate(argument: object) -> Step:
    if isinstance(argument, bool) or not isinstance(argument, int) or not 1 <= argument <= MAX_LENGTH:
        raise ValueError(
            f'truncate takes a number of characters from 1 to {MAX_LENGTH:,}, such as {{"truncate": 40}}'
        )
    return _text_only(lambda text: text[:argument])


def _is_word(value: object) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


_WITH_ARGUMENT: Final[dict[str, Callable[[object], Step]]] = {
    "date": _date,
    "zone": _zone,
    "join": _join,
    "split": _split,
    "truncate": _truncate,
    "lookup": lookup,
    "default": _default,
}


def step_of(transform: object) -> tuple[str, Step]:
    """Return the name and the step of a transform as it is declared. Raises ValueError that says what is wrong."""
    if isinstance(transform, str) and transform in _PLAIN:
        return transform, _PLAIN[transform]
    name = transform if isinstance(transform, str) else None
    if isinstance(transform, dict) and len(transform) == 1:
        ((name, argument),) = transform.items()
        if name in _WITH_ARGUMENT:
            return name, _WITH_ARGUMENT[name](argument)
    if name in _WITH_ARGUMENT:
        _WITH_ARGUMENT[str(name)](None)  # says what it takes
    known = ", ".join([*_PLAIN, *(f'{{"{name}": ...}}' for name in _WITH_ARGUMENT)])
    raise ValueError(f"{shown(transform)} is no transform; there are {known}")
