"""A new key for the secrets at rest, while the system runs: nothing is lost, and the old key can leave."""

# ruff: noqa: F811 - a fixture that is imported is an argument too
from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection as database

from apiauth.sealed import SealBroken, is_of_newest_key, seal
from audit.models import AuditEvent
from integrations import rotation
from integrations.models import Connection, ConnectionToken
from integrations.operations import save_connection, try_connection
from integrations.rotation import rotate_credentials
from tests.integrations.conftest import sync_stream
from tests.integrations.feed import Feed, award
from tests.integrations.simulated import Simulated, simulated
from tests.integrations.test_commands import Manage, manage  # noqa: F401 - a fixture
from tests.integrations.test_documents import EXAMPLE
from tests.integrations.test_sealed import new_key, put, sealed_bytes
from tests.integrations.test_tokens import oauth2, signed
from tests.racing import race

pytestmark = pytest.mark.django_db


@pytest.fixture
def office() -> Iterator[Simulated]:
    with simulated() as office:
        yield office


@pytest.fixture
def three(office: Simulated) -> list[Connection]:
    """Two connections with a token as secret, and one whose access token is kept too: four sealed values."""
    connections = [save_connection(EXAMPLE | {"slug": slug})[0] for slug in ("one", "two")]
    third, _ = save_connection(oauth2(office.url) | {"slug": "three"})
    signed(third)
    return [*connections, third]


def secrets() -> list[dict[str, Any]]:
    return [connection.secrets for connection in Connection.objects.order_by("pk")]


def add_key(settings: Any) -> None:
    settings.CREDENTIAL_KEYS = [new_key(), *settings.CREDENTIAL_KEYS]


# --- what it does -----------------------------------------------------------------------------------------


def test_every_value_is_sealed_anew_and_the_old_key_can_leave(
    three: list[Connection],
    settings: Any,
    manage: Manage,
    office: Simulated,
) -> None:
    before, token = secrets(), signed(three[2])
    add_key(settings)
    said = manage("rotate_credentials")
    assert (said.status, said.data) == (
        0,
        {"status": "done", "reason": "", "rotated": 4, "current": 0, "unreadable": []},
    )
    settings.CREDENTIAL_KEYS = settings.CREDENTIAL_KEYS[:1]
    assert secrets() == before
    assert signed(three[2]) == token
    assert office.system.tokens.given == 1


def test_a_second_rotation_finds_nothing_to_do(three: list[Connection], settings: Any) -> None:
    add_key(settings)
    rotate_credentials()
    sealed = [sealed_bytes(connection) for connection in three]
    again = rotate_credentials()
    assert (again.rotated, again.current, again.unreadable) == (0, 4, [])
    assert [sealed_bytes(connection) for connection in three] == sealed


def test_nothing_of_a_row_but_its_secrets_is_written(three: list[Connection], settings: Any) -> None:
    columns = ("name", "changed_at", "changed_by", "enabled")
    before = list(Connection.objects.values_list(*columns))
    add_key(settings)
    rotate_credentials()
    assert list(Connection.objects.values_list(*columns)) == before


