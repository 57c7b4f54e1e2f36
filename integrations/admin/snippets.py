"""What a partner's engineer pastes to make a first call: curl, Python, and a collection for Postman."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from django.conf import settings

from apiauth.operations import Credentials
from apiauth.scopes import SCOPES


@dataclass(frozen=True)
class Snippet:
    """One way to call: what it is called, what to do with it, and its text."""

    title: str
    hint: str
    text: str


def snippets_for(made: Credentials) -> list[Snippet]:
    """The snippets of a consumer, with its secret in them; the call they end in is one that its scopes open."""
    address = _example(made)
    return [
        Snippet("curl", "Paste it into a shell.", _curl(made, address)),
        Snippet("Python", "Save it and run it; it needs the package requests.", _python(made, address)),
        Snippet("Postman", "Import, Raw text; then send the two requests in order.", _postman(made, address)),
    ]


def _example(made: Credentials) -> str:
    """An address that one of the consumer's scopes opens; the token's own state where none does yet."""
    return next((SCOPES[scope].example for scope in made.consumer.scopes if SCOPES[scope].example), "")


def _curl(made: Credentials, address: str) -> str:
    token = (
        f"curl -s -u '{made.consumer.client_id}:{made.secret}' \\\n"
        f"  -d grant_type=client_credentials {settings.BASE_URL}/oauth/token/"
    )
    if not address:
        return token + "\n"
    return (
        f'TOKEN=$({token} \\\n  | sed \'s/.*"access_token": *"\\([^"]*\\)".*/\\1/\')\n'
        f'curl -s -H "Authorization: Bearer $TOKEN" {settings.BASE_URL}{address}\n'
    )


def _python(made: Credentials, address: str) -> str:
    ending = (
        f'answer = requests.get(\n    BASE + "{address}",\n    headers={{"Authorization": f"Bearer {{token}}"}},\n'
        "    timeout=30,\n)\nanswer.raise_for_status()\nprint(answer.json())\n"
        if address
        else 'print("A token of", len(token), "characters, for an hour.")\n'
    )
    return (
        "import requests\n\n"
        f'BASE = "{settings.BASE_URL}"\n'
        f'CLIENT = ("{made.consumer.client_id}", "{made.secret}")\n\n'
        "answer = requests.post(\n"
        '    BASE + "/oauth/token/",\n    data={"grant_type": "client_credentials"},\n    auth=CLIENT,\n    timeout=30,\n)\n'
        'answer.raise_for_status()\ntoken = answer.json()["access_token"]\n\n' + ending
    )


def _postman(made: Credentials, address: str) -> str:
    """A collection of format 2.1: the first request keeps the token, the second one sends it."""
    asking: dict[str, Any] = {
        "name": "1. Get a token",
        "event": [
            {
                "listen": "test",
                "script": {"exec": ['pm.collectionVariables.set("token", pm.response.json().access_token);']},
            }
        ],
        "request": {
            "method": "POST",
            "url": "{{base}}/oauth/token/",
            "auth": {
                "type": "basic",
                "basic": [
                    {"key": "username", "value": "{{client_id}}", "type": "string"},
                    {"key": "password", "value": "{{client_secret}}", "type": "string"},
                ],
            },
            "body": {
                "mode": "urlencoded",
                "urlencoded": [{"key": "grant_type", "value": "client_credentials", "type": "text"}],
            },
        },
    }
    calling = {
        "name": f"2. GET {address}",
        "request": {
            "method": "GET",
            "url": "{{base}}" + address,
            "auth": {"type": "bearer", "bearer": [{"key": "token", "value": "{{token}}", "type": "string"}]},
        },
    }
    variables = {
        "base": settings.BASE_URL,
        "client_id": made.consumer.client_id,
        "client_secret": made.secret,
        "token": "",
    }
    collection = {
        "info": {
            "name": f"{made.consumer.name}: registration API",
            "schema": "https://schema.getpostman.com/json/collection/v2.1.0/collection.json",
        },
        "variable": [{"key": key, "value": value} for key, value in variables.items()],
        "item": [asking, calling] if address else [asking],
    }
    return orjson.dumps(collection, option=orjson.OPT_INDENT_2).decode()
