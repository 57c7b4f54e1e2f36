"""Absence counts only within what the extract was asked for, and for numbered pages only when confirmed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from integrations.models import Connection
from integrations.operations import save_connection
from tests.integrations.conftest import Sync
from tests.integrations.feed import Feed, award

Balance = Callable[[int], int]


def dataset(feed: Feed, **changes: Any) -> dict[str, Any]:
    """The feed's document with changes to its dataset."""
    document = feed.document()
    document["datasets"]["aid_awards"] |= changes
    return document


def test_a_year_filter_that_moves_on_leaves_last_years_aid(
    connection: Connection, feed: Feed, sync: Sync, balance: Balance
) -> None:
    save_connection(dataset(feed, params={"year": "2026"}))
    feed.awards = [award(1), award(2)]
    sync()
    save_connection(dataset(feed, params={"year": "2027"}))
    feed.awards = [award(2), award(3, term="2027SP")]
    run = sync()
    assert (run.created, run.voided) == (1, 0)
    assert [balance(number) for number in (1, 2, 3)] == [-10_000, -10_000, -10_000]
    # What this year's extract has brought belongs to it, also when it was the same as last year.
    feed.awards = []
    run = sync(approve=True)
    assert run.voided == 2
    assert [balance(number) for number in (1, 2, 3)] == [-10_000, 0, 0]


def test_the_same_filter_still_voids_what_is_gone(connection: Connection, feed: Feed, sync: Sync) -> None:
    save_connection(dataset(feed, params={"year": "2026"}))
    feed.awards = [award(1), award(2)]
    sync()
    feed.awards = [award(2)]
    assert sync().voided == 1


class Pages:
    """A feed of numbered pages with a script: what each page holds, extract by extract."""

    def __init__(self, server: HTTPServer, extracts: list[list[list[Any]]]) -> None:
        self.extracts, self.extract = extracts, -1
        server.expect_request("/scripted").respond_with_handler(self.answer)

    def answer(self, request: Request) -> Response:
        page = int(request.args["page"])
        if page == 1:
            self.extract += 1
        pages = self.extracts[min(self.extract, len(self.extracts) - 1)]
        records = pages[page - 1] if page <= len(pages) else []
        return Response(json.dumps({"data": records}), content_type="application/json")


@pytest.fixture
def scripted(
    connection: Connection, feed: Feed, httpserver: HTTPServer
) -> Callable[[list[list[list[Any]]]], Pages]:
    def serve(extracts: list[list[list[Any]]]) -> Pages:
        save_connection(dataset(feed, path="/scripted"))
        return Pages(httpserver, extracts)

    return serve


def test_a_record_that_slipped_between_pages_is_not_voided(
    scripted: Callable[..., Pages], sync: Sync, balance: Balance
) -> None:
    whole = [[award(1), award(2)], [award(3), award(4)]]
    # While page 1 had been read, 1 went; 3 moved onto page 1, where nobody looks again.
    slipped = [[award(1), award(2)], [award(4)]]
    confirmed = [[award(2), award(3)], [award(4)]]
    pages = scripted([whole, slipped, confirmed])
    sync()
    run = sync()
    assert pages.extract == 2
    assert (run.status, run.voided) == ("applied", 0)
    assert balance(3) == -10_000


def test_what_both_extracts_miss_is_voided(
    scripted: Callable[..., Pages], sync: Sync, balance: Balance
) -> None:
    scripted([[[award(1), award(2)]], [[award(1)]], [[award(1)]]])
    sync()
    run = sync()
    assert (run.voided, run.absent) == (1, 1)
    assert balance(2) == 0


def test_a_second_extract_without_readable_keys_confirms_nothing(
    scripted: Callable[..., Pages], sync: Sync, balance: Balance
) -> None:
    scripted([[[award(1), award(2)]], [[award(1)]], [[award(1), {"id": None}]]])
    sync()
    assert sync().voided == 0
    assert balance(2) == -10_000


def test_nothing_missing_is_read_once(scripted: Callable[..., Pages], sync: Sync) -> None:
    pages = scripted([[[award(1)]]])
    sync()
    sync()
    assert pages.extract == 1
