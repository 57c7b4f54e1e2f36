"""The connection document: what it means, what it keeps, and what it refuses in words that name the place."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection as database

from audit.models import AuditEvent
from integrations.documents import DocumentRefused, parse_document
from integrations.models import Connection
from integrations.operations import archive_connection, save_connection
from tests.integrations.conftest import Load, Sync
from tests.integrations.feed import MAPPING, Feed, award
from tests.refusals import refused_by

# DESIGN section 8, to the letter.
EXAMPLE: dict[str, Any] = {
    "slug": "financial-aid",
    "name": "Financial aid office",
    "connector": "rest",
    "enabled": True,
    "base_url": "https://aid.example.edu/api",
    "headers": {"X-College-ID": "12345"},
    "auth": {"type": "bearer", "token": "the-token"},
    "schedule": {"every_minutes": 1440},
    "datasets": {
        "aid_awards": {
            "path": "/awards",
            "params": {"year": "2026"},
            "records": "data",
            "pagination": {
                "type": "page",
                "page_param": "page",
                "size_param": "limit",
                "size": 500,
            },
            "incremental": {"param": "updated_since", "field": "updated_at"},
            "mapping": {
                "award_id": "id",
                "student_number": "student.number",
                "fund_code": "fund.code",
                "term_code": "term",
                "amount": {"path": "amount", "transforms": ["decimal"]},
                "status": {"path": "state", "lookup": {"PAID": "disbursed"}},
            },
        }
    },
    "guards": {"max_void_share": 0.10, "max_void_count": 10},
}


def changed(place: str, value: object) -> dict[str, Any]:
    """The example with another value at a dotted place; "aid." stands for the dataset. `...` takes it away."""
    document = copy.deepcopy(EXAMPLE)
    *steps, last = place.replace("aid.", "datasets.aid_awards.").split(".")
    part = document
    for step in steps:
        part = part[step]
    if value is ...:
        del part[last]
    else:
        part[last] = value
    return document


def stored(slug: str = "financial-aid") -> Connection:
    return Connection.objects.get(slug=slug)


def rows() -> list[Any]:
    """Everything that a document is kept in, byte for byte."""
    with database.cursor() as cursor:
        found = []
        for table in ("integrations_connection", "integrations_stream", "audit_auditevent"):
            cursor.execute(f"SELECT * FROM {table} ORDER BY id")
            found.extend([tuple(map(str, row)) for row in cursor.fetchall()])
        return found


# --- what it means ----------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_example_of_the_design_is_kept_as_it_says() -> None:
    connection, is_changed = save_connection(EXAMPLE)
    assert is_changed
    kept = stored()
    assert kept == connection
    assert (kept.name, kept.connector, kept.enabled) == ("Financial aid office", "rest", True)
    assert (kept.base_url, kept.auth_type, kept.every_minutes) == (
        "https://aid.example.edu/api",
        "bearer",
        1440,
    )
    assert kept.guards == {"max_void_share": 0.10, "max_void_count": 10}
    assert kept.secrets == {
        "auth": {"token": "the-token"},
        "headers": {"X-College-ID": "12345"},
        "params": {"aid_awards": {"year": "2026"}},
    }
    stream = kept.streams.get()
    assert (stream.dataset, stream.declared, stream.params) == ("aid_awards", True, {"year": "2026"})
    assert stream.endpoint["path"] == "/awards"
    assert stream.endpoint["records"] == "data"
    assert stream.endpoint["pagination"] == {
        "type": "page",
        "page_param": "page",
        "size_param": "limit",
        "size": 500,
        "first": 1,
    }
    assert stream.endpoint["incremental"] == {
        "param": "updated_since",
        "field": "updated_at",
        "full_every": 7,
        "overlap_minutes": 10,
    }
    assert stream.mapping["amount"] == {"path": "amount", "transforms": ["decimal"]}
    assert stream.mapping["status"] == {"path": "state", "lookup": {"PAID": "disbursed"}}
    assert stream.next_run_at is not None


@pytest.mark.django_db
def test_an_identical_document_changes_nothing_at_all() -> None:
    save_connection(EXAMPLE)
    before = rows()
    for again in (EXAMPLE, json.loads(json.dumps(EXAMPLE))):
        assert save_connection(again)[1] is False
    assert rows() == before


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("name", "Aid"),
        ("enabled", False),
        ("base_url", "https://aid.example.edu/v2"),
        ("headers", {"X-College-ID": "9"}),
        ("auth.token", "another"),
        ("auth", {"type": "basic", "username": "a", "password": "b"}),
        ("schedule.every_minutes", 60),
        ("schedule", "manual"),
        ("aid.path", "/v2/awards"),
        ("aid.params", {"year": "2027"}),
        ("aid.records", "items"),
        ("aid.pagination", {"type": "none"}),
        ("aid.incremental", ...),
        ("aid.mapping.fund_name", "fund.name"),
        ("aid.mapping.status", "state"),
        ("guards", {}),
        ("guards.max_void_count", 11),
        ("timeouts", {"read": 5, "slow_ms": 100}),
        ("datasets", {}),
    ],
)
def test_any_other_document_replaces_the_connection_and_says_so_in_the_trail(
    place: str, value: object
) -> None:
    save_connection(EXAMPLE)
    document = changed(place, value)
    connection, is_changed = save_connection(document)
    assert is_changed
    assert save_connection(document)[1] is False
    events = AuditEvent.objects.about(connection).order_by("id").values_list("action", flat=True)
    assert list(events) == ["connection.created", "connection.changed"]
    assert Connection.objects.count() == 1


@pytest.mark.django_db
def test_the_least_document_has_safe_defaults() -> None:
    connection, _ = save_connection({"slug": "x", "name": "X", "base_url": "https://x.example"})
    assert (connection.enabled, connection.every_minutes, connection.auth_type) == (True, 1440, "none")
    assert not connection.streams.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("schedule", ["manual", {"manual": True}])
def test_a_manual_schedule_is_due_only_when_somebody_asks(schedule: object) -> None:
    connection, _ = save_connection(changed("schedule", schedule))
    assert connection.every_minutes is None
    assert connection.streams.get().next_run_at is None
    save_connection(EXAMPLE)
    assert connection.streams.get().next_run_at is not None


@pytest.mark.django_db
def test_a_dataset_that_is_no_longer_named_keeps_its_history_and_is_no_longer_due() -> None:
    connection, _ = save_connection(EXAMPLE)
    save_connection(changed("datasets", {}))
    stream = connection.streams.get()
    assert (stream.declared, stream.next_run_at) == (False, None)
    save_connection(EXAMPLE)
    assert connection.streams.get().declared


@pytest.mark.django_db
def test_an_archived_connection_comes_back_with_its_document() -> None:
    connection, _ = save_connection(EXAMPLE)
    archive_connection(connection)
    assert not stored().is_usable
    assert save_connection(EXAMPLE)[1] is True
    assert stored().is_usable
    assert stored().streams.get().next_run_at is not None


# --- older installations ----------------------------------------------------------------------------------


@pytest.mark.django_db
def test_the_forms_of_older_installations_mean_the_same() -> None:
    older = {
        "slug": "financial-aid",
        "name": "Financial aid office",
        "baseUrl": "https://aid.example.edu/api",
        "authType": "bearer",
        "apiKey": "the-token",
        "headers": EXAMPLE["headers"],
        "syncInterval": 1440,
        "guards": EXAMPLE["guards"],
        "endpoints": {
            "aid_awards": {
                **EXAMPLE["datasets"]["aid_awards"],
                "pagination": {"type": "page", "pageParam": "page", "sizeParam": "limit", "pageSize": 500},
            }
        },
    }
    save_connection(EXAMPLE)
    assert save_connection(older)[1] is False


@pytest.mark.parametrize(
    ("older", "auth"),
    [
        ({"apiKey": "k"}, {"type": "api_key", "key": "k", "name": "X-API-Key", "place": "header"}),
        (
            {"authType": "apiKey", "apiKey": "k"},
            {"type": "api_key", "key": "k", "name": "X-API-Key", "place": "header"},
        ),
        (
            {"authType": "api_key", "apiKey": "k"},
            {"type": "api_key", "key": "k", "name": "X-API-Key", "place": "header"},
        ),
        ({"authType": "bearer", "apiKey": "k"}, {"type": "bearer", "token": "k"}),
        ({"authType": "none"}, {"type": "none"}),
        ({"authType": "none", "apiKey": None}, {"type": "none"}),
        ({"authType": "basic", "auth": {"type": "bearer", "token": "t"}}, {"type": "bearer", "token": "t"}),
    ],
)
def test_older_credentials_are_read_as_they_were_meant(older: dict[str, Any], auth: dict[str, Any]) -> None:
    document = parse_document({"slug": "x", "name": "X", "baseUrl": "https://x.example", **older})
    assert document.auth.model_dump() == auth


def test_an_older_interval_is_bound_by_the_same_limit() -> None:
    with pytest.raises(DocumentRefused, match="every_minutes"):
        parse_document({"slug": "x", "name": "X", "baseUrl": "https://x.example", "syncInterval": 4})


def test_an_older_endpoint_may_be_its_path_alone_and_is_told_what_is_missing() -> None:
    with pytest.raises(
        DocumentRefused, match=r"datasets.aid_awards.mapping: amount, award_id, .* must be mapped"
    ):
        parse_document(
            {"slug": "x", "name": "X", "baseUrl": "https://x.example", "endpoints": {"aid_awards": "/awards"}}
        )


# --- what it refuses --------------------------------------------------------------------------------------

BAD: list[tuple[str, Any]] = [
    ("slug", ...),
    ("slug", ""),
    ("slug", "Financial Aid"),
    ("slug", "a--b"),
    ("slug", "x" * 61),
    ("slug", "aid\n"),
    ("slug", 5),
    ("name", ""),
    ("name", "x" * 121),
    ("name", "Aid\nBcc: all@example.edu"),
    ("name", "Aid\x00"),
    ("connector", "soap"),
    ("connector", None),
    ("enabled", "perhaps"),
    ("base_url", ...),
    ("base_url", ""),
    ("base_url", "aid.example.edu"),
    ("base_url", "ftp://aid.example.edu"),
    ("base_url", "file:///etc/passwd"),
    ("base_url", "https://user:pass@aid.example.edu"),
    ("base_url", "https://aid.example.edu/api?key=1"),
    ("base_url", "https://aid.example.edu/#x"),
    ("base_url", "https://aid.example.edu:99999"),
    ("base_url", "https://" + "x" * 500),
    ("headers", []),
    ("headers", {"X": 1}),
    ("headers", {"X": "two\nlines"}),
    ("headers", {"X": "…"}),
    ("headers", {"X Y": "z"}),
    ("headers", {"": "z"}),
    ("auth", None),
    ("auth", {}),
    ("auth", "bearer"),
    ("auth.type", "kerberos"),
    ("auth.type", None),
    ("auth.token", 5),
    ("auth.token", "copied with its line end\n"),
    ("auth.token", "tok…en"),
    ("auth.token", ""),
    ("auth.tokken", "typo"),
    ("auth", {"type": "api_key", "key": "k", "in": "body"}),
    ("auth", {"type": "api_key", "key": "k", "name": "two words"}),
    ("auth", {"type": "basic", "username": 1, "password": "x"}),
    ("schedule", "hourly"),
    ("schedule", {"every_minutes": 4}),
    ("schedule", {"every_minutes": 0}),
    ("schedule", {"every_minutes": -5}),
    ("schedule", {"every_minutes": 5.5}),
    ("schedule", {"every_minutes": "soon"}),
    ("schedule", {"every_minutes": 10**12}),
    ("schedule", {"every_minutes": None}),
    ("schedule", {"manual": False}),
    ("schedule", {"every_minutes": 60, "manual": True}),
    ("datasets", []),
    ("datasets", {"housing": {"path": "/", "mapping": {}}}),
    ("datasets.aid_awards", None),
    ("datasets.aid_awards", 7),
    ("aid.path", 5),
    ("aid.params", {"year": [1]}),
    ("aid.params", {"year": True}),
    ("aid.params", "year=2026"),
    ("aid.records", "data["),
    ("aid.records", 5),
    ("aid.pagination", {"type": "guess"}),
    ("aid.pagination", {}),
    ("aid.pagination", {"type": "cursor"}),
    ("aid.pagination", {"type": "cursor", "cursor": "a["}),
    ("aid.pagination", {"type": "next_url"}),
    ("aid.pagination", {"type": "next_url", "next": ""}),
    ("aid.pagination", {"type": "page", "size": 0}),
    ("aid.pagination", {"type": "page", "total": "a b"}),
    ("aid.pagination", {"type": "page", "typo": 1}),
    ("aid.incremental", {"param": "x"}),
    ("aid.mapping", ...),
    ("aid.mapping", {}),
    ("aid.mapping", []),
    ("aid.mapping.award_id", ...),
    ("aid.mapping.amount", ...),
    ("aid.mapping.status", ...),
    ("aid.mapping.colour", "x"),
    ("aid.mapping.amount", {"path": "a", "transforms": ["round"]}),
    ("aid.mapping.amount", {"path": "a["}),
    ("aid.mapping.amount", {}),
    ("aid.mapping.amount", 5),
    ("aid.mapping.amount", {"path": "a", "lookup": ["x"]}),
    ("aid.mapping.amount", {"path": "a", "default": "\x00"}),
    ("aid.mapping.status", {"path": "a", "lookup": {"\x00": "x"}}),
    ("aid.mapping.status", {"path": "a", "lookup": {"x": "\ud800"}}),
    ("guards", []),
    ("guards.max_void_share", 1.1),
    ("guards.max_void_share", -0.1),
    ("guards.max_void_count", -1),
    ("guards.max_void_count", 1.5),
    ("guards.max_student_change", "NaN"),
    ("guards.max_student_change", "1,000"),
    ("guards.max_gross_change", "0.001"),
    ("guards.max_gross_change", "10000000000000"),
    ("guards.first_load", "ask"),
    ("guards.max_viod_count", 1),
    ("timeouts", {"read": 0}),
    ("timeouts", {"read": 10**6}),
    ("timeouts", {"connect": "NaN"}),
    ("timeouts", {"total": -1}),
    ("settings", {"x": 1}),
    ("authType", ["x"]),
    ("typo", 1),
]


@pytest.mark.parametrize(("place", "value"), BAD, ids=lambda part: repr(part)[:60])
def test_every_fault_is_refused_in_a_sentence_that_names_its_place(place: str, value: object) -> None:
    document = changed(place, value)
    if place == "authType":
        del document["auth"]
    with pytest.raises(DocumentRefused) as caught:
        parse_document(document)
    place = {"authType": "auth"}.get(place, place).replace("aid.", "datasets.aid_awards.")
    root = place.split(".")[0]
    assert caught.value.faults
    for fault in caught.value.faults:
        assert fault.startswith(root), fault
        assert len(fault) < 400
    # The last step of the place, or what holds it, is named.
    words = " ".join(caught.value.faults)
    assert place.rpartition(".")[2] in words or place.rpartition(".")[0] in words


@pytest.mark.parametrize("content", [None, [], "x", 7, True, [EXAMPLE]])
def test_what_is_no_object_is_no_document(content: object) -> None:
    with pytest.raises(DocumentRefused, match="JSON object"):
        parse_document(content)


def test_every_fault_of_a_document_is_told_at_once() -> None:
    document = {**EXAMPLE, "slug": "A", "name": "", "guards": {"max_void_share": 2}}
    with pytest.raises(DocumentRefused) as caught:
        parse_document(document)
    assert len(caught.value.faults) == 3


def test_no_fault_quotes_a_secret() -> None:
    for auth in (
        {"type": "bearer", "token": ["S3CRET"]},
        {"type": "bearer", "token": "S3CRET\n"},
        {"type": "api_key", "key": {"a": "S3CRET"}},
        {"type": "basic", "username": "u", "password": 53, "extra": "S3CRET"},
    ):
        with pytest.raises(DocumentRefused) as caught:
            parse_document(changed("auth", auth))
        assert "S3CRET" not in str(caught.value)
    with pytest.raises(DocumentRefused) as caught:
        parse_document(changed("headers", {"X": "S3CRET\n"}))
    assert "S3CRET" not in str(caught.value)


@pytest.mark.django_db
def test_a_refused_document_leaves_the_connection_as_it_was() -> None:
    save_connection(EXAMPLE)
    before = rows()
    with pytest.raises(DocumentRefused):
        save_connection(changed("schedule.every_minutes", 4))
    assert rows() == before


# --- secrets ----------------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize(
    "omitted", [("auth.token", ...), ("headers", ...), ("aid.params", ...), ("headers", {})]
)
def test_a_secret_that_the_document_leaves_out_is_kept(omitted: tuple[str, Any]) -> None:
    save_connection(EXAMPLE)
    secrets = stored().secrets
    assert save_connection(changed(*omitted))[1] is False
    assert stored().secrets == secrets


@pytest.mark.django_db
@pytest.mark.parametrize(
    "base_url",
    [
        "http://aid.example.edu/api",
        "https://aid.example.edu:8443/api",
        "https://evil.example/api",
        "https://aid.example.edu.evil.example/api",
    ],
)
def test_another_origin_clears_every_secret_that_is_not_entered_anew(base_url: str) -> None:
    save_connection(EXAMPLE)
    document = changed("base_url", base_url)
    del document["auth"]["token"], document["headers"], document["datasets"]["aid_awards"]["params"]
    save_connection(document)
    assert "the-token" not in str(stored().secrets)
    assert (stored().secrets["headers"], stored().secrets["params"]) == ({}, {})
    save_connection(changed("base_url", base_url))
    assert stored().secrets["auth"] == {"token": "the-token"}


@pytest.mark.django_db
@pytest.mark.parametrize(
    "base_url",
    [
        "https://AID.example.edu/v2",
        "https://aid.example.edu:443/api",
        "HTTPS://aid.example.edu/",
        "https://aid.example.edu",
    ],
)
def test_another_spelling_or_path_of_the_same_origin_keeps_them(base_url: str) -> None:
    save_connection(EXAMPLE)
    document = changed("base_url", base_url)
    del document["auth"]["token"], document["headers"]
    save_connection(document)
    assert stored().secrets["auth"] == {"token": "the-token"}
    assert stored().secrets["headers"] == {"X-College-ID": "12345"}


@pytest.mark.django_db
def test_another_kind_of_credential_takes_nothing_over_from_the_earlier_one() -> None:
    save_connection(EXAMPLE)
    save_connection(changed("auth", {"type": "basic", "username": "u"}))
    assert stored().secrets["auth"] == {"username": "u"}


# --- intervals --------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_no_interval_under_five_minutes_passes_document_form_or_database() -> None:
    assert save_connection(changed("schedule.every_minutes", 5))[0].every_minutes == 5
    with pytest.raises(DocumentRefused, match=r"schedule\.every_minutes"):
        save_connection(changed("schedule.every_minutes", 4))
    connection = stored()
    connection.every_minutes = 4
    with pytest.raises(ValidationError, match="at most every 5 minutes"):
        connection.full_clean()
    with refused_by("connection_interval_not_under_5_minutes"):
        Connection.objects.update(every_minutes=4)
    assert stored().every_minutes == 5


# --- on the road ------------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("timeouts", [{"slow_ms": 500}, {"connect": 1, "read": 2, "total": 3, "slow_ms": 4}])
def test_every_timeout_that_a_document_may_name_can_be_run_with(
    feed: Feed, load: Load, sync: Sync, timeouts: dict[str, float]
) -> None:
    load(timeouts=timeouts)
    feed.awards = [award(1)]
    assert sync().status == "applied"


@pytest.mark.django_db
def test_an_award_needs_only_the_fields_that_are_required(feed: Feed, load: Load, sync: Sync) -> None:
    required = EXAMPLE["datasets"]["aid_awards"]["mapping"]
    assert set(required) < set(MAPPING)
    load(datasets={"aid_awards": feed.dataset(mapping=required)})
    feed.awards = [award(1)]
    assert sync().created == 1
