"""Every way to cut a feed into pages, over real HTTP, and every way in which pages lie."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from integrations.connectors.loops import Trail
from integrations.models import Connection, RunPage, SyncRun
from integrations.sync.verification import verify_ledger
from integrations.transports.errors import NotUnderstood
from registration.models import LedgerEntry
from tests.integrations.conftest import Load, Sync
from tests.integrations.feed import Feed, award

pytestmark = pytest.mark.any_database  # pages are read before any table

PAGINATIONS: dict[str, dict[str, Any]] = {
    "none": {"type": "none"},
    "page": {"type": "page", "page_param": "page"},
    "page with total": {"type": "page", "page_param": "page", "total": "total"},
    "page with size": {"type": "page", "page_param": "page", "size_param": "limit", "size": 3},
    "offset": {"type": "offset", "offset_param": "offset"},
    "offset with total": {"type": "offset", "total": "total"},
    "offset with size": {"type": "offset", "size_param": "limit", "size": 3},
    "cursor": {"type": "cursor", "cursor_param": "cursor", "cursor": "cursor"},
    "cursor with total": {"type": "cursor", "cursor": "cursor", "total": "total"},
    "next_url": {"type": "next_url", "next": "next"},
    "next_url with total": {"type": "next_url", "next": "next", "total": "total"},
    "link_header": {"type": "link_header"},
    "link_header with total": {"type": "link_header", "total": "total"},
}


@pytest.fixture
def paginate(load: Load, feed: Feed) -> Any:
    def by(pagination: dict[str, Any], **changes: Any) -> Connection:
        return load(datasets={"aid_awards": feed.dataset(pagination=pagination)}, **changes)

    return by


def respond(feed: Feed, *pages: dict[str, Any]) -> None:
    """Serve these pages in turn, whatever is asked for; then empty ones."""
    remaining = iter(pages)

    def answer(request: Request) -> Response:
        page = next(remaining, {"data": [], "total": 0})
        links = {"Link": f"<{page['next']}>; rel=next"} if isinstance(page.get("next"), str) else {}
        return Response(json.dumps(page), headers=links)

    feed.answer = answer


def assert_failed(run: SyncRun, *words: str) -> None:
    """The run failed with these words, in a way that was foreseen, and has changed nothing."""
    assert run.status == "failed"
    for word in words:
        assert word in run.reason
    assert "unexpectedly" not in run.reason
    assert not run.changes.exists()
    assert not RunPage.objects.filter(run=run).exists()


# --- every pagination -------------------------------------------------------------------------------------


@pytest.mark.parametrize("pagination", PAGINATIONS.values(), ids=PAGINATIONS.keys())
def test_every_pagination_reads_the_whole_feed_and_nothing_twice(
    feed: Feed, paginate: Any, sync: Sync, pagination: dict[str, Any]
) -> None:
    paginate(pagination)
    feed.awards = [award(number) for number in range(1, 11)]
    feed.page_size = 100 if pagination["type"] == "none" else 3
    for expected in ({"created": 10}, {"unchanged": 10}):
        run = sync()
        assert (run.status, run.read, run.copies, run.rejected) == ("applied", 10, 0, 0), run.reason
        assert {name: getattr(run, name) for name in expected} == expected
    assert LedgerEntry.objects.live().count() == 10
    feed.awards = feed.awards[:9]
    assert sync().absent == 1


@pytest.mark.parametrize("pagination", PAGINATIONS.values(), ids=PAGINATIONS.keys())
@pytest.mark.parametrize("records", [0, 1, 3, 6])
def test_a_feed_that_fills_its_pages_exactly_is_read_whole(
    feed: Feed, paginate: Any, sync: Sync, pagination: dict[str, Any], records: int
) -> None:
    paginate(pagination)
    feed.awards = [award(number) for number in range(1, records + 1)]
    feed.page_size = 100 if pagination["type"] == "none" else 3
    run = sync()
    assert (run.status, run.created) == ("applied", records), run.reason


def test_page_parameters_are_sent_as_declared(feed: Feed, paginate: Any, sync: Sync) -> None:
    paginate({"type": "page", "page_param": "p", "size_param": "limit", "size": 7, "first": 0})
    feed.answer = lambda request: Response(
        json.dumps({"data": [award(int(request.args["p"]) + 1)] if request.args["p"] < "2" else []})
    )
    assert sync().created == 2
    assert [request.args["p"] for request in feed.requests] == ["0", "1", "2"]
    assert {request.args["limit"] for request in feed.requests} == {"7"}


def test_the_next_offset_is_what_has_come_so_far(feed: Feed, paginate: Any, sync: Sync) -> None:
    paginate({"type": "offset", "offset_param": "from", "size_param": "count", "size": 50})
    # A server that caps the size at two, though fifty were asked for.
    feed.answer = lambda request: Response(
        json.dumps(
            {"data": [award(n + 1) for n in range(int(request.args["from"]), 5)][:2]},
        )
    )
    assert sync().created == 5
    assert [request.args["from"] for request in feed.requests] == ["0", "2", "4", "5"]
    assert {request.args["count"] for request in feed.requests} == {"50"}


def test_an_absence_by_offsets_needs_a_second_look_as_by_page_numbers(
    feed: Feed, paginate: Any, sync: Sync
) -> None:
    paginate(PAGINATIONS["offset with total"])
    feed.awards, feed.page_size = [award(1), award(2), award(3)], 2
    sync()
    feed.awards = feed.awards[:2]
    asked = len(feed.requests)
    assert sync().absent == 1
    assert len(feed.requests) == asked + 2  # the feed's one page, and once more


def test_the_first_cursor_is_none_and_a_number_is_a_cursor_too(feed: Feed, paginate: Any, sync: Sync) -> None:
    paginate({"type": "cursor", "cursor_param": "after", "cursor": "page.after"})
    respond(
        feed,
        {"data": [award(1)], "page": {"after": 0}},
        {"data": [award(2)], "page": {"after": "a b&c=ü"}},
        {"data": [award(3)], "page": {"after": ""}},
    )
    assert sync().created == 3
    assert [request.args.get("after") for request in feed.requests] == [None, "0", "a b&c=ü"]


def test_a_short_or_empty_page_in_the_middle_is_not_the_end_where_a_cursor_follows(
    feed: Feed, paginate: Any, sync: Sync
) -> None:
    paginate(PAGINATIONS["cursor"])
    respond(
        feed,
        {"data": [award(1)], "cursor": "b"},
        {"data": [], "cursor": "c"},
        {"data": [award(2)], "cursor": None},
    )
    assert sync().created == 2


def test_a_short_page_is_not_the_end_of_numbered_pages(feed: Feed, paginate: Any, sync: Sync) -> None:
    paginate(PAGINATIONS["page with size"])
    respond(feed, {"data": [award(1)]}, {"data": [award(2), award(3)]}, {"data": [award(4)]})
    assert sync().created == 4


@pytest.mark.parametrize("address", ["?cursor=3", "/awards?cursor=3", "awards?cursor=3"])
def test_a_next_address_may_be_relative(feed: Feed, paginate: Any, sync: Sync, address: str) -> None:
    paginate(PAGINATIONS["next_url"])
    respond(feed, {"data": [award(1)], "next": address}, {"data": [award(2)]})
    assert sync().created == 2
    assert feed.requests[-1].full_path == "/awards?cursor=3"


# --- totals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["page", "cursor", "next_url", "none"])
@pytest.mark.parametrize("total", [3, "3", 1, 0])
def test_a_total_that_the_records_do_not_come_to_fails_the_run(
    feed: Feed, paginate: Any, sync: Sync, kind: str, total: object
) -> None:
    feed.awards = [award(1), award(2)]
    sync()
    extra = {"cursor": {"cursor": "cursor"}, "next_url": {"next": "next"}}.get(kind, {})
    paginate({"type": kind, "total": "total", **extra})
    respond(feed, {"data": [award(1), award(2)], "total": total}, {"data": [], "total": total})
    run = sync()
    assert_failed(run, f"announced {total} records and 2 came")
    assert LedgerEntry.objects.live().count() == 2


@pytest.mark.parametrize("total", [None, "many", 2.0, True, -1, [2], "-2", "²"])
def test_a_total_that_is_no_number_fails_the_run(
    feed: Feed, paginate: Any, sync: Sync, total: object
) -> None:
    paginate({"type": "none", "total": "total"})
    respond(feed, {"data": [award(1), award(2)], "total": total})
    assert_failed(sync(), "total" if total != -1 else "announced -1")


# --- going round in circles -------------------------------------------------------------------------------


def test_a_server_that_ignores_the_page_number_fails_the_run(feed: Feed, paginate: Any, sync: Sync) -> None:
    paginate(PAGINATIONS["page"])
    feed.answer = lambda _: Response(json.dumps({"data": [award(1)]}))
    assert_failed(sync(), "page 2 is the same as the page before it", "paging")
    assert len(feed.requests) == 2


def test_a_server_that_ignores_the_page_number_is_seen_through_though_it_dates_its_answers(
    feed: Feed, paginate: Any, sync: Sync
) -> None:
    paginate(PAGINATIONS["page"])
    moments = count()

    def answer(request: Request) -> Response:
        moment = next(moments)
        assert moment < 5, "it has been asked for the same page again and again"
        return Response(json.dumps({"data": [award(1)], "answered_at": moment}))

    feed.answer = answer
    assert_failed(sync(), "page 2 is the same as the page before it")


@pytest.mark.parametrize("loop", [["a", "a"], ["a", "b", "a"], ["a", "b", "c", "b"]])
@pytest.mark.parametrize("kind", ["cursor", "next_url", "link_header"])
def test_pages_that_lead_back_fail_the_run(
    feed: Feed, paginate: Any, sync: Sync, loop: list[str], kind: str
) -> None:
    paginate(PAGINATIONS[kind])
    feed.awards = []
    respond(
        feed,
        *(
            {"data": [award(place)], "cursor": token, "next": f"?cursor={token}"}
            for place, token in enumerate(loop, start=1)
        ),
    )
    assert_failed(sync(), f"page {len(loop)} leads back to a page that was read already")


@pytest.mark.parametrize("cursor", [["a"], {"a": 1}, 1.5, True])
def test_a_cursor_that_is_none_fails_the_run(feed: Feed, paginate: Any, sync: Sync, cursor: object) -> None:
    paginate(PAGINATIONS["cursor"])
    respond(feed, {"data": [award(1)], "cursor": cursor})
    assert_failed(sync(), "cursor")


@pytest.mark.parametrize("kind", ["page", "offset"])
def test_two_pages_that_alternate_for_ever_are_noticed_at_the_third(
    feed: Feed, paginate: Any, sync: Sync, kind: str
) -> None:
    paginate({"type": kind})
    turns = count()

    def answer(request: Request) -> Response:
        turn = next(turns)
        return Response(json.dumps({"data": [award(1 + turn % 2)], "answered_at": turn}))

    feed.answer = answer
    assert_failed(sync(), "page 3 is the same as page 1", "paging")
    assert len(feed.requests) == 3


def test_an_offset_feed_that_returns_its_first_page_for_ever_fails_the_run(
    feed: Feed, paginate: Any, sync: Sync
) -> None:
    paginate(PAGINATIONS["offset"])
    feed.answer = lambda _: Response(json.dumps({"data": [award(1), award(2)]}))
    assert_failed(sync(), "page 2 is the same as the page before it")
    assert len(feed.requests) == 2


@pytest.mark.parametrize("kind", ["cursor", "next_url", "link_header"])
def test_a_page_that_comes_again_under_new_cursors_fails_the_run(
    feed: Feed, paginate: Any, sync: Sync, kind: str
) -> None:
    paginate(PAGINATIONS[kind])
    turns = count(1)

    def answer(request: Request) -> Response:
        address = f"?cursor={next(turns)}"
        page = {"data": [award(1), award(2)], "cursor": address, "next": address}
        return Response(json.dumps(page), headers={"Link": f'<{address}>; rel="next"'})

    feed.answer = answer
    assert_failed(sync(), "page 2 is the same as the page before it")
    assert len(feed.requests) == 2


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_a_loop_is_noticed_at_the_first_page_that_comes_again(pages: list[int]) -> None:
    trail, seen = Trail(), set[int]()
    for number, page in enumerate(pages, start=1):
        if page in seen:
            with pytest.raises(NotUnderstood, match=f"page {number} is the same as"):
                trail.follow(number, [{"id": page}], str(number))
            return
        trail.follow(number, [{"id": page}], str(number))
        seen.add(page)


def test_a_page_is_told_from_another_one_by_where_its_records_end() -> None:
    trail = Trail()
    trail.follow(1, [1, 23], "")
    trail.follow(2, [12, 3], "")
    trail.follow(3, [123], "")


# --- next addresses ---------------------------------------------------------------------------------------


def test_a_next_address_at_another_origin_is_refused_and_sees_no_credential(
    feed: Feed, paginate: Any, sync: Sync
) -> None:
    paginate(PAGINATIONS["next_url"])
    with HTTPServer(host="127.0.0.1") as other:
        other.expect_request("/awards").respond_with_json({"data": []})
        respond(feed, {"data": [award(1)], "next": other.url_for("/awards")})
        assert_failed(sync(), "the next page lies at another address", "credentials are never sent elsewhere")
        assert other.log == []


@pytest.mark.parametrize(
    "address",
    [
        "//evil.example/awards",
        "https://{host}/awards",
        "http://{host}.evil.example/awards",
        "http://{host}@evil.example/awards",
        "http://{host}\\@evil.example/awards",
        "ftp://{host}/awards",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http://[::1/awards",
        "http://{hostname}:99999/awards",
        "http://{hostname}:x/awards",
        "\thttp://evil.example/",
    ],
)
def test_no_spelling_of_an_address_leads_elsewhere(
    feed: Feed, paginate: Any, sync: Sync, address: str
) -> None:
    paginate(PAGINATIONS["next_url"])
    host = feed.base_url.removeprefix("http://")
    respond(feed, {"data": [award(1)], "next": address.format(host=host, hostname=host.partition(":")[0])})
    assert_failed(sync(), "next page")
    assert len(feed.requests) == 1


@pytest.mark.parametrize("address", [5, ["x"], True, {"href": "?cursor=1"}])
def test_a_next_address_that_is_no_text_fails_the_run(
    feed: Feed, paginate: Any, sync: Sync, address: object
) -> None:
    paginate(PAGINATIONS["next_url"])
    respond(feed, {"data": [award(1)], "next": address})
    assert_failed(sync(), "next")


def test_a_secret_that_the_next_address_repeats_is_sent_again_and_never_stored(
    feed: Feed, paginate: Any, load: Load, sync: Sync
) -> None:
    load(
        auth={"type": "api_key", "in": "query", "name": "key", "key": "THE-KEY"},
        datasets={
            "aid_awards": feed.dataset(pagination=PAGINATIONS["next_url"], params={"office": "THE-OFFICE"})
        },
    )
    feed.answer = lambda request: Response(
        json.dumps({"data": [award(len(feed.requests))]})
        if "cursor" in request.args
        else json.dumps({"data": [award(9)], "next": f"{request.url}&cursor=2"})
    )
    run = sync()
    assert (run.status, run.created) == ("applied", 2), run.reason
    for request in feed.requests:
        assert (request.args.getlist("key"), request.args.getlist("office")) == (["THE-KEY"], ["THE-OFFICE"])
    stored = list(RunPage.objects.filter(run=run).order_by("number").values_list("next", flat=True))
    assert len(stored) == 2
    assert "cursor=2" in stored[0]
    assert not any("THE-" in address for address in stored)


def test_the_next_address_keeps_what_it_says_byte_for_byte(feed: Feed, paginate: Any, sync: Sync) -> None:
    paginate(PAGINATIONS["next_url"])
    respond(
        feed,
        {"data": [award(1)], "next": "/awards?signature=a%2Bb%3D%3D&flag=&q=a%20b&at=1"},
        {"data": [award(2)]},
    )
    assert sync().created == 2
    assert feed.requests[-1].args.to_dict() == {"signature": "a+b==", "flag": "", "q": "a b", "at": "1"}


# --- Link headers -----------------------------------------------------------------------------------------


def linked(feed: Feed, *headers: str) -> None:
    """Serve one record a page, each with the next of these Link headers; after the last of them, none."""
    remaining, numbers = iter(headers), count(1)

    def answer(request: Request) -> Response:
        header = next(remaining, "")
        return Response(
            json.dumps({"data": [award(next(numbers))]}), headers={"Link": header} if header else {}
        )

    feed.answer = answer


def test_the_link_of_relation_next_is_followed_among_others(feed: Feed, paginate: Any, sync: Sync) -> None:
    paginate(PAGINATIONS["link_header"])
    linked(
        feed,
        '</awards?at=0>; rel="first", </awards?at=1,5;x>; title="one, or; \\"two\\""; rel="last Next"',
        '<?at=2>; REL=next; type="text/plain", <?at=3>; rel=prev',
        '</awards?at=0>; rel=first, </other>; rel=next; anchor="/elsewhere"',
    )
    run = sync()
    assert (run.status, run.created) == ("applied", 3), run.reason
    assert [request.args.get("at") for request in feed.requests] == [None, "1,5;x", "2"]


def test_several_link_headers_are_one_list(feed: Feed, paginate: Any, sync: Sync) -> None:
    paginate(PAGINATIONS["link_header"])
    pages = count(1)

    def answer(request: Request) -> Response:
        number = next(pages)
        response = Response(json.dumps({"data": [award(number)]}))
        response.headers.add("Link", "</awards?p=0>; rel=first")
        if number == 1:
            response.headers.add("Link", "</awards?p=2>; rel=next")
        return response

    feed.answer = answer
    assert sync().created == 2


def test_a_relative_target_is_relative_to_the_page_that_names_it(
    feed: Feed, paginate: Any, sync: Sync
) -> None:
    paginate(PAGINATIONS["link_header"])
    feed.server.expect_request("/awards/more/2").respond_with_json(
        {"data": [award(2)]}, headers={"Link": "<3#top>; rel=next"}
    )
    feed.server.expect_request("/awards/more/3").respond_with_json({"data": [award(3)]})
    linked(feed, "<awards/more/2>; rel=next")
    run = sync()
    assert (run.status, run.created) == ("applied", 3), run.reason


def test_a_link_to_another_origin_is_refused_and_sees_no_credential(
    feed: Feed, paginate: Any, sync: Sync
) -> None:
    paginate(PAGINATIONS["link_header"])
    with HTTPServer(host="127.0.0.1") as other:
        linked(feed, f'<{other.url_for("/awards")}>; rel="next"')
        assert_failed(sync(), "the next page lies at another address", "credentials are never sent elsewhere")
        assert other.log == []


@pytest.mark.parametrize(
    "header", ['<?a>; rel="next', "?a; rel=next", "<?a>; rel=next extra", "<?a b>; rel=next"]
)
def test_a_link_header_that_is_none_fails_the_run(feed: Feed, paginate: Any, sync: Sync, header: str) -> None:
    paginate(PAGINATIONS["link_header"])
    linked(feed, header)
    assert_failed(sync(), "Link header cannot be read")


def test_a_feed_with_two_next_pages_fails_the_run(feed: Feed, paginate: Any, sync: Sync) -> None:
    paginate(PAGINATIONS["link_header"])
    linked(feed, "<?a>; rel=next, <?b>; rel=next")
    assert_failed(sync(), "names several next pages")


# --- what a page holds ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", ['{"data": null}', '{"data": {}}', '{"items": []}', "{}", "null", "7", '"x"']
)
def test_an_answer_without_a_list_of_records_fails_the_run_and_voids_nothing(
    feed: Feed, sync: Sync, body: str
) -> None:
    feed.awards = [award(1)]
    sync()
    feed.raw = body.encode()
    assert_failed(sync(), "the answer has no list of records at 'data'")
    assert LedgerEntry.objects.live().count() == 1


def test_records_may_be_the_answer_itself(feed: Feed, load: Load, sync: Sync) -> None:
    dataset = feed.dataset(pagination={"type": "none"})
    del dataset["records"]
    load(datasets={"aid_awards": dataset})
    feed.raw = json.dumps([award(1)]).encode()
    assert sync().created == 1


def test_a_failure_on_a_later_page_applies_nothing_of_the_earlier_ones(
    feed: Feed, paginate: Any, sync: Sync
) -> None:
    paginate(PAGINATIONS["cursor"])
    feed.awards = [award(1), award(2)]
    feed.page_size = 1
    sync()
    respond(feed, {"data": [award(1, amount="1.00")], "cursor": "x"}, {"oops": True})
    assert_failed(sync(), "Reading page 2 of aid_awards from Financial aid office failed")
    assert set(LedgerEntry.objects.values_list("state", "amount_minor")) == {("posted", 10_000)}
    assert verify_ledger().faults == []
