"""Money is exact: what is accepted is what was written, and everything else is refused with a reason."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from registration.money import (
    MAX_MINOR,
    NotMoney,
    decimal_text,
    display,
    from_minor,
    minor_digits,
    parse_decimal,
    to_minor,
    type_in_words,
)

currencies = st.sampled_from(["USD", "EUR", "JPY", "KWD", "CLF", "XYZ"])
minors = st.integers(-MAX_MINOR, MAX_MINOR)


@settings(deadline=None)
@given(minors, currencies)
@example(-1, "USD")
@example(0, "JPY")
@example(MAX_MINOR, "CLF")
def test_minor_units_survive_every_form_that_they_are_written_in(minor: int, currency: str) -> None:
    text, amount = decimal_text(minor, currency), from_minor(minor, currency)
    assert to_minor(text, currency) == minor
    assert to_minor(amount, currency) == minor
    assert Decimal(text) == amount
    assert -amount.as_tuple().exponent == minor_digits(currency)  # type: ignore[operator]


@settings(deadline=None)
@given(minors)
def test_a_float_is_read_by_its_shortest_form_and_so_as_what_the_sender_wrote(minor: int) -> None:
    sent = float(decimal_text(minor, "USD"))
    assert to_minor(sent, "USD") == minor


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e9, max_value=1e9))
@example(100.1)
@example(0.1 + 0.2)
@example(1e-07)
def test_a_float_is_exactly_its_shortest_form_or_refused(value: float) -> None:
    try:
        minor = to_minor(value, "USD")
    except NotMoney:
        assert "e" in repr(value) or Decimal(repr(value)) * 100 % 1 != 0
    else:
        assert Decimal(minor) == Decimal(repr(value)) * 100


@settings(deadline=None)
@given(st.integers(0, 10**9), st.text("0123456789", min_size=3, max_size=34))
@example(1, "0" * 34 + "1")
@example(100_000, "0" * 30 + "1")
@example(0, "994999999999999999999999999999999")
@example(1, "100000")
def test_digits_beyond_the_minor_unit_are_refused_unless_they_are_zeros(whole: int, digits: str) -> None:
    text = f"{whole}.{digits}"[:40]
    cents, beyond = text.partition(".")[2][:2], text.partition(".")[2][2:]
    if beyond.strip("0"):
        with pytest.raises(NotMoney, match="more than 2 decimal digits"):
            to_minor(text, "USD")
    else:
        assert to_minor(text, "USD") == whole * 100 + int(cents)


@pytest.mark.parametrize(
    ("value", "currency", "minor"),
    [
        ("1234.50", "USD", 123_450),
        ("1234.5", "USD", 123_450),
        ("1234", "USD", 123_400),
        (1234, "USD", 123_400),
        (1234.5, "USD", 123_450),
        (Decimal("1234.5"), "USD", 123_450),
        ("+5", "USD", 500),
        ("-0.01", "USD", -1),
        ("-0", "USD", 0),
        (-0.0, "USD", 0),
        ("007.10", "USD", 710),
        (100.1, "USD", 10_010),
        (0.29, "USD", 29),
        (1.15, "USD", 115),
        (Decimal("1E+3"), "USD", 100_000),
        ("500", "JPY", 500),
        ("500.00", "JPY", 500),
        ("1.234", "KWD", 1_234),
        ("0.0001", "CLF", 1),
        ("10000000000.00", "USD", MAX_MINOR),
    ],
)
def test_an_amount_is_read_in_its_currency(value: object, currency: str, minor: int) -> None:
    read = to_minor(value, currency)
    assert (type(read), read) == (int, minor)


@pytest.mark.parametrize(
    "value",
    [
        *("", " ", "abc", "1,234.50", "1.234,50", "1 234", " 1", "1 ", "1\n", "$1", "1 USD", "1_000", "(5)"),
        *(
            "1e3",
            "1E3",
            "1e-2",
            "0x10",
            ".5",
            "5.",
            "-",
            "+",
            "--1",
            "+-1",
            "1.2.3",
            "\uff11",
            "\u0661",
            "1\x00",
        ),
        *("NaN", "nan", "Infinity", "-Infinity", "inf", "sNaN"),
        *(math.nan, math.inf, -math.inf, 1e22, 1e-7, 5e-324, 1.7976931348623157e308),
        *(Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), Decimal("-Infinity")),
        *(True, False, None, [], ["1"], {}, {"amount": 1}, b"1", 1j, (1,)),
    ],
    ids=repr,
)
def test_what_is_no_plain_decimal_is_refused(value: object) -> None:
    for read in (parse_decimal, lambda given: to_minor(given, "USD")):
        with pytest.raises(NotMoney):
            read(value)


@pytest.mark.parametrize(
    ("value", "currency"),
    [
        ("10000000000.01", "USD"),
        ("-10000000000.01", "USD"),
        (10**12 + 1, "JPY"),
        ("9" * 40, "USD"),
        (10**38, "USD"),
        (Decimal("1E+30"), "USD"),
    ],
)
def test_an_amount_beyond_any_bill_is_refused(value: object, currency: str) -> None:
    with pytest.raises(NotMoney, match="beyond any bill"):
        to_minor(value, currency)


@pytest.mark.parametrize(
    "value",
    [
        "9" * 41,
        "0" * 10_000_000,
        10**40,
        -(10**40),
        10**10_000,
        Decimal("1E+999999"),
        Decimal("1E-999999"),
        Decimal("0E-999999"),
        "0." + "0" * 39,
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_number_that_is_too_long_is_refused_before_it_costs_anything(value: object) -> None:
    with pytest.raises(NotMoney, match="too many digits"):
        to_minor(value, "USD")


@settings(deadline=None)
@given(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.decimals(),
        st.text(max_size=50),
        st.text("0123456789.+-eE_, ", max_size=45),
        st.lists(st.integers(), max_size=2),
    ),
    currencies,
)
def test_whatever_comes_is_an_amount_or_is_refused_in_words(value: Any, currency: str) -> None:
    try:
        minor = to_minor(value, currency)
    except NotMoney as refusal:
        assert str(refusal)  # noqa: PT017 - either way is right; which one is for the tests above to say
    else:
        assert abs(minor) <= MAX_MINOR
        assert from_minor(minor, currency) == Decimal(repr(value) if isinstance(value, float) else value)


@pytest.mark.parametrize(
    ("minor", "currency", "plain", "read"),
    [
        (123_450, "USD", "1234.50", "1,234.50 USD"),
        (-123_450, "USD", "-1234.50", "-1,234.50 USD"),
        (5, "USD", "0.05", "0.05 USD"),
        (0, "USD", "0.00", "0.00 USD"),
        (123_450, "JPY", "123450", "123,450 JPY"),
        (0, "JPY", "0", "0 JPY"),
        (1, "KWD", "0.001", "0.001 KWD"),
        (10**18, "USD", "10000000000000000.00", "10,000,000,000,000,000.00 USD"),
    ],
)
def test_an_amount_is_written_plainly_for_programs_and_grouped_for_people(
    minor: int, currency: str, plain: str, read: str
) -> None:
    assert decimal_text(minor, currency) == plain
    assert display(minor, currency) == read


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "nothing"),
        (True, "true or false"),
        ([], "a list"),
        ({}, "an object"),
        ("x", "a text"),
        (1, "a number"),
    ],
)
def test_a_refusal_names_what_came_as_a_registrar_would(value: object, words: str) -> None:
    assert type_in_words(value) == words
