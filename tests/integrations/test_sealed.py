"""Secrets of a connection: unreadable in the database, and opened only by the right key in the right row."""

from __future__ import annotations

import base64
import os
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection as database
from hypothesis import given
from hypothesis import strategies as st

from apiauth.sealed import SealBroken, seal, unseal
from integrations.documents import DocumentRefused
from integrations.models import Connection
from integrations.operations import save_connection, try_connection
from registration.models import LedgerEntry
from tests.integrations.conftest import Sync
from tests.integrations.feed import TOKEN, Feed, award


def new_key() -> str:
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


def sealed_bytes(connection: Connection) -> bytes:
    """What the database holds."""
    with database.cursor() as cursor:
        cursor.execute("SELECT secrets FROM integrations_connection WHERE id = %s", [connection.pk])
        return bytes(cursor.fetchone()[0])


def put(connection: Connection, sealed: bytes) -> Connection:
    """Write the column past our code, and return the row as it is read afterwards."""
    with database.cursor() as cursor:
        cursor.execute(
            "UPDATE integrations_connection SET secrets = %s WHERE id = %s", [sealed, connection.pk]
        )
    return Connection.objects.get(pk=connection.pk)


def whole_row(connection: Connection) -> bytes:
    with database.cursor() as cursor:
        cursor.execute("SELECT * FROM integrations_connection WHERE id = %s", [connection.pk])
        return b"|".join(
            bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()
            for value in cursor.fetchone()
        )


def test_no_secret_stands_in_clear_anywhere_in_the_database(feed: Feed, connection: Connection) -> None:
    save_connection(
        feed.document(
            auth={"type": "basic", "username": "THE-USER", "password": "THE-PASSWORD"},
            headers={"X-College-ID": "THE-HEADER"},
            datasets={"aid_awards": feed.dataset(params={"office": "THE-PARAMETER"})},
        )
    )
    fresh = Connection.objects.get(pk=connection.pk)
    assert fresh.secrets["auth"]["password"] == "THE-PASSWORD"
    tables = database.introspection.table_names()
    assert "integrations_connection" in tables
    for table in tables:
        with database.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {table}")
            for row in cursor.fetchall():
                text = b"|".join(
                    bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()
                    for value in row
                )
                assert b"THE-" not in text, table


def test_the_same_secret_is_never_sealed_to_the_same_bytes(connection: Connection) -> None:
    first = sealed_bytes(connection)
    connection.secrets = dict(connection.secrets)
    connection.save()
    assert sealed_bytes(connection) != first
    assert Connection.objects.get().secrets["auth"] == {"token": TOKEN}


def test_another_key_does_not_open_it_and_the_words_say_what_to_do(
    connection: Connection, settings: Any
) -> None:
    settings.CREDENTIAL_KEYS = [new_key()]
    with pytest.raises(SealBroken, match="CREDENTIAL_KEYS does not hold") as caught:
        _ = Connection.objects.get().secrets
    assert TOKEN not in str(caught.value)


def test_an_older_key_behind_a_newer_one_still_opens_it(connection: Connection, settings: Any) -> None:
    settings.CREDENTIAL_KEYS = [new_key(), *settings.CREDENTIAL_KEYS]
    fresh = Connection.objects.get()
    assert fresh.secrets["auth"] == {"token": TOKEN}
    fresh.secrets = dict(fresh.secrets)
    fresh.save()
    settings.CREDENTIAL_KEYS = settings.CREDENTIAL_KEYS[:1]
    assert Connection.objects.get().secrets["auth"] == {"token": TOKEN}


def test_a_value_copied_from_another_row_does_not_open(feed: Feed, connection: Connection) -> None:
    other, _ = save_connection(
        feed.document(slug="other", base_url="https://evil.example", auth={"type": "bearer", "token": "x"})
    )
    swapped = put(other, sealed_bytes(connection))
    with pytest.raises(SealBroken, match="copied from another row"):
        _ = swapped.secrets
    assert Connection.objects.get(pk=connection.pk).secrets["auth"] == {"token": TOKEN}


def test_no_byte_of_a_sealed_value_can_be_changed_cut_or_added(connection: Connection) -> None:
    sealed = sealed_bytes(connection)
    tampered = [
        *(sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :] for place in range(len(sealed))),
        *(sealed[:length] for length in range(1, len(sealed))),
        sealed + b"\x00",
    ]
    for value in tampered:
        with pytest.raises(SealBroken):
            _ = put(connection, value).secrets
    assert put(connection, sealed).secrets["auth"] == {"token": TOKEN}


@given(
    st.dictionaries(
        st.text(max_size=5), st.text(max_size=20) | st.integers(-(2**53), 2**53) | st.none(), min_size=1
    ),
    st.text(st.characters(codec="utf-8"), max_size=20),
)
def test_whatever_is_sealed_opens_as_it_was_in_its_place_alone(value: dict[str, Any], place: str) -> None:
    sealed = seal(value, place)
    assert unseal(sealed, place) == value
    with pytest.raises(SealBroken):
        unseal(sealed, f"{place}.")


@pytest.mark.parametrize(
    "keys", [["short"], ["!" * 44], [""], [base64.urlsafe_b64encode(b"x" * 31).decode()]]
)
def test_a_key_that_is_none_is_refused_with_the_way_to_make_one(keys: list[str], settings: Any) -> None:
    settings.CREDENTIAL_KEYS = keys
    with pytest.raises(ImproperlyConfigured, match=r"Key 1 of CREDENTIAL_KEYS.*Make one with") as caught:
        seal({"a": 1}, "somewhere")
    assert not any(key and key in str(caught.value) for key in keys)


def test_a_run_whose_secrets_do_not_open_fails_in_words_and_changes_nothing(
    feed: Feed, sync: Sync, settings: Any
) -> None:
    feed.awards = [award(1)]
    sync()
    asked = len(feed.requests)
    settings.CREDENTIAL_KEYS = [new_key()]
    feed.awards = []
    run = sync()
    assert run.status == "failed"
    assert "CREDENTIAL_KEYS does not hold" in run.reason
    assert "unexpectedly" not in run.reason
    assert len(feed.requests) == asked
    assert LedgerEntry.objects.get().state == "posted"


def test_trying_a_connection_whose_secrets_do_not_open_says_so(connection: Connection, settings: Any) -> None:
    settings.CREDENTIAL_KEYS = [new_key()]
    (trial,) = try_connection(Connection.objects.get())
    assert not trial.is_good
    assert "CREDENTIAL_KEYS" in trial.message


def test_secrets_that_do_not_open_can_be_entered_again(
    feed: Feed, connection: Connection, sync: Sync
) -> None:
    broken = b"\x01" + os.urandom(60)
    put(connection, broken)
    with pytest.raises(DocumentRefused, match=r"auth: The secrets of .* CREDENTIAL_KEYS"):
        save_connection(feed.document(auth={"type": "bearer"}))
    assert sealed_bytes(connection) == broken
    save_connection(feed.document())
    feed.awards = [award(1)]
    assert sync().status == "applied"
