"""`/oauth/revoke_token/` and `/oauth/introspect/`: a consumer's own tokens, and nobody else's."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from oauth2_provider.models import AccessToken

from apiauth import operations
from apiauth.models import Consumer
from tests.apiauth.conftest import Ask, MakePartner, basic

pytestmark = pytest.mark.django_db

REVOKE = "/oauth/revoke_token/"
INTROSPECT = "/oauth/introspect/"
TokenOf = Callable[..., str]


def introspected(ask: Ask, token: str, auth: str) -> Any:
    answer: Any = ask(INTROSPECT, {"token": token}, auth)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    return answer.json()


def test_a_token_that_works_is_active(ask: Ask, partner: MakePartner, token_of: TokenOf) -> None:
    housing = partner(scopes=["calendar:read", "sections:read"])
    found = introspected(ask, token_of(housing, "calendar:read"), housing.basic)
    kept = AccessToken.objects.get()
    assert found == {
        "active": True,
        "scope": "calendar:read",
        "client_id": housing.consumer.client_id,
        "sub": housing.consumer.client_id,
        "token_type": "Bearer",
        "exp": int(kept.expires.timestamp()),
        "iat": int(kept.created.timestamp()),
    }


def test_a_scope_that_was_taken_back_is_no_longer_told(
    ask: Ask, partner: MakePartner, token_of: TokenOf
) -> None:
    housing = partner(scopes=["calendar:read", "sections:read"])
    token = token_of(housing)
    Consumer.objects.update(scope="calendar:read")
    assert introspected(ask, token, housing.basic)["scope"] == "calendar:read"


def test_another_s_unknown_expired_and_revoked_tokens_all_look_the_same(
    ask: Ask, partner: MakePartner, token_of: TokenOf
) -> None:
    housing, library = partner(), partner("Library")
    expired, revoked = token_of(housing), token_of(housing)
    AccessToken.objects.order_by("pk").filter(pk=AccessToken.objects.earliest("pk").pk).update(
        expires=timezone.now()
    )
    ask(REVOKE, {"token": revoked}, housing.basic)
    for token in (token_of(library), "unknown", expired, revoked, "%00", "%C3%A9"):
        assert introspected(ask, token, housing.basic) == {"active": False}


@pytest.mark.parametrize("url", [REVOKE, INTROSPECT])
def test_both_need_a_client_that_proves_who_it_is(
    ask: Ask, partner: MakePartner, token_of: TokenOf, url: str
) -> None:
    housing = partner()
    token = token_of(housing)
    for auth in (None, basic(housing.consumer.client_id, "wrong"), f"Bearer {token}"):
        answer: Any = ask(url, {"token": token}, auth)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")
    named: Any = ask(url, {"token": token, "client_id": housing.consumer.client_id})
    assert named.status_code == 401
    assert AccessToken.objects.count() == 1


@pytest.mark.parametrize("url", [REVOKE, INTROSPECT])
def test_both_take_only_a_posted_form(client: Client, ask: Ask, partner: MakePartner, url: str) -> None:
    housing = partner()
    asked: Any = client.get(f"{url}?token=x", headers={"Authorization": housing.basic})
    assert (asked.status_code, asked.headers["Allow"]) == (405, "POST")
    in_address: Any = ask(f"{url}?token=x", {}, housing.basic)
    assert (in_address.status_code, in_address.json()["error"]) == (400, "invalid_request")
    nothing: Any = ask(url, {}, housing.basic)
    assert (nothing.status_code, nothing.json()["error"]) == (400, "invalid_request")
    assert nothing.json()["error_description"]


@pytest.mark.parametrize("hint", ["", "access_token", "refresh_token", "anything"])
def test_a_revoked_token_ends_at_once_and_revoking_it_again_does_no_harm(
    ask: Ask, client: Client, partner: MakePartner, token_of: TokenOf, hint: str
) -> None:
    housing = partner()
    token, other = token_of(housing), token_of(housing)
    for _ in range(2):
        answer = ask(REVOKE, {"token": token, "token_type_hint": hint}, housing.basic)
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
        assert client.get("/api/v1/terms/", headers={"Authorization": f"Bearer {token}"}).status_code == 401
    assert client.get("/api/v1/terms/", headers={"Authorization": f"Bearer {other}"}).status_code == 200


def test_an_unknown_token_revokes_with_200(ask: Ask, partner: MakePartner) -> None:
    assert ask(REVOKE, {"token": "unknown"}, partner().basic).status_code == 200


def test_another_consumer_s_token_cannot_be_revoked(
    ask: Ask, client: Client, partner: MakePartner, token_of: TokenOf
) -> None:
    housing, library = partner(), partner("Library")
    token = token_of(library)
    assert ask(REVOKE, {"token": token}, housing.basic).status_code == 200
    assert client.get("/api/v1/terms/", headers={"Authorization": f"Bearer {token}"}).status_code == 200


def test_a_suspended_consumer_does_neither(ask: Ask, partner: MakePartner, token_of: TokenOf) -> None:
    housing = partner()
    token = token_of(housing)
    operations.suspend(housing.consumer)
    for url in (REVOKE, INTROSPECT):
        assert ask(url, {"token": token}, housing.basic).status_code == 401


def test_tokens_whose_hour_is_over_are_forgotten(partner: MakePartner, token_of: TokenOf) -> None:
    housing = partner()
    token_of(housing), token_of(housing)
    AccessToken.objects.filter(pk=AccessToken.objects.earliest("pk").pk).update(
        expires=timezone.now() - datetime.timedelta(seconds=1)
    )
    assert operations.remove_expired_tokens() == 1
    assert AccessToken.objects.count() == 1
