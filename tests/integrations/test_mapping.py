"""How a field of another system's record becomes a canonical value."""

from __future__ import annotations

import datetime
import json
from typing import Any

import jmespath
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from integrations.datasets.rejection import Rejected
from integrations.models import SyncLink
from integrations.operations import save_connection
from integrations.sync import mapping
from integrations.sync.mapping import CompiledMapping, Unmapped, mapping_version
from tests.integrations.conftest import Load, Sync
from tests.integrations.feed import MAPPING, Feed, award

pytestmark = pytest.mark.any_database  # pure

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def mapped(declared: object, value: object) -> Any:
    """What a field with this declaration makes of a value; None where it makes nothing."""
    return CompiledMapping({"field": declared}).apply({"value": value}).get("field")


def through(transform: object, value: object) -> Any:
    return mapped({"path": "value", "transforms": [transform]}, value)


def made_or_rejected(transform: object, value: object) -> Any:
    try:
        return through(transform, value)
    except Rejected as error:
        return error


# --- transforms -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("transform", "value", "result"),
    [
        ("trim", "  a b \t\n", "a b"),
        ("upper", "straße", "STRASSE"),
        ("lower", "PAID", "paid"),
        ("decimal", " 100.10 ", "100.10"),
        ("decimal", 100.1, "100.1"),
        ("decimal", "-0.50", "-0.50"),
        ("decimal", 7, "7"),
        ("integer", "42", 42),
        ("integer", " +7 ", 7),
        ("integer", "3.0", 3),
        ("integer", 3.0, 3),
        ("integer", -3, -3),
        ("boolean", True, True),
        ("boolean", "YES", True),
        ("boolean", " f ", False),
        ("boolean", 0, False),
        ("boolean", "1", True),
        ({"lookup": {"P": "paid"}}, "P", "paid"),
        ({"lookup": {"P": "paid"}}, "Q", "Q"),
        ({"lookup": {"1": "one"}}, 1, "one"),
        ({"lookup": {"true": "yes"}}, True, "yes"),
        ({"lookup": {"true": "yes"}}, [1], [1]),
        ({"lookup": {"1.5": "x"}}, 1.5, 1.5),
        ({"default": "none"}, None, "none"),
        ({"default": "none"}, "", ""),
        ({"default": 0}, None, 0),
    ],
)
def test_each_transform_makes_of_a_value_what_it_says(transform: object, value: object, result: Any) -> None:
    made = through(transform, value)
    assert (made, type(made)) == (result, type(result))


@pytest.mark.parametrize(
    ("transform", "value"),
    [
        ("decimal", "12,5"),
        ("decimal", "NaN"),
        ("decimal", "1e5"),
        ("decimal", True),
        ("decimal", []),
        ("decimal", ""),
        ("integer", "1.5"),
        ("integer", 1.5),
        ("integer", "one"),
        ("integer", ""),
        ("integer", True),
        ("integer", float("nan")),
        ("integer", 10**18),
        ("integer", "9" * 5000),
        ("integer", "\u0661"),  # the digit one of another script
        ("integer", [1]),
        ("boolean", "perhaps"),
        ("boolean", 2),
        ("boolean", 1.0),
        ("boolean", ""),
        ("boolean", [True]),
        ("boolean", "x" * 5000),
    ],
)
def test_a_transform_refuses_what_it_cannot_do_in_words(transform: str, value: object) -> None:
    with pytest.raises(Unmapped, match=r"^field: .") as caught:
        through(transform, value)
    assert len(str(caught.value)) < 200
    assert caught.value.rejection.field == "field"


