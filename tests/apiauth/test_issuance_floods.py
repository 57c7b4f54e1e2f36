"""A client that gets a token for each of its requests does not fill the trail, and every token can be counted from it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from oauth2_provider.models import AccessToken

import audit
from audit.floods import write_floods
from audit.models import AuditEvent, EventFlood
from tests.apiauth.conftest import Ask, MakePartner

GRANT = {"grant_type": "client_credentials"}
TokenOf = Callable[..., str]


def minute_is_over() -> None:
    EventFlood.objects.update(ends_at=timezone.now())


def issuances() -> list[int]:
    """How many issuances each event stands for, oldest first."""
    events = AuditEvent.objects.filter(action="token.issued").order_by("id")
    return [event.detail.get("times", 1) for event in events]


@pytest.mark.django_db
def test_tokens_of_one_minute_from_one_address_are_one_event_and_a_count(
    partner: MakePartner, token_of: TokenOf
) -> None:
    housing = partner()
    tokens = {token_of(housing) for _ in range(12)}
    assert len(tokens) == AccessToken.objects.count() == 12
    assert issuances() == [1]
    minute_is_over()
    write_floods()
    assert issuances() == [1, 11]
    first, count = AuditEvent.objects.filter(action="token.issued").order_by("id")
    assert (count.actor_kind, count.actor_name, count.address) == (
        "consumer",
        "Housing office",
        first.address,
    )
    assert count.subject_id == str(housing.consumer.pk)
    assert count.request_id != first.request_id


@pytest.mark.django_db
def test_the_next_minute_begins_with_an_event_of_its_own(partner: MakePartner, token_of: TokenOf) -> None:
    housing = partner()
    for _ in range(3):
        token_of(housing)
    minute_is_over()  # and no worker has come by
    for _ in range(2):
        token_of(housing)
    assert issuances() == [1, 2, 1]
    minute_is_over()
    write_floods()
    assert sum(issuances()) == AccessToken.objects.count() == 5


@pytest.mark.django_db
def test_each_consumer_and_each_address_is_counted_for_itself(ask: Ask, partner: MakePartner) -> None:
    for who in (partner(), partner("Library")):
        for address in ("192.0.2.1", "192.0.2.2"):
            for _ in range(2):
                ask("/oauth/token/", GRANT, who.basic, REMOTE_ADDR=address)
    events = AuditEvent.objects.filter(action="token.issued")
    assert events.values("subject_id", "address").distinct().count() == events.count() == 4


@pytest.mark.django_db
def test_a_client_that_revokes_what_it_gets_is_counted_too(
    ask: Ask, partner: MakePartner, token_of: TokenOf
) -> None:
    housing = partner()
    for _ in range(4):
        ask("/oauth/revoke_token/", {"token": token_of(housing)}, housing.basic)
    minute_is_over()
    write_floods()
    revoked = AuditEvent.objects.filter(action="token.revoked").order_by("id")
    assert [event.detail.get("times", 1) for event in revoked] == [1, 3]


@pytest.mark.django_db
def test_a_token_that_could_not_be_put_on_the_trail_is_not_given_out(
    partner: MakePartner, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    housing = partner()

    def unwritable(*_: object, **__: object) -> None:
        raise DatabaseError("no room")

    monkeypatch.setattr("audit.record_or_count", unwritable)
    assert ask("/oauth/token/", GRANT, housing.basic).status_code == 500
    assert not AccessToken.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_token_that_could_not_be_kept_is_not_counted(
    partner: MakePartner, ask: Ask, token_of: TokenOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    housing = partner()
    monkeypatch.setattr("apiauth.oauth.tokens.token_digest", lambda _: "0" * 64)  # of which there can be one
    token_of(housing)
    assert ask("/oauth/token/", GRANT, housing.basic).status_code == 500
    assert AccessToken.objects.count() == sum(issuances()) == 1
    assert EventFlood.objects.get().times == 0


@pytest.mark.django_db(transaction=True)
def test_a_token_that_is_one_more_of_its_minute_is_kept_and_counted_by_one_statement(
    partner: MakePartner, token_of: TokenOf
) -> None:
    housing = partner()
    token_of(housing)
    with CaptureQueriesContext(connection) as statements:
        token_of(housing)
    # Who asks, and the token with its count. SQLite, which is in this process, takes no such statement: it has BEGIN, INSERT,
    # the count and COMMIT.
    assert len(statements) == (2 if connection.vendor == "postgresql" else 5)


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_each_is_counted_and_one_is_the_event(partner: MakePartner) -> None:
    housing = partner()

    def get_token(_: int) -> int:
        try:
            form = urlencode(GRANT)
            answer: Any = Client(headers={"Authorization": housing.basic}).post(
                "/oauth/token/", form, content_type="application/x-www-form-urlencoded"
            )
            return int(answer.status_code)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(get_token, range(40))) == {200}
    minute_is_over()
    write_floods()
    assert sum(issuances()) == AccessToken.objects.count() == 40
    assert len(issuances()) == 2


@pytest.mark.django_db
def test_a_count_is_undone_with_what_it_counted(partner: MakePartner) -> None:
    consumer = partner().consumer
    audit.record_or_count("token.issued", consumer)
    with transaction.atomic():
        audit.record_or_count("token.issued", consumer)
        transaction.set_rollback(True)
    assert EventFlood.objects.get(subject_id=str(consumer.pk)).times == 0
