"""The Postman collection: of the format that it names, and each of its requests is answered as its example says."""

from __future__ import annotations

import datetime
import json
from typing import Any, Literal

import pytest
from django.test import Client
from pydantic import BaseModel, ConfigDict, Field
from pytest_django.fixtures import Settings

from integrations.models import WebhookSubscription
from integrations.subscriptions import subscribe
from registration.api import published
from registration.api.docs import document
from registration.api.postman import FORMAT, collection_of
from registration.disclosure import grant, students_named
from registration.models import CalendarEvent, Course, SectionMeeting
from tests.apiauth.conftest import MakePartner, basic
from tests.university import make_section, make_students, make_terms

# This machine, which the test lets in by name: names outside are not looked up in a test.
HOOK = "https://localhost:8443/matricula"


# --- the format ---------------------------------------------------------------------------------------------


class Part(BaseModel):
    """A part of a collection, with the members that format 2.1 has for it and that we use; no other may be there."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Info(Part):
    name: str
    schema_: Literal["https://schema.getpostman.com/json/collection/v2.1.0/collection.json"] = Field(
        alias="schema"
    )
    description: str


class Attribute(Part):
    """Of an auth: a list of these under its type's name."""

    key: str
    value: Any
    type: str


class Auth(Part):
    type: Literal["oauth2"]
    oauth2: list[Attribute]


class Variable(Part):
    key: str
    value: Any
    description: str
    type: Literal["string", "boolean", "any", "number"] = "any"


class Parameter(Part):
    key: str
    value: str
    description: str
    disabled: bool = False


class Url(Part):
    raw: str
    host: list[str]
    path: list[str]
    query: list[Parameter]
    variable: list[Variable]


class Header(Part):
    key: str
    value: str


class Body(Part):
    mode: Literal["raw", "urlencoded", "formdata", "file", "graphql"]
    raw: str
    options: dict[str, Any]


class Request(Part):
    method: str
    url: Url
    description: str
    header: list[Header]
    body: Body | None = None


class Response(Part):
    name: str
    originalRequest: Request  # noqa: N815  the format's word
    status: str
    code: int
    header: list[Header]
    body: str
    previewlanguage: str = Field(alias="_postman_previewlanguage")


class Item(Part):
    name: str
    request: Request
    response: list[Response]


class Folder(Part):
    name: str
    item: list[Item]


class Collection(Part):
    info: Info
    auth: Auth
    variable: list[Variable]
    item: list[Folder]


def read_collection() -> Collection:
    """The published file."""
    return Collection.model_validate_json(published.COLLECTION.read_text())


@pytest.mark.any_database
def test_the_collection_is_current_and_of_the_format_that_it_names() -> None:
    assert published.COLLECTION not in published.stale_files(), "run ./matricula api_document"
    assert read_collection().info.schema_ == FORMAT


@pytest.mark.any_database
def test_each_operation_of_the_document_is_a_request_in_the_folder_of_its_tag() -> None:
    documented = {
        (operation["tags"][0], method.upper(), path)
        for path, operations in document()["paths"].items()
        for method, operation in operations.items()
    }
    found = {
        (folder.name, item.request.method, _documented(item.request.url))
        for folder in read_collection().item
        for item in folder.item
    }
    assert found == documented


@pytest.mark.any_database
def test_an_operation_without_an_example_makes_no_collection() -> None:
    made = document()
    bare = {"type": "object", "properties": {"code": {"type": "string"}}}
    schemas = {**made["components"]["schemas"], "Term": bare}
    with pytest.raises(KeyError):
        collection_of({**made, "components": {**made["components"], "schemas": schemas}})


def _documented(url: Url) -> str:
    """The address as the document has it."""
    assert url.raw == "/".join([*url.host, *url.path])
    return "/" + "/".join(f"{{{part[1:]}}}" if part.startswith(":") else part for part in url.path)


# --- what it does -------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_each_request_is_answered_as_its_example_says(
    client: Client, partner: MakePartner, settings: Settings
) -> None:
    collection = read_collection()
    settings.ALLOW_PRIVATE_HOSTS = ["localhost:8443"]
    housing = partner()
    headers = {"Authorization": f"Bearer {fetched_token(client, collection, housing)}"}
    ids = {
        **_ids_of_a_university(),
        "webhook-subscriptions": subscribe(
            housing.consumer, url="https://localhost:8444/", event_types=["term.changed"]
        ).subscription.pk,
    }
    grant(housing.consumer, students_named("all"), purpose="Trying the collection")
    answered = []
    for folder in collection.item:
        for item in folder.item:
            request = item.request
            body = (
                request.body.raw.replace("https://hooks.example.org/matricula", HOOK) if request.body else ""
            )
            answer = client.generic(
                request.method,
                address_of(request.url, ids.get(folder.name)),
                body,
                "application/json",
                headers=headers,
            )
            (example,) = item.response
            assert answer.status_code == example.code, (item.name, answer.content)
            assert members(answer.content.decode()) == members(example.body), item.name
            answered.append(item.name)
    assert len(answered) == sum(len(operations) for operations in document()["paths"].values())
    assert [kept.url for kept in WebhookSubscription.objects.present()] == [HOOK]


def fetched_token(client: Client, collection: Collection, who: Any) -> str:
    """A token as Postman gets it by what the collection says of authorization."""
    values = {
        "base_url": "",
        "client_id": who.consumer.client_id,
        "client_secret": who.secret,
    }
    assert set(values) == {each.key for each in collection.variable}
    said = {each.key: each.value for each in collection.auth.oauth2}
    for name, value in values.items():
        said = {key: text.replace(f"{{{{{name}}}}}", value) for key, text in said.items()}
    assert (said["client_authentication"], said["addTokenTo"]) == ("header", "header")
    answer = client.post(
        said["accessTokenUrl"],
        f"grant_type={said['grant_type']}",
        content_type="application/x-www-form-urlencoded",
        headers={"Authorization": basic(said["clientId"], said["clientSecret"])},
    )
    token: str = answer.json()["access_token"]
    return token


def address_of(url: Url, pk: int | None) -> str:
    """Where a request goes: `pk` stands for the example's id, which another database has for something else."""
    assert url.host == ["{{base_url}}"]
    assert all(parameter.disabled for parameter in url.query)
    values = {variable.key: str(variable.value) for variable in url.variable}
    if "id" in values:
        values["id"] = str(pk)
    return "/" + "/".join(values[part[1:]] if part.startswith(":") else part for part in url.path)


def members(text: str) -> Any:
    """The names in a JSON text, without its values; a list has those of its first row."""

    def shape(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: shape(each) for name, each in value.items()}
        return [shape(value[0])] if isinstance(value, list) and value and isinstance(value[0], dict) else None

    return shape(json.loads(text)) if text else None


def _ids_of_a_university() -> dict[str, int]:
    """One row at least of everything that is asked for. Returns the ids, by the folder of their requests."""
    fall, _ = make_terms()
    section = make_section(fall)
    days = {"first_on": fall.starts_on, "last_on": fall.ends_on}
    hours = {"begins": datetime.time(9), "ends": datetime.time(9, 50)}
    SectionMeeting.objects.create(section=section, weekday="mon", room="Hall 7", **hours, **days)
    CalendarEvent.objects.create(
        term=fall, kind="holiday", name="Thanksgiving", starts_on=fall.starts_on, ends_on=fall.starts_on
    )
    make_students(1)
    return {"courses": Course.objects.get().pk, "sections": section.pk}
