"""Link headers, read as RFC 8288 writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.connectors.links import Link, next_target, parse_links
from integrations.transports.errors import NotUnderstood

TOKEN_CHARACTERS = "!#$%&'*+-.^_`|~0123456789ABCXYZabcxyz"  # RFC 9110 section 5.6.2
tokens = st.text(TOKEN_CHARACTERS, min_size=1, max_size=8)
targets = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="<>"), max_size=20)
texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12)
spaces = st.sampled_from(["", " ", "\t", "  "])


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@given(
    st.lists(st.tuples(targets, st.dictionaries(tokens.map(str.lower), texts, max_size=3)), max_size=4),
    spaces,
)
def test_what_is_written_by_the_grammar_is_read_back(
    links: list[tuple[str, dict[str, str]]], space: str
) -> None:
    header = f"{space},{space}".join(
        f"<{target}>"
        + "".join(f"{space};{space}{name}{space}={space}{quoted(text)}" for name, text in parameters.items())
        for target, parameters in links
    )
    assert parse_links(header) == [Link(target, parameters) for target, parameters in links]


@given(st.text('<>;,=\\" \tarel\x00ü', max_size=40))
def test_any_text_is_read_or_refused_and_never_breaks_the_reader(header: str) -> None:
    try:
        links = parse_links(header)
    except NotUnderstood:
        return
    assert len(links) == 0 or "<" in header


@pytest.mark.parametrize(
    ("header", "target"),
    [
        ("", ""),
        (" , ,", ""),
        ("<a>", ""),
        ("<a>; rel=next", "a"),
        ('<a>; rel="next"', "a"),
        ('<a>; rel="prev next"', "a"),
        ('<a>; rel="NEXT"', "a"),
        ("<a>; rel=nextish", ""),
        ('<a>; rel="prev"; rel="next"', ""),  # the first of a repeated parameter counts
        ('<a>; title="rel=next"', ""),
        ("<a>; rel=prev, <b>; rel=next", "b"),
        ("<a>;rel=next,<b>;rel=last", "a"),
        (',, <a,b;c>; rel="next" ,', "a,b;c"),
        ("<>; rel=next", ""),
        ('<a>; rel=next; anchor="#part"', ""),
        ("<a>; crossorigin; rel=next;", "a"),
        ("<a>; title*=UTF-8''n%C3%A4chste; rel=next", "a"),
        ("<a>; rel=next, <a>; rel=next", "a"),
    ],
)
def test_the_next_page_is_where_the_header_says(header: str, target: str) -> None:
    assert next_target(header) == target


@pytest.mark.parametrize(
    "header",
    [
        "a; rel=next",
        "<a; rel=next",
        '<a>; rel="next',
        "<a> rel=next",
        "<a>; rel=",
        "<a b>; rel=next",
        "<a>x",
        "next",
    ],
)
def test_what_is_no_link_header_is_refused(header: str) -> None:
    with pytest.raises(NotUnderstood, match="Link header cannot be read"):
        next_target(header)


def test_two_different_next_pages_are_refused() -> None:
    with pytest.raises(NotUnderstood, match="several next pages"):
        next_target("<a>; rel=next, <b>; rel=next")
