"""The API's own description (OpenAPI 3.0): each operation comes from what its view is made of, so that it cannot say anything
else than what is served. drf-spectacular finds the addresses and puts the document together."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent

from apiauth.permissions import required_scope
from apiauth.scopes import SCOPES
from registration.api.lists.fields import Field, Filter, Kind, Resource
from registration.api.lists.query import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, known_parameters
from registration.api.lists.views import ListView

Schema = dict[str, Any]

SCHEME: Final = "oauth2"
_KINDS: Final[Mapping[Kind, Schema]] = {
    Kind.TEXT: {"type": "string"},
    Kind.INTEGER: {"type": "integer"},
    Kind.BOOLEAN: {"type": "boolean"},
    Kind.DATE: {"type": "string", "format": "date"},
    Kind.INSTANT: {"type": "string", "format": "date-time"},
    Kind.TIME_OF_DAY: {"type": "string", "pattern": r"^\d{2}:\d{2}$"},
    Kind.DECIMAL: {"type": "string", "pattern": r"^\d+\.\d{2}$"},
    Kind.MONEY: {"type": "string", "pattern": r"^-?\d+(\.\d+)?$"},
    Kind.JSON: {"type": "array", "items": {"type": "string"}},
}
# Every answer that is no success, and what it means. Which of them an operation has is `_problems_of`.
PROBLEMS: Final[Mapping[int, str]] = {
    400: "Something in the request is wrong: `errors` names each field",
    401: "No token, or one that does not work: `WWW-Authenticate` says which",
    403: "The token lacks the scope that `WWW-Authenticate` names",
    404: "There is nothing here, or nothing that you may see",
    405: "The address does not take this method: `Allow` names those it takes",
    406: "There is no such form of this: see `Accept`",
    413: "The body is too long",
    415: "The body is not JSON",
    429: "The requests of the hour are used up: wait as many seconds as `Retry-After` says",
    500: "Our fault: name the `request_id` when you ask about it",
}
_STANDING: Final[Schema] = {
    "RateLimit": {"description": "How many requests remain", "schema": {"type": "string"}},
    "RateLimit-Policy": {"description": "How many requests an hour has", "schema": {"type": "string"}},
}
_PROBLEM: Final[Schema] = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "request_id"],
    "properties": {
        "type": {"type": "string", "example": "about:blank"},
        "title": {"type": "string", "example": "Bad Request"},
        "status": {"type": "integer", "example": 400},
        "detail": {"type": "string", "description": "What to do", "example": PROBLEMS[400]},
        "request_id": {"type": "string", "example": "4bf92f3577b34da6a3ce929d0e0e4736"},
        "errors": {
            "type": "object",
            "description": "What is wrong, by field",
            "additionalProperties": {"type": "array", "items": {"type": "string"}},
            "example": {"page_size": ["Write a whole number from 1 to 500."]},
        },
    },
}


class DocumentedView(AutoSchema):
    """How drf-spectacular describes a view of ours."""

    def get_operation(
        self, path: str, path_regex: str, path_prefix: str, method: str, registry: Any
    ) -> Schema | None:
        """The operation of a method. `registry` takes the schemas that it refers to."""
        view: Any = self.view  # one of ours
        self.registry, self.path, self.method = registry, path, method
        resource = getattr(self.view, "resource", None)
        if resource is None:
            return None
        handler = getattr(self.view, method.lower())
        about = inspect.getdoc(handler if method != "GET" else type(self.view)) or ""
        summary, _, description = about.partition("\n\n")
        scope = required_scope(view, method)
        operation: Schema = {
            "operationId": _operation_id(resource, self.view, method),
            "summary": " ".join(summary.split()).rstrip("."),
            "description": f"{_paragraphs(description)}Scope: `{scope}` ({SCOPES[scope].words}).",
            "tags": [path.split("/")[3]],
            "security": [{SCHEME: [scope]}],
            "parameters": [
                *self._path_parameters(),
                *(_parameters(resource, self.view) if method == "GET" else []),
            ],
            "responses": self._responses(resource, method),
        }
        if view.deprecation:
            operation["deprecated"] = True
        if method == "POST":
            operation["requestBody"] = {
                "required": True,
                "content": {
                    "application/json": {"schema": self._component("SubscriptionRequest", self._body())}
                },
            }
        return operation

    def _path_parameters(self) -> list[Schema]:
        return [
            {
                "name": name,
                "in": "path",
                "required": True,
                "schema": {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
                if name == "id"
                else {"type": "string", "minLength": 1, "maxLength": 200},
                "example": _PATH_EXAMPLES[name],
            }
            for name in re.findall(r"{(\w+)}", self.path)
        ]

    def _responses(self, resource: Resource, method: str) -> Schema:
        answers: Schema = {str(status): self._problem(status) for status in _problems_of(self.path, method)}
        answers |= {"GET": self._read, "POST": self._made, "DELETE": self._gone}[method](resource)
        return dict(sorted(answers.items()))

    def _read(self, resource: Resource) -> Schema:
        content: Schema = {"application/json": {"schema": self._answer(resource)}}
        if any(each.media_type == "text/calendar" for each in self.view.renderer_classes):
            content["text/calendar"] = {"schema": {"type": "string"}}
        etag = {"ETag": {"description": "For If-None-Match", "schema": {"type": "string"}}}
        return {
            "200": {"description": "As asked for", "headers": {**_STANDING, **etag}, "content": content},
            "304": {"description": "As you have it already", "headers": _STANDING},
        }

    def _made(self, resource: Resource) -> Schema:
        made = _object(resource.fields)
        made["properties"]["secret"] = {
            "type": "string",
            "description": "What events will be signed with; told this once",
            "example": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=",
        }
        made["required"] = list(made["properties"])
        location = {"Location": {"description": "Where it is", "schema": {"type": "string", "format": "uri"}}}
        return {
            "201": {
                "description": "Made",
                "headers": {**_STANDING, **location},
                "content": {"application/json": {"schema": self._component("SubscriptionMade", made)}},
            }
        }

    def _gone(self, resource: Resource) -> Schema:
        return {"204": {"description": "Ended", "headers": _STANDING}}

    def _answer(self, resource: Resource) -> Schema:
        item = self._component(_name(resource), _object(resource.fields))
        if isinstance(self.view, ListView):
            link = {"type": "string", "format": "uri", "nullable": True}
            members: Schema = {"next": link, "previous": link, "results": {"type": "array", "items": item}}
            return self._component(f"{_name(resource)}Page", _whole(members))
        if getattr(self.view, "has_results", False):
            number: Schema = {"type": "string", "example": _PATH_EXAMPLES["student_number"]}
            members = {"student_number": number, "results": {"type": "array", "items": item}}
            return self._component(f"{_name(resource)}Terms", _whole(members))
        return item

    def _problem(self, status: int) -> Schema:
        schema = self._component("Problem", _PROBLEM)
        headers = {} if status in (401, 404, 405) else dict(_STANDING)
        if status == 429:  # noqa: PLR2004
            headers["Retry-After"] = {"description": "Seconds to wait", "schema": {"type": "integer"}}
        return {
            "description": PROBLEMS[status],
            **({"headers": headers} if headers else {}),
            "content": {"application/problem+json": {"schema": schema}},
        }

    def _component(self, name: str, schema: Schema) -> Schema:
        component = ResolvedComponent(  # type: ignore[no-untyped-call]
            name=name, type=ResolvedComponent.SCHEMA, schema=schema, object=name
        )
        self.registry.register_on_missing(component)
        return dict(component.ref)

    def _body(self) -> Schema:
        """What a POST takes, from its serializer."""
        view: Any = self.view
        request = view.request_body()
        return {
            "type": "object",
            "additionalProperties": False,
            "required": list(request.fields),
            "properties": {name: _body_field(field) for name, field in request.fields.items()},
        }


_PATH_EXAMPLES: Final = {"code": "2026FA", "id": 1, "student_number": "S0000001"}


def _body_field(field: Any) -> Schema:
    if hasattr(field, "child"):
        return {
            "type": "array",
            "minItems": 1,
            "maxItems": field.max_length,
            "items": {"type": "string", "enum": list(field.child.choices)},
            "description": field.help_text,
            "example": [next(iter(field.child.choices))],
        }
    return {
        "type": "string",
        "format": "uri",
        "maxLength": field.max_length,
        "description": field.help_text,
        "example": "https://hooks.example.org/matricula",
    }


def _problems_of(path: str, method: str) -> list[int]:
    """Which problems an operation can end in."""
    with_body = [413, 415] if method == "POST" else []
    return [400, 401, 403, 406, 429, 500, *([404] if "{" in path else []), *with_body]


def _operation_id(resource: Resource, view: Any, method: str) -> str:
    """`list_courses`, `get_course`: what a generated client calls its functions."""
    if method == "GET" and isinstance(view, ListView):
        return f"list_{resource.name}".replace("-", "_")
    verb = {"GET": "get", "POST": "create", "DELETE": "delete"}[method]
    return f"{verb}_{resource.one}".replace("-", "_")


def _name(resource: Resource) -> str:
    """What a row is called among the schemas: `webhook-subscription` as WebhookSubscription."""
    return "".join(part.title() for part in resource.one.split("-"))


def _paragraphs(text: str) -> str:
    paragraphs = [" ".join(part.split()) for part in text.split("\n\n") if part.strip()]
    return "".join(f"{part}\n\n" for part in paragraphs)


def _whole(properties: Schema) -> Schema:
    return {"type": "object", "required": list(properties), "properties": properties}


def _object(fields: tuple[Field, ...]) -> Schema:
    """An object of fields. None is required: which there are is the caller's choice (`fields`); without it, all are there."""
    return {"type": "object", "properties": {field.name: _field(field) for field in fields}}