@pytest.mark.parametrize(
    ("transform", "value", "result"),
    [
        ({"date": "%m/%d/%Y"}, "09/01/2026", "2026-09-01"),
        ({"date": "%m/%d/%Y"}, " 9/1/2026 ", "2026-09-01"),
        ({"date": "%Y%m%d"}, 20260901, "2026-09-01"),
        ({"date": ["%d.%m.%Y", "%Y-%m-%d"]}, "2026-09-01", "2026-09-01"),
        ({"date": "%d %B %Y"}, "1 september 2026", "2026-09-01"),
        ({"date": "%Y-%m-%dT%H:%M:%S%z"}, "2026-09-01T23:30:00-05:00", "2026-09-01"),
        ({"date": "%Y-%j"}, "2026-244", "2026-09-01"),
        ({"date": "epoch"}, 1788220800, "2026-09-01"),
        ({"date": "epoch"}, "1788220800", "2026-09-01"),
        ({"date": "epoch"}, 1788220799.5, "2026-08-31"),
        ({"date": "epoch"}, -1, "1969-12-31"),
        ({"date": "epoch_ms"}, 1788220800000, "2026-09-01"),
        ({"date": ["%m/%d/%Y", "epoch_ms"]}, 1788220800000, "2026-09-01"),
        ({"join": " "}, ["Ada", None, "Lovelace"], "Ada Lovelace"),
        ({"join": "-"}, ["A", 7], "A-7"),
        ({"join": ""}, ["a", "b"], "ab"),
        ({"split": {"separator": "-", "index": 0}}, "2026-FA", "2026"),
        ({"split": {"separator": "-", "index": -1}}, "2026-FA", "FA"),
        ({"split": {"separator": ", ", "index": 1}}, "Lovelace, Ada", "Ada"),
        ({"split": {"separator": "0", "index": 1}}, 107, "7"),
        ({"truncate": 3}, "grant", "gra"),
        ({"truncate": 9}, "grant", "grant"),
    ],
)
def test_each_transform_with_an_argument_makes_of_a_value_what_it_says(
    transform: object, value: object, result: str
) -> None:
    assert through(transform, value) == result


@pytest.mark.parametrize(
    ("transform", "value"),
    [
        ({"split": {"separator": "-", "index": 2}}, "2026-FA"),
        ({"split": {"separator": "-", "index": -3}}, "2026-FA"),
        ({"join": " "}, []),
        ({"join": " "}, [None, None]),
    ],
)
def test_a_part_that_is_not_there_is_nothing_and_a_default_stands_in(
    transform: object, value: object
) -> None:
    assert through(transform, value) is None
    assert mapped({"path": "value", "transforms": [transform, "upper"], "default": "X"}, value) == "X"


def test_several_paths_are_joined_by_a_list_of_them() -> None:
    mapping = CompiledMapping({"name": {"path": "[first, middle, last]", "transforms": [{"join": " "}]}})
    assert mapping.apply({"first": "Ada", "last": "King"}) == {"name": "Ada King"}


@pytest.mark.parametrize(
    ("transform", "value"),
    [
        ({"date": "%m/%d/%Y"}, "13/01/2026"),
        ({"date": "%m/%d/%Y"}, "02/29/2026"),
        ({"date": "%m/%d/%Y"}, ""),
        ({"date": "%m/%d/%Y"}, "09/01/2026 10:00"),
        ({"date": "%m/%d/%Y"}, True),
        ({"date": "%m/%d/%Y"}, ["09/01/2026"]),
        ({"date": "%Y-%m-%d"}, "\u0662026-09-01"),
        ({"date": "%Y%m%d"}, "2026111"),  # the first of November, or the eleventh of January
        ({"date": "epoch"}, 10**15),
        ({"date": "epoch"}, float("nan")),
        ({"date": "epoch"}, "soon"),
        ({"date": "epoch"}, "9" * 400),
        ({"join": " "}, "text"),
        ({"join": " "}, [["a"]]),
        ({"join": " "}, [True]),
        ({"join": " "}, [1.5]),
        ({"split": {"separator": "-", "index": 0}}, ["a-b"]),
        ({"split": {"separator": "-", "index": 0}}, True),
    ],
)
def test_a_transform_with_an_argument_refuses_what_it_cannot_do_in_words(
    transform: object, value: object
) -> None:
    with pytest.raises(Unmapped, match=r"^field: .") as caught:
        through(transform, value)
    assert len(str(caught.value)) < 200
    assert caught.value.rejection.rule == "not_transformed"


