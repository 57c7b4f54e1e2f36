"""Lists: each row once whatever page it is on, and a parameter that is wrong is named."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from django.conf import settings

from registration.api.lists.query import known_parameters
from registration.api.sections import SECTIONS
from registration.models import Section, Term

pytestmark = pytest.mark.django_db

URL = "/api/v1/sections/"


def local(address: str) -> str:
    """An address of this installation as the tests' client takes it."""
    assert address.startswith(f"{settings.BASE_URL}/api/v1/")
    return address.removeprefix(settings.BASE_URL)


def walk(read: Any, address: str | None, direction: str = "next") -> list[list[dict[str, Any]]]:
    """The pages from an address on."""
    pages = []
    while address:
        body = read(address).json()
        pages.append(body["results"])
        address = body[direction] and local(body[direction])
    return pages


@pytest.mark.parametrize("ordering", ["id", "-id"])
@pytest.mark.parametrize("size", [1, 7, 24, 25, 26])
def test_pages_forward_and_back_have_each_row_once(
    read: Any, catalogue: tuple[Term, Term], ordering: str, size: int
) -> None:
    wanted = list(Section.objects.order_by(ordering).values_list("id", flat=True))
    pages = walk(read, f"{URL}?ordering={ordering}&page_size={size}&fields=id")
    assert [row["id"] for page in pages for row in page] == wanted
    assert {len(page) for page in pages[:-1]} <= {size}
    last = f"{URL}?ordering={ordering}&page_size={size}&fields=id"
    while following := read(last).json()["next"]:
        last = local(following)
    back = walk(read, last, "previous")
    assert back == pages[::-1]


def test_a_page_goes_on_behind_its_last_row_whatever_comes_before(
    read: Any, catalogue: tuple[Term, Term]
) -> None:
    first = read(f"{URL}?page_size=5&fields=id").json()
    Section.objects.create(
        term=catalogue[0], course_id=Section.objects.all()[0].course_id, crn="1", capacity=1
    )
    Section.objects.filter(crn="20001").delete()
    second = read(local(first["next"])).json()
    assert not {row["id"] for row in first["results"]} & {row["id"] for row in second["results"]}
    assert second["results"][0]["id"] == first["results"][-1]["id"] + 1


def test_filters_search_and_fields(read: Any, catalogue: tuple[Term, Term]) -> None:
    def crns(question: str) -> list[str]:
        return [row["crn"] for row in read(f"{URL}?fields=crn&{question}").json()["results"]]

    assert crns("crn=20003") == ["20003"]
    assert len(crns("term=2026FA")) == 25
    assert crns("term=2027SP") == []
    assert crns("course=MATH%20103&page_size=2") == ["20002", "20007"]
    assert crns("search=mathematics+104") == ["20003", "20008", "20013", "20018", "20023"]
    assert crns("college=SCI&search=20003") == ["20003"]
    assert crns("search=%25") == []
    assert read(f"{URL}?fields=crn,id&page_size=1").json()["results"][0].keys() == {"id", "crn"}


@pytest.mark.parametrize(
    ("question", "name"),
    [
        ("sort=id", "sort"),
        ("format=json", "format"),
        ("page_size=0", "page_size"),
        ("page_size=10000", "page_size"),
        ("page_size=ten", "page_size"),
        ("page_size=1&page_size=2", "page_size"),
        ("cursor=", "cursor"),
        ("cursor=bm90IG9uZQ", "cursor"),
        ("cursor=%00", "cursor"),
        ("ordering=capacity", "ordering"),
        ("fields=id,secret", "fields"),
        ("search=", "search"),
        ("course_id=one", "course_id"),
        ("course_id=99999999999999999999", "course_id"),
        ("term=%00", "term"),
    ],
)
def test_a_parameter_that_is_wrong_is_named(
    read: Any, catalogue: tuple[Term, Term], question: str, name: str
) -> None:
    answer = read(f"{URL}?{question}")
    assert (answer.status_code, answer.headers["Content-Type"]) == (400, "application/problem+json")
    assert list(answer.json()["errors"]) == [name]


def test_an_unknown_parameter_is_told_the_known_ones(read: Any, catalogue: tuple[Term, Term]) -> None:
    (told,) = read(f"{URL}?sort=id").json()["errors"]["sort"]
    assert all(name in told for name in known_parameters(SECTIONS))


@pytest.mark.parametrize("day", ["2026-02-30", "26-01-01", "2026-1-1", "tomorrow", "2026-01-01T00:00:00Z"])
def test_a_day_that_is_none_is_refused(read: Any, catalogue: tuple[Term, Term], day: str) -> None:
    answer = read(f"/api/v1/terms/?starts_until={day}")
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["starts_until"])


def test_a_cursor_belongs_to_its_question(read: Any, catalogue: tuple[Term, Term]) -> None:
    cursor = read(f"{URL}?page_size=5").json()["next"].rpartition("cursor=")[2]
    assert read(f"{URL}?page_size=9&fields=id&cursor={cursor}").status_code == 200
    for other in (f"{URL}?ordering=-id&", f"{URL}?term=2026FA&", f"{URL}?search=math&", "/api/v1/courses/?"):
        answer = read(f"{other}cursor={cursor}")
        assert (answer.status_code, list(answer.json()["errors"])) == (400, ["cursor"])
    changed = ("B" if cursor[10] == "A" else "A").join([cursor[:10], cursor[11:]])
    assert read(f"{URL}?cursor={changed}").status_code == 400


def test_what_the_caller_has_already_is_not_sent_again(read: Any, catalogue: tuple[Term, Term]) -> None:
    first = read(URL)
    etag = first.headers["ETag"]
    for named in (etag, etag.removeprefix("W/"), f'"other", {etag}', "*"):
        again = read(URL, **{"If-None-Match": named})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", etag)
        assert "RateLimit" in again.headers
    Section.objects.filter(crn="20000").update(capacity=9)
    assert read(URL, **{"If-None-Match": etag}).status_code == 200


@pytest.mark.parametrize(
    ("accepted", "is_compressed"),
    [("gzip", True), ("br, gzip;q=0.5", True), ("*", True), ("gzip;q=0", False), ("br", False), ("", False)],
)
def test_who_takes_gzip_gets_it(
    read: Any, catalogue: tuple[Term, Term], accepted: str, *, is_compressed: bool
) -> None:
    plain, answer = read(URL).content, read(URL, **{"Accept-Encoding": accepted})
    assert (answer.headers.get("Content-Encoding") == "gzip") is is_compressed
    assert (gzip.decompress(answer.content) if is_compressed else answer.content) == plain
    assert "Accept-Encoding" in answer.headers["Vary"]


def test_text_is_safe_for_what_shows_it(read: Any, catalogue: tuple[Term, Term]) -> None:
    answer = read("/api/v1/courses/")
    assert answer.json()["results"][0]["college_name"] == "Science & <Letters>"
    assert not set(b"<>&") & set(answer.content)
    refused = read("/api/v1/courses/?<script>=1")
    assert refused.status_code == 400
    assert b"<" not in refused.content
