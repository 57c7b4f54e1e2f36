"""Which amounts are money: what is, arrives to the minor unit; what is not, is rejected while the rest goes on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from integrations.models.plan import MAX_RAW_BYTES
from registration.models import LedgerEntry
from tests.integrations.conftest import Balance, Sync
from tests.integrations.feed import Feed, award
from tests.refusals import rolled_back


def written(amount: str) -> str:
    """An award for student 1 whose amount stands in the feed exactly so."""
    return json.dumps(award(1, amount="HERE")).replace('"HERE"', amount)


@pytest.mark.parametrize(
    ("amount", "cents"),
    [
        ("100.1", 10_010),
        ("100", 10_000),
        ("0.1", 10),
        ("0.07", 7),
        ("-33.3", -3_330),
        ("1e2", 10_000),  # a double by the time anyone sees it, and its shortest decimal form is 100.0
        ('"100.10"', 10_010),
        ('"100.1000"', 10_010),
        ('"+5"', 500),
        ('"007.50"', 750),
        ("8589934591.77", 858_993_459_177),
        ('"9999999999.99"', 999_999_999_999),
    ],
)
def test_what_is_money_arrives_to_the_minor_unit(
    feed: Feed, sync: Sync, balance: Balance, amount: str, cents: int
) -> None:
    feed.write(written(amount))
    run = sync()
    assert (run.status, run.rejected) == ("applied", 0)
    assert balance(1) == -cents


NOT_MONEY = {
    "three decimals": "1.234",
    "three decimals as text": '"1.234"',
    "a fraction that no decimal is": "0.30000000000000004",
    "NaN": "NaN",
    "NaN as text": '"NaN"',
    "infinity": "-Infinity",
    "beyond a double": "1e9999",
    "an exponent": "1e22",
    "an exponent as text": '"1E+2"',
    "a decimal comma": '"12,5"',
    "a thousands separator": '"1,234.50"',
    "a currency sign": '"$5"',
    "blanks": '" 5 "',
    "a line break": '"5\\n"',
    "an underscore": '"1_000"',
    "digits of another script": '"١٢"',
    "nothing": "null",
    "an empty text": '""',
    "true": "true",
    "false": "false",
    "a list": "[1]",
    "an object": '{"value": 1}',
    "a NUL byte": '"1\\u00000"',
    "a broken surrogate": '"1\\ud800"',
    "a thousand digits": "9" * 1000,
    "ten thousand digits": "9" * 10_000,
    "a thousand digits as text": f'"{"9" * 1000}"',
    "a thousand digits after the point": f"0.{'3' * 1000}",
    "more than any bill": '"10000000000.01"',
    "less than any bill": "-99999999999",
    "deep nesting": "[" * 300 + "]" * 300,
}


@pytest.mark.parametrize("amount", NOT_MONEY.values(), ids=NOT_MONEY.keys())
def test_what_is_no_money_is_rejected_by_itself_and_the_rest_goes_on(
    feed: Feed, sync: Sync, balance: Balance, amount: str
) -> None:
    feed.write(json.dumps(award(2)), written(amount), json.dumps(award(3)))
    run = sync()
    assert (run.status, run.read, run.created, run.rejected) == ("applied", 3, 2, 1)
    rejection = run.rejections.get()
    assert (rejection.key, rejection.field) == ("A0001#1", "amount")
    assert (rejection.page, rejection.position) == (1, 2)
    assert rejection.reason.startswith("amount")
    assert len(rejection.reason) < 300
    assert rejection.raw_bytes >= len(bytes(rejection.raw))
    assert [balance(number) for number in (1, 2, 3)] == [0, -10_000, -10_000]


def test_everything_that_is_no_money_at_once_leaves_the_rest_alone(
    feed: Feed, sync: Sync, balance: Balance
) -> None:
    bad = [
        written(amount).replace("A0001", f"B{place:04d}") for place, amount in enumerate(NOT_MONEY.values())
    ]
    feed.write(*bad, json.dumps(award(2)))
    run = sync()
    assert (run.status, run.created, run.rejected) == ("applied", 1, len(NOT_MONEY))
    assert (balance(1), balance(2)) == (0, -10_000)


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "1e9999", "9" * 10_000])
def test_what_no_number_can_be_is_not_kept_as_nothing(feed: Feed, sync: Sync, amount: str) -> None:
    feed.write(written(amount))
    kept = sync().rejections.get().raw_text
    assert '"amount":null' not in kept
    assert "NaN" in kept or "Infinity" in kept


def test_broken_text_elsewhere_in_a_record_rejects_that_record_alone(
    feed: Feed, sync: Sync, balance: Balance
) -> None:
    texts: Sequence[tuple[str, Any]] = [
        ("fund", {"code": "PE\x00LL"}),
        ("fund", {"code": "PELL", "name": "\ud83d"}),
        ("fund", {"code": "PELL", "name": "two\nlines"}),
        ("student", {"number": "S0000001\x00"}),
        ("term", "2026FA\ud800"),
        ("state", "disbursed\x00"),
        ("paid_on", "2026-13-45"),
        ("paid_on", 10**30),
        ("updated_at", "\x00"),
    ]
    bad = [award(1, id=f"B{place}", **{name: value}) for place, (name, value) in enumerate(texts)]
    feed.awards = [*bad, award(2)]
    run = sync()
    assert (run.status, run.created, run.rejected) == ("applied", 1, len(bad))
    assert set(run.rejections.values_list("key", flat=True)) == {f"B{place}#1" for place in range(len(bad))}
    assert balance(2) == -10_000


def test_a_name_of_any_script_arrives_as_it_was_written(feed: Feed, sync: Sync) -> None:
    name = "Stipendium für Zoë \u2013 奨学金 😀 \\ \\n \\N 'quoted\" \u200f%s {0}"
    feed.awards = [award(1, fund={"code": "a\\tb", "name": name})]
    assert sync().created == 1
    entry = LedgerEntry.objects.get()
    assert (entry.code, entry.description) == ("a\\tb", name)


def test_a_rejected_record_is_kept_up_to_a_limit_and_says_how_long_it_was(feed: Feed, sync: Sync) -> None:
    feed.awards = [award(1, amount="ten", note="x" * 100_000)]
    rejection = sync().rejections.get()
    assert len(bytes(rejection.raw)) == MAX_RAW_BYTES
    assert rejection.raw_bytes > 100_000
    assert f"({rejection.raw_bytes} bytes in all)" in rejection.raw_text


def test_a_record_nested_deeper_than_any_fails_the_run_in_words_and_changes_nothing(
    feed: Feed, sync: Sync, balance: Balance
) -> None:
    feed.awards = [award(1)]
    sync()
    feed.write(written("[" * 1015 + "]" * 1015), json.dumps(award(2)))
    run = sync()
    assert run.status == "failed"
    assert "a record is nested deeper than any record is" in run.reason
    assert balance(1) == -10_000


amounts = st.decimals(Decimal("-9999999999.99"), Decimal("9999999999.99"), places=2) | st.decimals(
    Decimal(-10_000), Decimal(10_000), places=2
)


@examples(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(amounts, min_size=1, max_size=12), data=st.data())
def test_any_decimal_of_two_digits_survives_the_road_to_the_minor_unit(
    feed: Feed, sync: Sync, balance: Balance, values: list[Decimal], data: st.DataObject
) -> None:
    forms = {
        "text": lambda value: json.dumps(format(value, "f")),
        "number": lambda value: format(value, "f"),
        "shortest number": lambda value: format(value.normalize(), "f"),
        "text with zeros": lambda value: json.dumps(f"{value:f}000"),
    }
    chosen = [data.draw(st.sampled_from(sorted(forms))) for _ in values]
    with rolled_back():
        feed.write(
            *(
                written(forms[form](value)).replace("0001", f"{place:04d}")
                for place, (value, form) in enumerate(zip(values, chosen, strict=True), start=1)
            )
        )
        run = sync()
        assert (run.status, run.rejected) == ("applied", 0), run.reason
        assert [balance(place) for place in range(1, len(values) + 1)] == [
            int(-value * 100) for value in values
        ]
        assert run.certificate["sums"]["created"] == int(sum(values) * 100)