def _field(field: Field) -> Schema:
    if field.nested:
        item = _object(field.nested.fields)
        item["required"] = list(item["properties"])
        return {"type": "array", "items": item, "description": field.words}
    schema: Schema = {**_KINDS[field.kind], "description": field.words}
    if field.values and field.kind is Kind.JSON:
        schema["items"] = {"type": "string", "enum": list(field.values)}
    elif field.values:
        schema["enum"] = [*map(str, field.values), *([None] if field.is_nullable else [])]
    if field.is_nullable:
        schema["nullable"] = True
    if field.deprecation:
        schema["deprecated"] = True
    if field.example is not None:
        schema["example"] = field.example
    return schema


def _parameters(resource: Resource, view: Any) -> Iterator[Schema]:
    is_list = isinstance(view, ListView)
    for each in resource.filters.values() if is_list else view.narrowed_by:
        yield _parameter(each.name, each.words, _filter(each), each.example)
    names = known_parameters(resource) if is_list else ["fields"]
    described: dict[str, tuple[str, Schema, object]] = {
        "search": ("Words that each stand in one of the fields that are searched", {"type": "string"}, None),
        "ordering": (
            "The field to order by; with - before it, the other way round",
            {
                "type": "string",
                "enum": [f"{sign}{name}" for name in resource.orderable for sign in ("", "-")],
            },
            None,
        ),
        "fields": (
            "Which fields, separated by commas; without it, all of them",
            {"type": "string"},
            next(iter(resource.by_name)),
        ),
        "page_size": (
            "How many rows a page has at most",
            {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE, "default": DEFAULT_PAGE_SIZE},
            None,
        ),
        "cursor": ("Where the page begins: take `next` and `previous` as they are", {"type": "string"}, None),
    }
    for name, (words, schema, example) in described.items():
        if name in names:
            yield _parameter(name, words, schema, example)


def _filter(each: Filter) -> Schema:
    return {**_KINDS[each.kind], **({"enum": list(each.values)} if each.values else {})}


def _parameter(name: str, words: str, schema: Schema, example: object) -> Schema:
    shown = {} if example is None else {"example": example}
    return {"name": name, "in": "query", "required": False, "description": words, "schema": schema, **shown}