@pytest.mark.parametrize(
    ("transform", "words"),
    [
        ("date", "date takes a format"),
        ({"date": None}, "date takes a format"),
        ({"date": []}, "date takes a format"),
        ({"date": [5]}, "date takes a format"),
        ({"date": ""}, "is no format that says year, month and day"),
        ({"date": "%Y-%m"}, "is no format that says year, month and day"),
        ({"date": "%d.%m."}, "is no format that says year, month and day"),
        ({"date": "YYYY-MM-DD"}, "is no format that says year, month and day"),
        ({"date": "%Y-%m-%d %Q"}, "is no format that says year, month and day"),
        ({"date": "%Y-%m-%d %"}, "is no format that says year, month and day"),
        ({"date": ["%m/%d/%Y", "%d/%m/%Y"]}, "as different days"),
        ({"date": ["epoch", "epoch_ms"]}, "as different days"),
        ({"date": ["epoch", "%Y%m%d"]}, "as different days"),
        ("join", "join takes the text"),
        ({"join": None}, "join takes the text"),
        ({"join": ["-"]}, "join takes the text"),
        ("split", "split takes a separator"),
        ({"split": "-"}, "split takes a separator"),
        ({"split": {"separator": "-"}}, "split takes a separator"),
        ({"split": {"separator": "", "index": 0}}, "split takes a separator"),
        ({"split": {"separator": "-", "index": "0"}}, "split takes a separator"),
        ({"split": {"separator": "-", "index": True}}, "split takes a separator"),
        ({"split": {"separator": "-", "index": 0, "count": 1}}, "split takes a separator"),
        ("truncate", "truncate takes a number"),
        ({"truncate": 0}, "truncate takes a number"),
        ({"truncate": -1}, "truncate takes a number"),
        ({"truncate": "40"}, "truncate takes a number"),
        ({"truncate": True}, "truncate takes a number"),
        ({"truncate": 1.5}, "truncate takes a number"),
        ({"lookup": []}, "lookup takes a table"),
        ("lookup", "lookup takes a table"),
    ],
)
def test_a_transform_that_is_declared_wrongly_is_refused_with_what_it_takes(
    transform: object, words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        CompiledMapping({"field": {"path": "value", "transforms": [transform]}})


DATE_FORMATS = [
    "%Y-%m-%d",
    "%m/%d/%Y",
    "%d.%m.%Y",
    "%Y%m%d",
    "%d %b %Y",
    "%B %d, %Y",
    "%Y-%j",
    "epoch",
    "epoch_ms",
]


@given(st.dates(datetime.date(1970, 1, 1)), st.sampled_from(DATE_FORMATS))
def test_a_day_is_read_back_from_however_it_was_written(day: datetime.date, written: str) -> None:
    midnight = datetime.datetime.combine(day, datetime.time(), datetime.UTC)
    seconds = int(midnight.timestamp())
    text = {"epoch": str(seconds), "epoch_ms": str(seconds * 1000)}.get(written) or day.strftime(written)
    assert through({"date": written}, text) == day.isoformat()


@given(
    st.lists(st.sampled_from(DATE_FORMATS), min_size=2, max_size=3, unique=True),
    st.dates(datetime.date(1970, 1, 1)),
)
def test_two_formats_that_may_stand_together_never_read_a_written_day_as_another_one(
    formats: list[str], day: datetime.date
) -> None:
    try:
        mapping = CompiledMapping({"field": {"path": "value", "transforms": [{"date": formats}]}})
    except ValidationError:
        return
    for written in formats:
        if not written.startswith("epoch"):
            assert mapping.apply({"value": day.strftime(written)}) == {"field": day.isoformat()}


@given(st.lists(st.text(st.characters(exclude_characters="|")), min_size=1))
def test_what_was_joined_splits_into_the_same_parts(parts: list[str]) -> None:
    joined = through({"join": "|"}, parts)
    for index, part in enumerate(parts):
        assert through({"split": {"separator": "|", "index": index}}, joined) == part


@given(st.text(), st.integers(1, 50))
def test_truncate_keeps_the_beginning_and_never_more_than_its_length(text: str, length: int) -> None:
    made = through({"truncate": length}, text)
    assert text.startswith(made)
    assert len(made) == min(len(text), length)


@given(st.integers(-(10**18) + 1, 10**18 - 1))
def test_integer_is_the_same_however_it_is_written(number: int) -> None:
    for form in (number, str(number), f"  {number}.00 "):
        assert through("integer", form) == number


@given(st.decimals(-(10**12), 10**12, places=2))
def test_decimal_keeps_every_digit(number: Any) -> None:
    assert through("decimal", f"{number:f}") == f"{number:f}"


@given(st.text())
def test_trim_upper_and_lower_are_pythons(text: str) -> None:
    assert through("trim", text) == text.strip()
    assert through("upper", text) == text.upper()
    assert through("lower", text) == text.lower()


@given(
    st.sampled_from(
        [
            *(
                "trim",
                "upper",
                "lower",
                "decimal",
                "integer",
                "boolean",
                {"lookup": {"a": "b"}},
                {"truncate": 2},
            ),
            *({"date": ["%Y-%m-%d", "epoch"]}, {"join": "-"}, {"split": {"separator": "-", "index": 1}}),
        ]
    ),
    json_values,
)
def test_a_transform_never_breaks_whatever_comes(transform: str | dict[str, Any], value: object) -> None:
    made = made_or_rejected(transform, value)
    if isinstance(made, Rejected):
        assert made.rejection.reason.startswith("field: ")
    elif not isinstance(transform, dict):
        # What a transform does not make is a text, a number or a truth; trim, upper and lower let the rest pass.
        kinds = {"decimal": str, "integer": int, "boolean": bool}
        assert value is None or isinstance(made, kinds.get(transform, object))
        assert isinstance(value, str) or transform in kinds or made is value


def test_transforms_run_in_their_order_then_the_lookup_then_the_default() -> None:
    declared = {
        "path": "value",
        "transforms": ["trim", "lower", {"lookup": {"bezahlt": "PAID"}}, "lower"],
        "lookup": {"paid": "disbursed", "gone": None},
        "default": "offered",
    }
    assert mapped(declared, "  Bezahlt ") == "disbursed"
    assert mapped(declared, " Other") == "other"
    assert mapped(declared, None) == "offered"
    assert mapped(declared, "gone") == "offered"


def test_a_default_among_the_transforms_is_transformed_further() -> None:
    declared = {"path": "value", "transforms": [{"default": " a "}, "trim", "upper"]}
    assert mapped(declared, None) == "A"


def test_no_transform_but_default_is_asked_about_nothing() -> None:
    declared = {"path": "value", "transforms": ["decimal", "integer", "boolean", "trim"]}
    assert mapped(declared, None) is None


@pytest.mark.parametrize("default", [0, False, "", []])
def test_a_default_that_looks_like_nothing_is_one(default: object) -> None:
    assert mapped({"path": "value", "default": default}, None) == default


@pytest.mark.django_db
def test_lookups_to_nothing_and_small_defaults_survive_the_document(feed: Feed, connection: None) -> None:
    declared = {
        "path": "state",
        "transforms": [{"lookup": {"x": None}}, {"default": False}],
        "lookup": {"PENDING": None},
        "default": 0,
    }
    document = feed.document(datasets={"aid_awards": feed.dataset(mapping={**MAPPING, "status": declared})})
    stream = save_connection(document)[0].streams.get()
    assert stream.mapping["status"] == declared


@pytest.mark.parametrize(
    "transform",
    ["round", "", "Trim", 5, None, [], {}, {"lookup": {}, "default": 1}, {"round": 2}],
)
def test_an_unknown_transform_is_refused_with_the_list_of_those_there_are(transform: object) -> None:
    with pytest.raises(ValidationError) as caught:
        CompiledMapping({"field": {"path": "value", "transforms": [transform]}})
    assert isinstance(transform, str | dict) is ("is no transform; there are trim" in str(caught.value))


# --- paths ------------------------------------------------------------------------------------------------


@given(
    st.recursive(
        json_values, lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=8
    ),
    st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(".".join),
)
def test_a_path_of_plain_names_is_read_as_jmespath_reads_it(record: object, path: str) -> None:
    value = CompiledMapping({"field": path}).apply(record).get("field")
    expected = jmespath.search(path, record)
    assert value is expected or value == expected


@pytest.mark.parametrize(
    ("path", "result"),
    [
        ("names[0]", "a"),
        ("names[-1]", "b"),
        ("people[?id=='2'].name | [0]", "Ruth"),
        ('"odd name"', 7),
        ("join('-', names)", "a-b"),
        ("missing || names[1]", "b"),
        ("length(names)", 2),
        ("to_number('5')", 5),
        ("@.deep.er", "x"),
    ],
)
def test_every_path_is_jmespath(path: str, result: object) -> None:
    record = {
        "names": ["a", "b"],
        "people": [{"id": "1", "name": "Ada"}, {"id": "2", "name": "Ruth"}],
        "odd name": 7,
        "deep": {"er": "x"},
    }
    assert CompiledMapping({"field": path}).apply(record) == {"field": result}


@pytest.mark.parametrize("path", ["a[", "", "a.", "a b", "unknown(", "'open"])
def test_a_path_that_is_no_jmespath_is_refused(path: str) -> None:
    with pytest.raises(ValidationError, match="is no JMESPath expression"):
        CompiledMapping({"field": path})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("abs(value)", "text"),
        ("join('-', value)", [1]),
        ("no_such_function(value)", 1),
        ("sum(value)", ["x"]),
        ("max_by(value, &b)", [{"b": None}]),
        ("sort(value)", [1, "a"]),
        ("value[::0]", [1]),
        ("ceil(value)", float("nan")),
        ("floor(value)", float("-inf")),
        ("ceil(value)", True),
    ],
)
def test_an_expression_that_cannot_be_done_with_a_record_rejects_it(path: str, value: object) -> None:
    mapping = CompiledMapping({"other": "kept", "field": path})
    with pytest.raises(Unmapped, match=r"^field: .") as caught:
        mapping.apply({"value": value, "kept": 1})
    assert caught.value.rejection.rule == "not_mapped"
    assert caught.value.values["other"] == 1


