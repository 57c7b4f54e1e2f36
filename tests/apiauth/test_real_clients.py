"""The two libraries that Python programs use for OAuth complete the flow against a running server."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from django.conf import settings as project
from oauthlib.oauth2 import BackendApplicationClient
from pytest_django.fixtures import Settings
from pytest_django.live_server_helper import LiveServer
from requests_oauthlib import OAuth2Session

from tests.apiauth.conftest import MakePartner
from tests.university import make_terms

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def address(live_server: LiveServer, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> str:
    settings.BASE_URL = live_server.url
    # oauthlib refuses plain http unless it is told that this is a test on one machine.
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    make_terms()
    return str(live_server.url)


def test_requests_oauthlib_completes_the_flow(address: str, partner: MakePartner) -> None:
    housing = partner(scopes=["calendar:read", "sections:read"])
    client_id = housing.consumer.client_id
    with OAuth2Session(
        client=BackendApplicationClient(client_id=client_id, scope=["calendar:read"])
    ) as session:
        token = session.fetch_token(
            f"{address}/oauth/token/", client_id=client_id, client_secret=housing.secret
        )
        assert (token["scope"], token["expires_in"]) == (["calendar:read"], 3600)
        assert len(session.get(f"{address}/api/v1/terms/").json()["results"]) == 2


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_authlib_completes_the_flow_from_discovery_to_revocation(
    address: str, partner: MakePartner, method: str
) -> None:
    housing = partner(scopes=["calendar:read"])
    server = requests.get(f"{address}/.well-known/oauth-authorization-server", timeout=10).json()
    assert method in server["token_endpoint_auth_methods_supported"]
    with AuthlibSession(
        housing.consumer.client_id,
        housing.secret,
        scope="calendar:read",
        token_endpoint_auth_method=method,
        revocation_endpoint_auth_method=method,
    ) as session:
        token = session.fetch_token(server["token_endpoint"], grant_type="client_credentials")
        assert session.get(f"{address}/api/v1/terms/2026FA/").json()["code"] == "2026FA"
        told = session.introspect_token(server["introspection_endpoint"], token["access_token"])
        assert told.json()["active"] is True
        assert session.revoke_token(server["revocation_endpoint"], token["access_token"]).status_code == 200
        assert session.get(f"{address}/api/v1/terms/").status_code == 401


def test_the_metadata_names_what_is_served_and_nothing_else(address: str) -> None:
    server: dict[str, Any] = requests.get(
        f"{address}/.well-known/oauth-authorization-server", timeout=10
    ).json()
    assert server["issuer"] == project.BASE_URL == address
    assert server["grant_types_supported"] == ["client_credentials"]
    assert server["response_types_supported"] == []
    assert not {"authorization_endpoint", "registration_endpoint", "jwks_uri", "userinfo_endpoint"} & set(
        server
    )
    for name in ("token_endpoint", "revocation_endpoint", "introspection_endpoint"):
        assert server[name].startswith(f"{address}/oauth/")
        assert requests.post(server[name], timeout=10).status_code in (400, 401)


def test_no_host_that_a_caller_names_is_in_the_metadata(address: str) -> None:
    answer = requests.get(
        f"{address}/.well-known/oauth-authorization-server", headers={"Host": "localhost"}, timeout=10
    )
    assert answer.json()["issuer"] == address
    evil = requests.get(f"{address}/oauth/token/", headers={"Host": "evil.example"}, timeout=10)
    assert (evil.status_code, evil.headers["Content-Type"]) in (
        (400, "application/json"),
        (405, "application/json"),
    )


def test_nothing_of_the_toolkit_s_other_endpoints_is_mounted(address: str) -> None:
    names = ("authorize", "device-authorization", "device", "applications", "authorized_tokens", "register")
    for name in (*names, "userinfo", "logout", ".well-known/openid-configuration", ".well-known/jwks.json"):
        for path in (f"/oauth/{name}/", f"/oauth/{name}", f"/o/{name}/", f"/{name}"):
            assert requests.get(f"{address}{path}", timeout=10, allow_redirects=True).status_code == 404, path