def test_a_rotation_that_is_broken_off_goes_on_where_it_ended(
    three: list[Connection], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_key(settings)
    calls: list[str] = []

    def breaking(value: object, place: str) -> bytes:
        calls.append(place)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return seal(value, place)

    monkeypatch.setattr(rotation, "seal", breaking)
    with pytest.raises(KeyboardInterrupt):
        rotate_credentials()
    monkeypatch.undo()
    rest = rotate_credentials()
    assert (rest.rotated, rest.current) == (2, 2)


def test_each_connection_has_it_in_its_trail(three: list[Connection], settings: Any) -> None:
    add_key(settings)
    rotate_credentials()
    events = AuditEvent.objects.filter(action="connection.secrets_resealed")
    assert events.count() == 4
    assert "the-token" not in str(list(events.values()))


def test_a_value_that_was_sealed_with_the_older_key_meanwhile_is_caught_by_the_next_look(
    three: list[Connection], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = list(settings.CREDENTIAL_KEYS)
    add_key(settings)
    newer = settings.CREDENTIAL_KEYS
    look_at, late = rotation._look_at, list[bool]()

    def looking(*arguments: Any) -> None:
        look_at(*arguments)
        if not late:  # a process that was started before writes the first row again
            late.append(True)
            settings.CREDENTIAL_KEYS = older
            fresh = Connection.objects.get(slug="one")
            settings.CREDENTIAL_KEYS = newer
            value = fresh.secrets
            settings.CREDENTIAL_KEYS = older
            fresh.secrets = value
            fresh.save()
            settings.CREDENTIAL_KEYS = newer

    monkeypatch.setattr(rotation, "_look_at", looking)
    done = rotate_credentials()
    assert (done.rotated, done.unreadable) == (5, [])
    assert all(is_of_newest_key(sealed_bytes(connection)) for connection in three)


# --- what does not open -----------------------------------------------------------------------------------


def test_a_value_that_no_key_opens_is_named_and_the_others_are_sealed_anew(
    three: list[Connection],
    settings: Any,
    manage: Manage,
) -> None:
    broken = b"\x01" + os.urandom(60)
    put(three[0], broken)
    add_key(settings)
    said = manage("rotate_credentials")
    assert (said.status, said.data["status"], said.data["rotated"]) == (1, "failed", 3)
    (named,) = said.data["unreadable"]
    assert (named["table"], named["column"], named["id"]) == (
        "integrations_connection",
        "secrets",
        three[0].pk,
    )
    assert "CREDENTIAL_KEYS does not hold" in named["reason"]
    assert "leave the older keys" in said.data["reason"]
    assert "the-token" not in str(said.data)
    assert sealed_bytes(three[0]) == broken


def test_a_value_of_the_newest_key_that_was_tampered_with_is_named_too(three: list[Connection]) -> None:
    sealed = sealed_bytes(three[1])
    put(three[1], sealed[:-1] + bytes([sealed[-1] ^ 1]))
    assert [named.id for named in rotate_credentials().unreadable] == [three[1].pk]


def test_a_ring_that_is_none_is_refused_before_anything_is_touched(
    three: list[Connection],
    settings: Any,
    manage: Manage,
) -> None:
    sealed = sealed_bytes(three[0])
    settings.CREDENTIAL_KEYS = ["short", *settings.CREDENTIAL_KEYS]
    with pytest.raises(ImproperlyConfigured):
        rotate_credentials()
    assert manage("rotate_credentials").status == 1
    assert sealed_bytes(three[0]) == sealed


def test_a_wrong_key_is_a_hard_error_wherever_a_secret_is_needed(
    feed: Feed, connection: Connection, office: Simulated, settings: Any
) -> None:
    tokened, _ = save_connection(oauth2(office.url) | {"slug": "tokened"})
    signed(tokened)
    feed.awards = [award(1)]
    with_key, settings.CREDENTIAL_KEYS = settings.CREDENTIAL_KEYS, [new_key()]
    assert "CREDENTIAL_KEYS does not hold" in sync_stream(connection.streams.get()).reason
    assert not try_connection(Connection.objects.get(slug="financial-aid"))[0].is_good
    assert len(rotate_credentials().unreadable) == 3
    assert feed.requests == []
    # The access token is no exception, though another one could be had.
    settings.CREDENTIAL_KEYS = with_key
    row = ConnectionToken.objects.get()
    ConnectionToken.objects.update(sealed=b"\x01" + os.urandom(60))
    with pytest.raises(SealBroken, match="CREDENTIAL_KEYS does not hold"):
        signed(tokened)
    save_connection(oauth2(office.url) | {"slug": "tokened"})  # the secret is entered again
    assert signed(tokened) == f"Bearer sim-token-1-{office.system.tokens.given}"
    assert not ConnectionToken.objects.filter(pk=row.pk).exists()


# --- while others write -----------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_rotation_and_an_edit_at_the_same_moment_lose_nothing_of_each_other(settings: Any) -> None:
    connection, _ = save_connection(EXAMPLE)
    add_key(settings)
    edited = EXAMPLE | {"auth": {"type": "bearer", "token": "the-new-token"}}
    outcomes = race(connection, [rotate_credentials, lambda: save_connection(edited)])
    assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    settings.CREDENTIAL_KEYS = settings.CREDENTIAL_KEYS[:1]
    assert Connection.objects.get().secrets["auth"] == {"token": "the-new-token"}
    database.close()


def test_the_settings_form_does_not_write_back_the_secrets_that_it_read(
    connection: Connection, administrator: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_key(settings)
    save = Connection.save

    def rotating(self: Connection, **arguments: Any) -> None:
        rotate_credentials()  # between the form's reading and its writing
        save(self, **arguments)

    monkeypatch.setattr(Connection, "save", rotating)
    form = {"name": "Another name", "enabled": "on", "every_minutes": "60"}
    administrator.post(f"/admin/integrations/connection/{connection.pk}/change/", form)
    fresh = Connection.objects.get()
    assert fresh.name == "Another name"
    assert is_of_newest_key(sealed_bytes(fresh))
