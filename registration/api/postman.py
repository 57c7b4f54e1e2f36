"""The API's document as a collection for Postman (format 2.1): a folder for each tag, a request for each operation, and with it
what it answers. Whoever imports it fills in three variables; Postman gets the token."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from itertools import groupby
from typing import Any, Final

import orjson

Document = Mapping[str, Any]

FORMAT: Final = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
VARIABLES: Final = {
    "base_url": ("https://registration.example.edu", "Where the API is"),
    "client_id": ("", "Of your consumer"),
    "client_secret": ("", "Of your consumer: keep it out of what you share"),
}
# How Postman gets a token and sends it; without a scope it gets all that the consumer has.
_CLIENT_CREDENTIALS: Final = {
    "grant_type": "client_credentials",
    "accessTokenUrl": "{{base_url}}/oauth/token/",
    "clientId": "{{client_id}}",
    "clientSecret": "{{client_secret}}",
    "client_authentication": "header",
    "addTokenTo": "header",
    "headerPrefix": "Bearer",
    "tokenName": "Matricula",
}
_JSON: Final = "application/json"


def collection_of(document: Document) -> dict[str, Any]:
    """The collection of an OpenAPI document. Raises KeyError where something in the document has no example."""
    items = [
        (operation["tags"][0], _item(document, path, method, operation))
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]
    items.sort(key=lambda tagged: tagged[0])
    return {
        "info": {
            "name": document["info"]["title"],
            "description": f"{document['info']['description']}\n\nFill in the collection's variables, then press Get New "
            "Access Token in its Authorization tab.",
            "schema": FORMAT,
        },
        "auth": {
            "type": "oauth2",
            "oauth2": [
                {"key": key, "value": value, "type": "string"} for key, value in _CLIENT_CREDENTIALS.items()
            ],
        },
        "variable": [
            {"key": key, "value": value, "type": "string", "description": words}
            for key, (value, words) in VARIABLES.items()
        ],
        "item": [
            {"name": tag, "item": [item for _, item in tagged]}
            for tag, tagged in groupby(items, key=lambda tagged: tagged[0])
        ],
    }


def as_json(collection: Mapping[str, Any]) -> str:
    """A collection as it is kept: the same text for the same collection."""
    return orjson.dumps(collection, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


def _item(document: Document, path: str, method: str, operation: Document) -> dict[str, Any]:
    request = _request(document, path, method, operation)
    return {
        "name": operation["summary"],
        "request": request,
        "response": list(_responses(document, request, operation)),
    }


def _request(document: Document, path: str, method: str, operation: Document) -> dict[str, Any]:
    request = {
        "method": method.upper(),
        "description": operation["description"],
        "url": _url(path, operation["parameters"]),
        "header": [],
    }
    if "requestBody" in operation:
        body = _example(document, operation["requestBody"]["content"][_JSON]["schema"])
        request["header"] = [{"key": "Content-Type", "value": _JSON}]
        request["body"] = {"mode": "raw", "raw": _text(body), "options": {"raw": {"language": "json"}}}
    return request


def _url(path: str, parameters: list[Document]) -> dict[str, Any]:
    """What narrows a list is there and switched off: a first request needs none of it."""
    parts = [f":{part[1:-1]}" if part.startswith("{") else part for part in path.split("/")[1:]]
    return {
        "raw": "/".join(["{{base_url}}", *parts]),
        "host": ["{{base_url}}"],
        "path": parts,
        "query": [{**_parameter(each), "disabled": True} for each in parameters if each["in"] == "query"],
        "variable": [_parameter(each) for each in parameters if each["in"] == "path"],
    }


def _parameter(parameter: Document) -> dict[str, Any]:
    example = parameter.get("example", "")
    value = str(example).lower() if isinstance(example, bool) else str(example)
    return {"key": parameter["name"], "value": value, "description": parameter.get("description", "")}


def _responses(document: Document, request: Document, operation: Document) -> Iterator[dict[str, Any]]:
    """What it answers when all is well, each with the request that it answers."""
    for status, answer in operation["responses"].items():
        if status < "300":
            code = HTTPStatus(int(status))
            content = answer.get("content", {}).get(_JSON)
            yield {
                "name": answer["description"],
                "originalRequest": request,
                "status": code.phrase,
                "code": code.value,
                "header": [{"key": "Content-Type", "value": _JSON}] if content else [],
                "body": _text(_example(document, content["schema"])) if content else "",
                "_postman_previewlanguage": "json" if content else "text",
            }


def _example(document: Document, schema: Document) -> Any:
    """A value that a schema describes, made of the examples of its parts."""
    if "$ref" in schema:
        return _example(document, document["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    if "example" in schema:
        return schema["example"]
    if "properties" in schema:
        return {name: _example(document, each) for name, each in schema["properties"].items()}
    if "items" in schema:
        return [_example(document, schema["items"])]
    if schema.get("nullable"):
        return None
    raise KeyError("example")


def _text(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
