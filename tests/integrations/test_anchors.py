"""Offsets that lose nothing: whatever comes and goes while a table is read, each row that stays is given once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.connectors.anchors import read_on
from integrations.transports.errors import NotUnderstood

SIZE = 5


def page(numbers: list[int], token: str, size: int = SIZE) -> list[dict[str, Any]]:
    """What a table with these numbers answers to whoever asks for the page that a token names."""
    start = int(token.partition("@")[0] or 0)
    return [{"ID": number} for number in sorted(numbers)[start : start + size]]


def numbers_of(rows: list[dict[str, Any]]) -> list[int]:
    return [row["ID"] for row in rows]


@given(
    st.integers(0, 40),
    st.lists(st.tuples(st.sets(st.integers(0, 39), max_size=6), st.integers(1, 399)), max_size=30),
)
def test_each_row_that_stays_is_given_once_whatever_comes_and_goes(
    count: int, happens: list[tuple[set[int], int]]
) -> None:
    table = {number * 10 for number in range(count)}
    stayed, given_rows, token, events = set(table), list[int](), "", iter(happens)
    for _ in range(500):
        rows, token = read_on(token, page(sorted(table), token), "ID", SIZE)
        given_rows += numbers_of(rows)
        if not token:
            break
        # Between two pages any number of rows goes, and one comes, wherever that is.
        gone, comes = next(events, (set(), 0))
        stayed -= {number * 10 for number in gone}
        table = (table - {number * 10 for number in gone}) | {comes} - {0}
    assert token == "", "the reading does not end"
    assert len(given_rows) == len(set(given_rows))
    assert stayed <= set(given_rows)


def test_a_deleted_row_that_plain_offsets_would_pay_for_with_another_is_noticed() -> None:
    table = list(range(10, 20))
    rows, token = read_on("", page(table, ""), "ID", SIZE)
    assert (numbers_of(rows), token) == ([10, 11, 12, 13, 14], "4@14")
    table.remove(12)
    # The page begins with 15: whether another row lay before it, nobody knows.
    rows, token = read_on(token, page(table, token), "ID", SIZE)
    assert (rows, token) == ([], "2@14")
    rows, token = read_on(token, page(table, token), "ID", SIZE)
    assert numbers_of(rows) == [15, 16, 17]


def test_a_row_whose_number_cannot_be_read_is_given_and_moves_nothing() -> None:
    rows: list[Any] = [{"ID": 1}, {"ID": {"unexpected": 2}}, "no row", {"ID": True}, {"ID": 3}]
    assert read_on("", rows, "ID", SIZE) == (rows, "4@3")
    assert read_on("4@3", [{"ID": 3}, {"ID": None}], "ID", SIZE) == ([{"ID": None}], "")


@pytest.mark.parametrize(
    ("token", "numbers", "words"),
    [
        ("", [1, 3, 2], "not in the order of ID"),
        ("4@5", [1, 2, 3, 4, 5], "no row behind the last one"),
    ],
    ids=["out of order", "the first page again"],
)
def test_pages_that_prove_nothing_end_the_reading(token: str, numbers: list[int], words: str) -> None:
    with pytest.raises(NotUnderstood, match=words):
        read_on(token, [{"ID": number} for number in numbers], "ID", SIZE)
