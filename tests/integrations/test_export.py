"""A connection's document as it is given back: whole, without any secret, and the same when it is loaded again."""

# ruff: noqa: F811 - a fixture that is imported is an argument too
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.urls import reverse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integrations.documents import ConnectionDocument, DocumentRefused, document_of
from integrations.models import Connection
from integrations.operations import archive_connection, save_connection
from tests.integrations.certificates import Authority
from tests.integrations.conftest import signed_in
from tests.integrations.test_commands import Manage, manage, tell  # noqa: F401 - fixtures
from tests.integrations.test_documents import EXAMPLE, changed
from tests.integrations.test_sealed import new_key

pytestmark = pytest.mark.django_db
IDENTITY = Authority().issue("matricula.example.edu")
AUTHS: list[dict[str, Any]] = [
    {"type": "none"},
    {"type": "api_key", "key": "S3CRET-key"},
    {"type": "api_key", "key": "S3CRET-key", "name": "k", "in": "query"},
    {"type": "bearer", "token": "S3CRET-token"},
    {"type": "basic", "username": "S3CRET-user", "password": "S3CRET-password"},
    {
        "type": "oauth2",
        "client_id": "the-client",
        "client_secret": "S3CRET-client",
        "token_url": "https://aid.example.edu/token",
        "scope": "a b",
        "client_auth": "body",
    },
    {"type": "mtls", "certificate": IDENTITY.certificate, "key": IDENTITY.key},
]

values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=10).map(
    "S3CRET-{}".format
)
names = st.text("abcXYZ-", min_size=1, max_size=6)
paginations = st.sampled_from(
    [
        {"type": "none"},
        {"type": "page", "page_param": "p", "first": 0, "size_param": "n", "size": 7, "total": "meta.total"},
        {"type": "offset", "offset_param": "from"},
        {"type": "cursor", "cursor": "next"},
        {"type": "next_url", "next": "links.next"},
        {"type": "link_header"},
    ]
)
fields = st.sampled_from(
    [
        "plain.path",
        {"path": "x", "transforms": ["trim", {"lookup": {"a": None}}, {"date": ["%m/%d/%Y"]}]},
        {"path": "x", "lookup": {"PAID": "disbursed", "gone": None}, "default": 0},
        {"path": "x", "default": ""},
    ]
)
required = ["award_id", "student_number", "fund_code", "term_code", "amount", "status"]
documents = st.fixed_dictionaries(
    {
        "slug": st.just("aid"),
        "name": st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=20),
        "enabled": st.booleans(),
        "base_url": st.sampled_from(["https://aid.example.edu/api", "http://10.0.0.1:8080"]),
        "headers": st.dictionaries(names, values, max_size=2),
        "auth": st.sampled_from(AUTHS),
        "schedule": st.sampled_from(
            [
                "manual",
                {"every_minutes": 60, "jitter_minutes": 30},
                {"daily_at": "02:05", "time_zone": "America/Chicago"},
                {
                    "cron": "0 2 * * mon-fri",
                    "blackouts": [{"from": "08:00", "to": "18:00", "days": ["tue", "mon"]}],
                },
            ]
        ),
        "guards": st.sampled_from(
            [
                {},
                {
                    "first_load": "hold",
                    "max_student_change": "10.50",
                    "max_void_share": 0.2,
                    "max_void_count": None,
                },
            ]
        ),
        "timeouts": st.sampled_from([{}, {"read": 2.5, "slow_ms": 900}]),
        "limits": st.sampled_from([{}, {"per_minute": 60}]),
        "conflicts": st.sampled_from(["hold", "source_wins", "local_wins"]),
    },
    optional={
        "datasets": st.fixed_dictionaries(
            {
                "aid_awards": st.fixed_dictionaries(
                    {
                        "path": st.just("/awards"),
                        "records": st.sampled_from(["@", "data"]),
                        "params": st.dictionaries(names, values, max_size=2),
                        "pagination": paginations,
                        "incremental": st.sampled_from([None, {"param": "since", "field": "updated_at"}]),
                        "mapping": st.fixed_dictionaries(
                            dict.fromkeys(required, fields), optional={"fund_name": fields}
                        ),
                    }
                )
            }
        )
    },
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(documents)
def test_what_is_exported_is_loaded_as_unchanged_and_holds_no_secret(document: dict[str, Any]) -> None:
    with transaction.atomic():
        saved, _ = save_connection(document)
        secrets = saved.secrets
        exported = json.loads(json.dumps(document_of(Connection.objects.get())))
        assert "S3CRET" not in json.dumps(exported)
        assert IDENTITY.key not in json.dumps(exported)
        connection, is_changed = save_connection(exported)
        assert not is_changed
        assert connection.secrets == secrets
        assert document_of(connection) == exported
        transaction.set_rollback(True)


def test_an_export_has_a_place_for_every_part_of_a_document() -> None:
    everything = EXAMPLE | {"timeouts": {"read": 5}, "limits": {"per_minute": 60}}
    save_connection(everything)
    exported = document_of(Connection.objects.get())
    # No connector of this version has settings of its own.
    assert exported.keys() == ConnectionDocument.model_fields.keys() - {"settings"}


# --- what it shows ----------------------------------------------------------------------------------------


def test_an_export_has_every_name_that_has_to_be_entered_and_no_value() -> None:
    save_connection(EXAMPLE)
    exported = document_of(Connection.objects.get())
    assert exported["headers"] == {"X-College-ID": None}
    assert exported["auth"] == {"type": "bearer", "token": None}
    assert exported["datasets"]["aid_awards"]["params"] == {"year": None}
    assert exported["datasets"]["aid_awards"]["mapping"]["award_id"] == "id"
    assert exported["datasets"]["aid_awards"]["mapping"]["amount"] == {
        "path": "amount",
        "transforms": ["decimal"],
    }
    assert exported["schedule"] == {"every_minutes": 1440}


