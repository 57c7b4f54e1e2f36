"""Money: integer minor units in the database, Decimal at the edges, never a float.

A float is accepted at the edge only by its shortest decimal form, which is what the sender wrote (JSON has no
decimals): 100.1 is one hundred and ten cents, never 100.09999999999999.
"""

from __future__ import annotations

import re
from decimal import Context, Decimal
from typing import Final

# ISO 4217, list one: the currencies whose minor unit is not a hundredth.
_MINOR_DIGITS: Final = {
    **dict.fromkeys(
        [
            "BIF",
            "CLP",
            "DJF",
            "GNF",
            "ISK",
            "JPY",
            "KMF",
            "KRW",
            "PYG",
            "RWF",
            "UGX",
            "VND",
            "VUV",
            "XAF",
            "XOF",
            "XPF",
        ],
        0,
    ),
    **dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3),
    **dict.fromkeys(["CLF", "UYW"], 4),
}
_PLAIN_DECIMAL: Final = re.compile(r"[+-]?\d+(\.\d+)?", re.ASCII)
_MAX_TEXT: Final = 40
# Ten thousand million in hundredths: far beyond any bill, and a million of them still add up within 64 bits.
MAX_MINOR: Final = 10**12
# The usual context keeps 28 digits and silently rounds the rest away: 1.000...0001 would pass as 1.
_EXACT: Final = Context(prec=2 * _MAX_TEXT)


class NotMoney(ValueError):
    """The value cannot be an amount of money; its text says why, for a registrar to read."""


def minor_digits(currency: str) -> int:
    """Return how many decimal digits an amount in `currency` (ISO 4217 code) may have."""
    return _MINOR_DIGITS.get(currency, 2)


def parse_decimal(value: object) -> Decimal:
    """Return the exact decimal that `value` (str, int, float or Decimal) writes, or raise NotMoney.

    Accepted: plain decimal notation. Refused: booleans, exponents, NaN and infinities, separators, blanks.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise NotMoney(f"an amount is a number or a plain decimal text, not {type_in_words(value)}")
    if isinstance(value, int) and abs(value) >= 10**_MAX_TEXT:
        raise NotMoney("the amount has too many digits")
    if isinstance(value, Decimal) and value.is_finite() and abs(value.adjusted()) > _MAX_TEXT:
        raise NotMoney(
            "the amount has too many digits"
        )  # 1E+999999999 is short, and a gigabyte when written out
    text = (
        value if isinstance(value, str) else format(value, "f") if isinstance(value, Decimal) else repr(value)
    )
    if len(text) > _MAX_TEXT:
        raise NotMoney("the amount has too many digits")
    if not _PLAIN_DECIMAL.fullmatch(text):
        raise NotMoney(f"{text!r} is not a plain decimal such as 1234.50")
    return Decimal(text)


def to_minor(value: object, currency: str) -> int:
    """Return `value` in minor units of `currency` (cents for USD), or raise NotMoney.

    Digits beyond the minor unit are refused unless they are zeros; nothing is ever rounded.
    """
    amount = parse_decimal(value)
    digits = minor_digits(currency)
    scaled = amount.scaleb(digits, context=_EXACT)
    if scaled != scaled.to_integral_value():
        raise NotMoney(f"{amount:f} has more than {digits} decimal digits, which {currency} does not have")
    minor = int(scaled)
    if abs(minor) > MAX_MINOR:
        raise NotMoney(
            f"{amount:f} is beyond any bill (more than {from_minor(MAX_MINOR, currency)} {currency})"
        )
    return minor


def from_minor(minor: int, currency: str) -> Decimal:
    """Return minor units as a Decimal with exactly the currency's digits."""
    return Decimal(minor).scaleb(-minor_digits(currency))


def decimal_text(minor: int, currency: str) -> str:
    """Return minor units as a plain decimal string, such as "-1234.50"."""
    return format(from_minor(minor, currency), "f")


def display(minor: int, currency: str) -> str:
    """Return minor units as people read them, such as "-1,234.50 USD"."""
    return f"{from_minor(minor, currency):,f} {currency}"


def type_in_words(value: object) -> str:
    """Name a JSON value's type as a registrar would."""
    words = {type(None): "nothing", bool: "true or false", list: "a list", dict: "an object", str: "a text"}
    return words.get(type(value), "a number")
