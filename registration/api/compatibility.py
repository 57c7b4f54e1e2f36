"""What a partner's program would trip over if one document of the API took the place of another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Document = Mapping[str, Any]


def breaking_changes(before: Document, after: Document) -> list[str]:
    """Each change that breaks a program written for `before`, in words: what is gone, what is newly asked for, and what has
    become something else. What is added breaks nothing."""
    return list(_paths(before, after))


def _paths(before: Document, after: Document) -> Iterator[str]:
    for path, operations in before["paths"].items():
        for method, operation in operations.items():
            now = after["paths"].get(path, {}).get(method)
            where = f"{method.upper()} {path}"
            if now is None:
                yield f"{where} is gone"
                continue
            if operation["security"] != now["security"]:
                yield f"{where} needs another scope"
            yield from _parameters(where, operation, now)
            yield from _request(where, (before, operation), (after, now))
            yield from _answers(where, (before, operation), (after, now))


def _parameters(where: str, before: Document, after: Document) -> Iterator[str]:
    known = {each["name"]: each for each in before["parameters"]}
    now = {each["name"]: each for each in after["parameters"]}
    for name, parameter in known.items():
        if name not in now:
            yield f"{where}: the parameter {name} is gone"
            continue
        narrower = set(_values(parameter["schema"])) - set(_values(now[name]["schema"]))
        if parameter["schema"].get("type") != now[name]["schema"].get("type") or narrower:
            yield f"{where}: the parameter {name} takes something else"
    for name in now.keys() - known.keys():
        if now[name]["required"]:
            yield f"{where}: the parameter {name} is newly asked for"


Held = tuple[Document, Document]


def _request(where: str, before: Held, after: Held) -> Iterator[str]:
    if "requestBody" not in before[1]:
        return
    old, new = (_schema(*held, held[1].get("requestBody", {})) for held in (before, after))
    for name in set(new.get("required", ())) - set(old.get("required", ())):
        yield f"{where}: {name} is newly asked for in the body"
    for name in old.get("properties", {}).keys() - new.get("properties", {}).keys():
        yield f"{where}: {name} is no longer taken in the body"


def _answers(where: str, before: Held, after: Held) -> Iterator[str]:
    for status, answer in before[1]["responses"].items():
        now = after[1]["responses"].get(status)
        if now is None:
            yield f"{where}: there is no answer {status} any more"
            continue
        yield from _fields(
            f"{where}, {status}",
            (before[0], _schema(*before, answer)),
            (after[0], _schema(*after, now)),
        )


def _fields(where: str, before: Held, after: Held) -> Iterator[str]:
    (old_document, old), (new_document, new) = before, after
    old, new = _resolved(old_document, old), _resolved(new_document, new)
    if old.get("type") != new.get("type") or old.get("format") != new.get("format"):
        yield f"{where} is something else"
    if new.get("nullable") and not old.get("nullable"):
        yield f"{where} may be null now"
    for name, schema in old.get("properties", {}).items():
        if name not in new.get("properties", {}):
            yield f"{where}: {name} is gone"
            continue
        yield from _fields(
            f"{where}: {name}", (old_document, schema), (new_document, new["properties"][name])
        )
    if "items" in old and "items" in new:
        yield from _fields(f"{where}[]", (old_document, old["items"]), (new_document, new["items"]))


def _schema(document: Document, operation: Document, holder: Document) -> Document:
    content = holder.get("content", {})
    media: Document = content.get("application/json") or next(iter(content.values()), {})
    return _resolved(document, media.get("schema", {}))


def _resolved(document: Document, schema: Document) -> Document:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    found: Document = document["components"]["schemas"][reference.rpartition("/")[2]]
    return found


def _values(schema: Document) -> list[str]:
    values: list[str] = schema.get("enum", [])
    return values
