"""What is thrown at the OAuth endpoints by whoever means no good: an answer in JSON with the right status, and no fault of ours."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from oauth2_provider.models import AccessToken
from pytest_django.fixtures import Settings

from apiauth import operations
from audit.models import AuditEvent
from tests.apiauth.conftest import Ask, MakePartner, basic
from tests.racing import race

FORM = "application/x-www-form-urlencoded"
GRANT = "grant_type=client_credentials"
ENDPOINTS = ("/oauth/token/", "/oauth/revoke_token/", "/oauth/introspect/")
TokenOf = Callable[..., str]


def assert_refused_in_json(answer: Any, *statuses: int) -> None:
    assert answer.status_code in statuses, answer.content
    assert answer.headers["Content-Type"] == "application/json"
    assert set(answer.json()) >= {"error"}
    assert answer.headers["Cache-Control"] == "no-store"


# --- bodies -----------------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe" + GRANT.encode("utf-16-le"),
        b"\x00" * 200,
        b"%",
        b"%zz=%zz",
        b"&" * 16_000,
        b"a=1&" * 4_000,
        b"=".join([b"grant_type"] * 1_000),
        "grant_type=client_credentials&token=ünïcode".encode(),
        b"--x\r\nContent-Disposition: form-data; name=grant_type\r\n\r\nclient_credentials\r\n--x--",
        b'{"grant_type": "client_credentials"}',
    ],
    ids=range(10),
)
def test_a_body_that_is_no_form_is_refused(
    client: Client, partner: MakePartner, path: str, body: bytes
) -> None:
    headers = {"Authorization": partner().basic}
    assert_refused_in_json(client.post(path, body, content_type=FORM, headers=headers), 400)
    assert not AccessToken.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("path", ENDPOINTS)
def test_a_body_of_any_length_is_not_read_to_its_end(client: Client, path: str) -> None:
    body = b"token=" + b"x" * 2_000_000
    assert_refused_in_json(client.post(path, body, content_type=FORM), 400)
    # A length that is a lie is no way around the limit: what is read is bounded by itself.
    assert_refused_in_json(client.post(path, body, content_type=FORM, CONTENT_LENGTH="20000"), 400)


@pytest.mark.django_db
@pytest.mark.parametrize("length", ["", "x", "-1", "1e3", "٣", "9" * 400])
def test_a_length_that_is_none_is_no_fault_of_ours(client: Client, length: str) -> None:
    answer = client.post("/oauth/token/", GRANT, content_type=FORM, CONTENT_LENGTH=length)
    assert_refused_in_json(answer, 400, 401)


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["grant_type", "client_id", "client_secret", "scope", "token"])
def test_no_parameter_may_be_there_twice(ask: Ask, partner: MakePartner, name: str) -> None:
    """RFC 6749, 3.2: which of the two would count is what an attacker wants to choose."""
    body = f"{GRANT}&{name}=a&{name}=b" if name != "grant_type" else f"{GRANT}&{GRANT}"
    assert_refused_in_json(ask("/oauth/token/", body, partner().basic), 400)


@pytest.mark.django_db
@pytest.mark.parametrize("charset", ["utf-16", "utf-7", "idna", "no-such-charset", '"', "rot13", "zlib"])
def test_a_charset_that_is_named_changes_nothing(client: Client, partner: MakePartner, charset: str) -> None:
    headers = {"Authorization": partner().basic}
    kind = f"{FORM}; charset={charset}"
    assert (
        client.generic("POST", "/oauth/token/", GRANT, content_type=kind, headers=headers).status_code == 200
    )


# --- credentials and tokens ---------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize(
    "text", ["%00", "%ED%A0%80", "%FF", "%F0%9F%92%A9", "%0D%0AX-Injected:%201", "%27--", "x" * 9000]
)
def test_no_text_in_any_place_is_a_fault_of_ours(ask: Ask, partner: MakePartner, text: str) -> None:
    housing = partner()
    for form in (
        f"{GRANT}&client_id={text}&client_secret={text}",
        f"{GRANT}&client_id={housing.consumer.client_id}&client_secret={text}",
        f"{GRANT}&scope={text}&client_id={housing.consumer.client_id}&client_secret={housing.secret}",
        f"grant_type={text}&client_id={housing.consumer.client_id}&client_secret={housing.secret}",
    ):
        assert_refused_in_json(ask("/oauth/token/", form), 400, 401)
    inactive: Any = ask("/oauth/introspect/", f"token={text}", housing.basic)
    assert (inactive.status_code, inactive.json()) == (200, {"active": False})
    assert ask("/oauth/revoke_token/", f"token={text}", housing.basic).status_code == 200
    assert "X-Injected" not in inactive.headers


@pytest.mark.django_db
@pytest.mark.parametrize(
    "header",
    ["Basic", "Basic \x00", "Basic =", "Basic Og==", "Basic " + "A" * 60_000, "Basic \u00e9", "Basic YTpi,Basic YTpi", "Bearer x", "Digest x", ", ,", "basic\tYTpi"],
    ids=range(11),
)  # fmt: skip
def test_an_authorization_header_of_any_kind_is_answered(ask: Ask, header: str) -> None:
    for path in ENDPOINTS:
        assert_refused_in_json(ask(path, f"{GRANT}&token=x", header), 401)


@pytest.mark.django_db
def test_a_client_id_is_nobody_else_s_by_its_letters(ask: Ask, partner: MakePartner) -> None:
    """A database that compares without regard to case, to trailing spaces or to what looks alike would let two be one."""
    housing = partner()
    client_id = housing.consumer.client_id
    for alike in (
        client_id.swapcase(),
        f"{client_id}%20",
        f"%20{client_id}",
        f"{client_id}%00",
        f"{client_id}%E2%80%8B",
    ):
        assert_refused_in_json(ask("/oauth/token/", GRANT, basic(alike, housing.secret)), 401, 429)


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/oauth/", "/oauth/authorize/", "/oauth/token/x", "/oauth/device/", "/.well-known/openid-configuration", "/oauth/%00", "/oauth/applications/register/"])  # fmt: skip
def test_nothing_else_is_there(client: Client, path: str) -> None:
    for method in ("GET", "POST"):
        assert_refused_in_json(client.generic(method, path), 404)


@pytest.mark.django_db
def test_another_host_is_refused_in_json(client: Client) -> None:
    client.raise_request_exception = False
    answer = client.post("/oauth/token/", GRANT, content_type=FORM, headers={"Host": "evil.example"})
    assert_refused_in_json(answer, 400)
    metadata: Any = client.get("/.well-known/oauth-authorization-server").json()
    assert "evil.example" not in str(metadata)


# --- where it comes from ------------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["HTTP_X_REAL_IP", "HTTP_FORWARDED", "HTTP_CF_CONNECTING_IP", "HTTP_TRUE_CLIENT_IP", "HTTP_X_CLIENT_IP", "HTTP_X_FORWARDED_FOR"])  # fmt: skip
def test_no_header_makes_a_caller_come_from_elsewhere(
    ask: Ask, partner: MakePartner, settings: Settings, name: str
) -> None:
    housing = partner(networks="192.0.2.0/24")
    settings.TRUSTED_PROXY_COUNT = 0
    forged = {name: "192.0.2.9", "REMOTE_ADDR": "198.51.100.7"}
    assert_refused_in_json(ask("/oauth/token/", GRANT, housing.basic, **forged), 401)
    settings.TRUSTED_PROXY_COUNT = 1
    # The one proxy of ours appends whom it heard, whatever the caller wrote before.
    heard = {**forged, "HTTP_X_FORWARDED_FOR": "192.0.2.9, 198.51.100.7", "REMOTE_ADDR": "10.0.0.1"}
    assert_refused_in_json(ask("/oauth/token/", GRANT, housing.basic, **heard), 401)
    assert set(AuditEvent.objects.filter(action="client.refused").values_list("address", flat=True)) == {
        "198.51.100.7"
    }


# --- at once ----------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_of_revocations_at_once_one_is_an_event(ask: Ask, partner: MakePartner, token_of: TokenOf) -> None:
    housing = partner()
    token = token_of(housing)

    def revoke() -> int:
        answer: Any = Client(headers={"Authorization": housing.basic}).post(
            "/oauth/revoke_token/", f"token={token}", content_type=FORM
        )
        return int(answer.status_code)

    assert race(AccessToken.objects.get(), [revoke] * 3) == [200] * 3
    assert AuditEvent.objects.filter(action="token.revoked").count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_token_that_is_asked_for_while_its_consumer_is_revoked_never_works(
    client: Client, partner: MakePartner
) -> None:
    housing = partner()

    def get_token() -> str:
        answer: Any = Client(headers={"Authorization": housing.basic}).post(
            "/oauth/token/", GRANT, content_type=FORM
        )
        return str(answer.json().get("access_token", ""))

    def revoke() -> str:
        operations.revoke(housing.consumer, reason="It leaked")
        return ""

    with_tokens = race_freely([get_token, get_token, revoke, get_token])
    for token in filter(None, with_tokens):
        answer = client.get("/api/v1/terms/", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401


def race_freely(acts: list[Callable[[], str]]) -> list[str]:
    """Do `acts` at once, each in a thread with a connection of its own."""

    def run(act: Callable[[], str]) -> str:
        try:
            return act()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))
