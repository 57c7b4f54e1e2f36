"""The API's contests: a page of 100 out of 2,000 sections, and tokens."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson
from django.conf import settings
from django.test import Client

from integrations.management.benchmarks.catalogue import TOKEN, Keys
from integrations.management.benchmarks.contest import PRODUCT, Contestant, Effort, lines_of
from integrations.management.benchmarks.load import Load
from integrations.management.benchmarks.servers import PEERS, Server

SMALL_PAGE: Final = 4
_BEARER: Final = f"Bearer {TOKEN}"
_PRODUCT: Final = Server("config.wsgi")


def page_lines(environment: Mapping[str, str], effort: Effort) -> Iterator[dict[str, Any]]:
    """A token, a scope, a limit and a page of 100 sections, beside a plain ModelViewSet and a fast hand-written server."""
    product = Load(_addresses("/api/v1/sections/"), _BEARER)
    numbered = [f"/sections/?page={place + 1}" for place in range(len(product.paths))]

    def results(body: Any) -> Any:
        return body["results"]

    def peer(name: str, server: Server) -> Contestant:
        return Contestant(name, server, Load(numbered, _BEARER), results)

    return lines_of(
        "api",
        [
            Contestant(PRODUCT, _PRODUCT, product, results),
            peer("plain DRF", Server(f"{PEERS}.plain_drf:application")),
            peer("FastAPI and asyncpg", Server(f"{PEERS}.fast_asgi:application", is_asgi=True)),
        ],
        environment,
        effort,
    )


def depth_lines(environment: Mapping[str, str], effort: Effort) -> Iterator[dict[str, Any]]:
    """The first page of a list and its 500th, by pages of four: a ratio of 1 says that depth costs nothing."""
    pages = _addresses(f"/api/v1/sections/?page_size={SMALL_PAGE}")

    def size(body: Any) -> int:
        return len(body["results"])

    return lines_of(
        "api_depth",
        [
            Contestant(PRODUCT, _PRODUCT, Load(pages[:1], _BEARER), size),
            Contestant("page 500", _PRODUCT, Load(pages[499:500], _BEARER), size),
        ],
        environment,
        effort,
    )


def token_lines(keys: Keys, environment: Mapping[str, str], effort: Effort) -> Iterator[dict[str, Any]]:
    """Issuing a token, beside the least that can be done."""
    basic = base64.b64encode(f"{keys.client_id}:{keys.client_secret}".encode()).decode()
    load = Load(["/oauth/token/"], f"Basic {basic}", form="grant_type=client_credentials")

    def without_token(body: Any) -> Any:
        return {name: value for name, value in body.items() if name != "access_token"}

    return lines_of(
        "token",
        [
            Contestant(PRODUCT, _PRODUCT, load, without_token),
            Contestant("raw WSGI", Server(f"{PEERS}.raw_token:application"), load, without_token),
        ],
        environment,
        effort,
    )


def _addresses(first: str) -> list[str]:
    """Every page of a list: the product names the next one itself."""
    client = Client(headers={"Authorization": _BEARER}, SERVER_NAME="127.0.0.1")
    addresses = [first]
    while following := orjson.loads(client.get(addresses[-1]).content)["next"]:
        addresses.append(following.removeprefix(settings.BASE_URL))
    return addresses
