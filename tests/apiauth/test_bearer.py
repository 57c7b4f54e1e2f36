"""Bearer tokens at the API, to the letter of RFC 6750, and felt by the very next request."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from oauth2_provider.models import AccessToken
from pytest_django import DjangoAssertNumQueries

from apiauth import operations
from apiauth.models import Consumer
from tests.apiauth.conftest import Ask, MakePartner
from tests.university import make_terms

pytestmark = pytest.mark.django_db

URL = "/api/v1/terms/"
TokenOf = Callable[..., str]
INVALID = 'Bearer realm="api", error="invalid_token"'


def get(client: Client, token: str | None, url: str = URL, **extra: Any) -> Any:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return client.get(url, headers=headers, **extra)


def refused(answer: Any, status: int, challenge: str) -> None:
    """The answer is a problem of RFC 9457 with this challenge."""
    assert answer.status_code == status, answer.content
    assert answer.headers["WWW-Authenticate"] == challenge
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == answer.headers["X-Request-Id"]


def test_a_token_opens_what_its_scope_is_for(client: Client, partner: MakePartner, token_of: TokenOf) -> None:
    make_terms()
    answer = get(client, token_of(partner(scopes=["calendar:read"])))
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json()["results"][1] == {
        "code": "2026FA",
        "name": "Fall 2026",
        "starts_on": "2026-08-24",
        "ends_on": "2026-12-18",
        "census_on": "2026-09-11",
        "is_current": True,
    }
    assert [term["code"] for term in answer.json()["results"]] == ["2027SP", "2026FA"]


def test_one_term_and_one_that_is_not_there(client: Client, partner: MakePartner, token_of: TokenOf) -> None:
    make_terms()
    token = token_of(partner())
    assert get(client, token, f"{URL}2027SP/").json()["name"] == "Spring 2027"
    missing = get(client, token, f"{URL}1999FA/")
    assert (missing.status_code, missing.headers["Content-Type"]) == (404, "application/problem+json")


def test_without_a_token_the_challenge_has_no_error_code(client: Client) -> None:
    refused(get(client, None), 401, 'Bearer realm="api"')
    answer = client.get(URL, headers={"Authorization": "Basic YTpi"})
    refused(answer, 401, 'Bearer realm="api"')


@pytest.mark.parametrize("token", ["", "unknown", "two words", "\u00e9", "x" * 9000, "a\x01b", "%00"])
def test_a_bad_token_is_invalid(client: Client, db: None, token: str) -> None:
    refused(client.get(URL, HTTP_AUTHORIZATION=f"Bearer {token}"), 401, INVALID)


def test_the_scheme_is_read_in_any_case_of_letters(
    client: Client, partner: MakePartner, token_of: TokenOf
) -> None:
    answer = client.get(URL, headers={"Authorization": f"bearer {token_of(partner())}"})
    assert answer.status_code == 200


def test_an_expired_token_is_invalid(client: Client, partner: MakePartner, token_of: TokenOf) -> None:
    token = token_of(partner())
    AccessToken.objects.update(expires=timezone.now())
    refused(get(client, token), 401, INVALID)


def test_suspending_resuming_and_revoking_are_felt_by_the_very_next_request(
    client: Client, partner: MakePartner, token_of: TokenOf
) -> None:
    housing = partner()
    token = token_of(housing)
    operations.suspend(housing.consumer)
    refused(get(client, token), 401, INVALID)
    operations.resume(housing.consumer)
    assert get(client, token).status_code == 200
    operations.revoke(housing.consumer)
    refused(get(client, token), 401, INVALID)


def test_a_consumer_past_its_last_day_is_refused_and_works_through_that_day(
    client: Client, partner: MakePartner, token_of: TokenOf
) -> None:
    token, today = token_of(partner()), timezone.localdate()
    Consumer.objects.update(expires_on=today)
    assert get(client, token).status_code == 200
    Consumer.objects.update(expires_on=today - datetime.timedelta(days=1))
    refused(get(client, token), 401, INVALID)


def test_a_scope_that_is_missing_is_named(client: Client, partner: MakePartner, token_of: TokenOf) -> None:
    challenge = 'Bearer realm="api", error="insufficient_scope", scope="calendar:read"'
    refused(get(client, token_of(partner(scopes=["sections:read"]))), 403, challenge)
    library = partner("Library", scopes=["calendar:read", "sections:read"])
    refused(get(client, token_of(library, "sections:read")), 403, challenge)


def test_a_scope_that_is_taken_back_is_felt_by_tokens_that_have_it(
    client: Client, partner: MakePartner, token_of: TokenOf
) -> None:
    token = token_of(partner())
    Consumer.objects.update(scope="sections:read")
    assert get(client, token).status_code == 403


def test_a_scope_that_is_given_is_not_had_by_tokens_made_before(
    client: Client, partner: MakePartner, token_of: TokenOf
) -> None:
    token = token_of(partner(scopes=["sections:read"]))
    Consumer.objects.update(scope="sections:read calendar:read")
    assert get(client, token).status_code == 403


def test_a_token_in_the_address_is_refused_also_beside_a_good_one(
    client: Client, partner: MakePartner, token_of: TokenOf
) -> None:
    token = token_of(partner())
    refused(get(client, None, f"{URL}?access_token={token}"), 401, 'Bearer realm="api"')
    refused(get(client, token, f"{URL}?access_token={token}"), 401, 'Bearer realm="api"')


def test_a_token_in_a_posted_form_is_not_read(
    client: Client, partner: MakePartner, token_of: TokenOf
) -> None:
    answer = client.post(URL, {"access_token": token_of(partner())})
    refused(answer, 401, 'Bearer realm="api"')


def test_bearer_failures_are_never_throttled(client: Client, partner: MakePartner, token_of: TokenOf) -> None:
    token = token_of(partner())
    assert {get(client, "wrong").status_code for _ in range(40)} == {401}
    assert get(client, token).status_code == 200


def test_token_and_consumer_are_one_statement(
    client: Client,
    partner: MakePartner,
    token_of: TokenOf,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    make_terms()
    token = token_of(partner())
    with django_assert_num_queries(1):  # which reads the terms too
        assert get(client, token).status_code == 200


def test_a_consumer_calls_from_its_networks_alone(
    client: Client, ask: Ask, partner: MakePartner, token_of: TokenOf
) -> None:
    housing = partner()
    token = token_of(housing)
    Consumer.objects.update(networks="192.0.2.0/24\n2001:db8::/32")
    refused(get(client, token), 401, INVALID)
    form = {"grant_type": "client_credentials"}
    refusal: Any = ask("/oauth/token/", form, housing.basic)
    assert (refusal.status_code, refusal.json()["error"]) == (401, "invalid_client")
    for address in ("192.0.2.200", "2001:db8::7"):
        assert get(client, token, REMOTE_ADDR=address).status_code == 200
        assert ask("/oauth/token/", form, housing.basic, REMOTE_ADDR=address).status_code == 200


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_another_method_is_405_with_allow(
    client: Client, partner: MakePartner, token_of: TokenOf, method: str
) -> None:
    headers = {"Authorization": f"Bearer {token_of(partner())}"}
    answer = getattr(client, method)(URL, headers=headers)
    assert (answer.status_code, answer.headers["Content-Type"]) == (405, "application/problem+json")
    assert "GET" in answer.headers["Allow"]


def test_no_address_below_the_api_answers_with_a_page(client: Client, db: None) -> None:
    for url in (
        "/api/v1/nothing/",
        "/api/",
        "/oauth/authorize/",
        "/oauth/",
        "/.well-known/openid-configuration",
    ):
        answer = client.get(url)
        assert answer.status_code == 404
        assert "json" in answer.headers["Content-Type"]
        assert b"<html" not in answer.content.lower()


def test_a_fault_of_ours_is_json_and_says_nothing_of_itself(
    client: Client, partner: MakePartner, token_of: TokenOf, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    housing = partner()
    token = token_of(housing)

    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("secret-detail")

    client.raise_request_exception = False
    monkeypatch.setattr("apiauth.authentication.find_caller", broken)
    answer = get(client, token)
    assert (answer.status_code, answer.headers["Content-Type"]) == (500, "application/problem+json")
    monkeypatch.setattr("apiauth.oauth.validator.credentials_of", broken)
    refusal: Any = ask("/oauth/token/", {"grant_type": "client_credentials"}, housing.basic)
    assert (refusal.status_code, refusal.json()["error"]) == (500, "server_error")
    assert b"secret-detail" not in answer.content + refusal.content