@pytest.mark.parametrize("auth", AUTHS, ids=lambda auth: auth["type"])
def test_of_each_kind_of_credential_the_secret_parts_are_null(auth: dict[str, Any]) -> None:
    save_connection(changed("auth", auth))
    exported = document_of(Connection.objects.get())["auth"]
    assert exported.keys() >= auth.keys()
    assert "S3CRET" not in json.dumps(exported)
    open_parts = {"type", "name", "in", "client_id", "token_url", "scope", "client_auth"}
    assert {name for name, value in exported.items() if value is None} == auth.keys() - open_parts


# --- loading it -------------------------------------------------------------------------------------------


def test_in_another_installation_what_is_missing_is_told_by_name() -> None:
    save_connection(EXAMPLE)
    exported = document_of(Connection.objects.get())
    with pytest.raises(DocumentRefused) as caught:
        save_connection(exported | {"slug": "elsewhere"})
    assert caught.value.faults == [
        "headers.X-College-ID: enter its value, none is kept for this address",
        "datasets.aid_awards.params.year: enter its value, none is kept for this address",
    ]
    assert Connection.objects.count() == 1


def test_at_another_origin_nothing_is_kept_for_a_null() -> None:
    save_connection(EXAMPLE)
    exported = document_of(Connection.objects.get())
    with pytest.raises(DocumentRefused, match="none is kept for this address"):
        save_connection(exported | {"base_url": "https://evil.example"})
    assert Connection.objects.get().secrets["headers"] == {"X-College-ID": "12345"}


def test_a_null_keeps_one_value_while_another_one_is_entered() -> None:
    save_connection(changed("headers", {"A": "1", "B": "2"}))
    save_connection(changed("headers", {"A": None, "C": "3"}))
    assert Connection.objects.get().secrets["headers"] == {"A": "1", "C": "3"}


def test_parameters_of_one_dataset_are_kept_though_others_are_not_named() -> None:
    save_connection(EXAMPLE)
    save_connection(changed("aid.params", {"year": None, "campus": "N"}))
    assert Connection.objects.get().secrets["params"] == {"aid_awards": {"year": "2026", "campus": "N"}}


# --- the command ------------------------------------------------------------------------------------------


def test_the_command_prints_one_document_or_all_of_them_that_are_in_use(manage: Manage) -> None:
    assert manage("connections", "export").data == []
    save_connection(EXAMPLE)
    save_connection(EXAMPLE | {"slug": "another"})
    archive_connection(save_connection(EXAMPLE | {"slug": "gone"})[0])
    one = manage("connections", "export", "financial-aid")
    assert (one.status, one.data) == (0, document_of(Connection.objects.get(slug="financial-aid")))
    everything = manage("connections", "export")
    assert [document["slug"] for document in everything.data] == ["another", "financial-aid"]


def test_what_the_command_prints_for_people_is_what_load_reads(
    tell: Callable[..., tuple[int, str, str]],
    manage: Manage,
    tmp_path: Path,
) -> None:
    save_connection(EXAMPLE)
    status, out, err = tell("connections", "export")
    assert (status, err) == (0, "")
    file = tmp_path / "connections.json"
    file.write_text(out)
    assert manage("connections", "load", str(file)).data == [{"slug": "financial-aid", "changed": False}]


def test_an_unknown_connection_or_a_key_that_is_not_there_is_told(manage: Manage, settings: Any) -> None:
    save_connection(EXAMPLE)
    said = manage("connections", "export", "nobody")
    assert (said.status, said.data["reason"]) == (
        1,
        "There is no connection 'nobody'. There are: financial-aid.",
    )
    settings.CREDENTIAL_KEYS = [new_key()]
    said = manage("connections", "export")
    assert said.status == 1
    assert "CREDENTIAL_KEYS does not hold" in said.data["reason"]


# --- the admin --------------------------------------------------------------------------------------------


def test_the_page_of_a_connection_leads_to_its_document(administrator: Client, advisor: Client) -> None:
    connection, _ = save_connection(EXAMPLE)
    address = reverse("admin:integrations_connection_export", args=[connection.pk])
    page = administrator.get(reverse("admin:integrations_connection_change", args=[connection.pk]))
    assert address in page.content.decode()
    answer = administrator.get(address)
    assert answer["Content-Disposition"] == 'attachment; filename="financial-aid.json"'
    assert answer.json() == document_of(connection)
    assert signed_in("nils", role="Auditor").get(address).status_code == 200
    assert advisor.get(address).status_code == 403
    assert Client().get(address).status_code == 302


def test_the_page_says_when_the_secrets_do_not_open(administrator: Client, settings: Any) -> None:
    connection, _ = save_connection(EXAMPLE)
    settings.CREDENTIAL_KEYS = [new_key()]
    address = reverse("admin:integrations_connection_export", args=[connection.pk])
    page = administrator.get(address, follow=True)
    assert "CREDENTIAL_KEYS does not hold" in page.content.decode()


def test_a_null_that_is_not_kept_is_a_fault_of_the_form(administrator: Client) -> None:
    address = reverse("admin:integrations_connection_add")
    page = administrator.post(address, {"document": json.dumps(EXAMPLE | {"headers": {"X": None}})})
    assert "headers.X: enter its value" in page.content.decode()
    assert not Connection.objects.exists()