@pytest.mark.django_db
def test_an_expression_that_one_record_defeats_rejects_that_record_alone(
    feed: Feed, load: Load, sync: Sync
) -> None:
    ceiling = {"path": "ceil(amount)"}
    load(datasets={"aid_awards": feed.dataset(mapping={**MAPPING, "amount": ceiling})})
    broken = json.dumps(award(1, amount=0)).replace('"amount": 0', '"amount": NaN')
    feed.write(broken, json.dumps(award(2, amount="text")), json.dumps(award(3, amount=9.5)))
    run = sync()
    assert (run.status, run.created, run.rejected) == ("applied", 1, 2)
    assert set(run.rejections.values_list("rule", "key")) == {
        ("not_mapped", "A0001#1"),
        ("not_mapped", "A0002#1"),
    }


@pytest.mark.django_db
def test_every_transform_works_on_the_road(feed: Feed, load: Load, sync: Sync) -> None:
    mapping = {
        **MAPPING,
        "award_id": {"path": "id", "transforms": ["trim", "upper"]},
        "disbursement_number": {"path": "part", "transforms": ["integer"]},
        "amount": {"path": "amount", "transforms": ["decimal"]},
        "status": {
            "path": "paid",
            "transforms": ["boolean"],
            "lookup": {"true": "disbursed", "false": "offered"},
            "default": "accepted",
        },
        "fund_code": {"path": "fund.code || 'NONE'", "transforms": ["lower"]},
    }
    load(datasets={"aid_awards": feed.dataset(mapping=mapping)})
    feed.awards = [
        award(1, id=" a1 ", part="2.0", amount=" 12.50 ", paid="Y", fund=None),
        award(2, id="a2", part=None, paid="no"),
        award(3, id="a3"),
    ]
    run = sync()
    assert run.created == 3
    after: dict[str, Any] = {change.key: change.after for change in run.changes.all()}
    assert set(after) == {"A1#2", "A2#1", "A3#1"}
    assert [after[key]["status"] for key in sorted(after)] == ["disbursed", "offered", "accepted"]
    assert (after["A1#2"]["amount"], after["A1#2"]["fund_code"]) == (1_250, "none")


# --- versions ---------------------------------------------------------------------------------------------


def test_the_version_of_a_mapping_changes_with_it_and_not_with_the_order_of_its_fields() -> None:
    one = {"a": {"path": "x"}, "b": {"path": "y", "lookup": {"p": "q", "r": "s"}}}
    same = {"b": {"lookup": {"r": "s", "p": "q"}, "path": "y"}, "a": {"path": "x"}}
    other = {"a": {"path": "x"}, "b": {"path": "y", "lookup": {"p": "q", "r": "t"}}}
    assert mapping_version(one) == mapping_version(same) != mapping_version(other)


def test_when_a_transform_comes_to_mean_something_else_every_record_is_looked_at_again(
    feed: Feed, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed.awards = [award(1, amount="100.00")]
    sync()
    SyncLink.objects.update(canonical_fingerprint=b"what it meant then")
    assert sync().modified == 0
    monkeypatch.setattr(mapping, "TRANSFORMS_VERSION", mapping.TRANSFORMS_VERSION + 1)
    assert sync().modified == 1
