"""Every consumer at every endpoint with every scope, about every student: each cell is what the tables say.

The tables below are the promise; the addresses that are served must each have a row. A new endpoint adds one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from oauth2_provider.models import AccessToken

from apiauth.permissions import required_scope
from apiauth.scopes import SCOPES
from apiauth.secrets import token_digest
from integrations.models import WebhookSubscription
from integrations.subscriptions import subscribe
from registration.disclosure import grant, students_named
from registration.models import Course, Section, Student
from tests.apiauth.conftest import MakePartner, Partner
from tests.university import make_section, make_students, make_terms

pytestmark = pytest.mark.django_db

FUTURE = "2999-01-01T00:00:00Z"


@dataclass(frozen=True)
class Endpoint:
    """An address as it is registered, one that it stands for, and what it needs. `{student}` is a student's number;
    `{course}`, `{section}` and `{subscription}` are ids."""

    route: str
    example: str
    scope: str

    @property
    def is_about_a_student(self) -> bool:
        return "{student}" in self.example


ENDPOINTS = [
    Endpoint("api/v1/terms/", "/api/v1/terms/", "calendar:read"),
    Endpoint("api/v1/terms/<str:code>/", "/api/v1/terms/2026FA/", "calendar:read"),
    Endpoint("api/v1/courses/", "/api/v1/courses/", "catalogue:read"),
    Endpoint("api/v1/courses/<int:id>/", "/api/v1/courses/{course}/", "catalogue:read"),
    Endpoint("api/v1/sections/", "/api/v1/sections/", "sections:read"),
    Endpoint("api/v1/terms/<str:code>/calendar/", "/api/v1/terms/2026FA/calendar/", "calendar:read"),
    Endpoint("api/v1/enrollment-statuses/", "/api/v1/enrollment-statuses/", "enrollment:read"),
    Endpoint(
        "api/v1/students/<str:student_number>/enrollment-status/",
        "/api/v1/students/{student}/enrollment-status/",
        "enrollment:read",
    ),
    Endpoint(
        "api/v1/students/<str:student_number>/balance/", "/api/v1/students/{student}/balance/", "billing:read"
    ),
    Endpoint("api/v1/webhook-subscriptions/", "/api/v1/webhook-subscriptions/", "webhooks:manage"),
    Endpoint(
        "api/v1/webhook-subscriptions/<int:id>/",
        "/api/v1/webhook-subscriptions/{subscription}/",
        "webhooks:manage",
    ),
    Endpoint("api/v1/sections/<int:id>/", "/api/v1/sections/{section}/", "sections:read"),
]

# What every consumer may read, and signed-in staff: tests/registration/api/test_document.py.
WITHOUT_SCOPE = {"api/v1/openapi.json", "api/v1/docs/"}
# How a consumer stands, and what a token of it gets at an endpoint whose scope it has.
CONSUMERS: dict[str, tuple[dict[str, Any], int]] = {
    "active": ({}, 200),
    "suspended": ({"status": "suspended"}, 401),
    "revoked": ({"status": "revoked"}, 401),
    "expired": ({"expires_on": "2020-01-01"}, 401),
    "elsewhere": ({"networks": "192.0.2.0/24"}, 401),
    "without its scopes": ({"scope": ""}, 403),
}
# The students, by number: whether the grants of GRANTED show each.
GRANTED = ("college:ENG", "student:S0000002")
STUDENTS = {"S0000001": True, "S0000002": True, "S0000003": False, "S0000004": False, "nobody": False}


@pytest.fixture(autouse=True)
def university(db: None) -> None:
    """S1 is shown by the college; S2 by name though there is a hold; S3 has a hold; S4 is in no program."""
    make_section(make_terms()[0])
    make_students(4)
    Student.objects.filter(number__in=["S0000002", "S0000003"]).update(disclosure_hold=True)
    Student.objects.filter(number="S0000004").update(program=None)


def token_with(partner: Partner, scope: str) -> str:
    """A token that has one scope, whatever its consumer was granted."""
    token = f"token-{partner.consumer.pk}-{scope}"
    AccessToken.objects.create(
        application=partner.consumer, scope=scope, expires=FUTURE, token_checksum=token_digest(token)
    )
    return token


def cells() -> Iterator[tuple[str, str, Endpoint]]:
    for standing in CONSUMERS:
        for scope in SCOPES:
            for endpoint in ENDPOINTS:
                yield standing, scope, endpoint


def expected(standing: str, scope: str, endpoint: Endpoint, *, is_visible: bool) -> int:
    """What a cell is, from the tables alone."""
    status = CONSUMERS[standing][1]
    if status != 200:
        return status
    if scope != endpoint.scope:
        return 403
    return 200 if is_visible else 404


def test_every_cell_is_what_the_tables_say(client: Client, partner: MakePartner) -> None:
    found, wanted = {}, {}
    ids = {"course": Course.objects.get().pk, "section": Section.objects.get().pk}
    for standing, (columns, _) in CONSUMERS.items():
        who = partner(standing)
        for named in GRANTED:
            grant(who.consumer, students_named(named), purpose="The matrix")
        ids["subscription"] = subscribe(
            who.consumer, url="https://hooks.example.org/", event_types=["term.changed"]
        ).subscription.pk
        type(who.consumer).objects.filter(pk=who.consumer.pk).update(**columns)
        for scope in SCOPES:
            headers = {"Authorization": f"Bearer {token_with(who, scope)}"}
            for endpoint in ENDPOINTS:
                for number, is_visible in STUDENTS.items() if endpoint.is_about_a_student else [("", True)]:
                    cell = standing, scope, endpoint.route, number
                    answer = client.get(endpoint.example.format(student=number, **ids), headers=headers)
                    found[cell] = answer.status_code
                    wanted[cell] = expected(standing, scope, endpoint, is_visible=is_visible)
    assert len(found) >= len(list(cells())) == len(CONSUMERS) * len(SCOPES) * len(ENDPOINTS)
    assert found == wanted
    assert {200, 401, 403} <= set(found.values())


# What changes something: the method, the route as it is registered, and what a consumer that may gets for an empty body.
WRITES = {
    ("POST", "api/v1/webhook-subscriptions/"): 400,
    ("DELETE", "api/v1/webhook-subscriptions/<int:id>/"): 204,
}


def test_every_cell_of_what_changes_something_is_what_the_tables_say(
    client: Client, partner: MakePartner
) -> None:
    found, wanted = {}, {}
    endpoints = {endpoint.route: endpoint for endpoint in ENDPOINTS}
    for standing, (columns, _) in CONSUMERS.items():
        who = partner(standing)
        number = subscribe(
            who.consumer, url="https://hooks.example.org/", event_types=["term.changed"]
        ).subscription.pk
        type(who.consumer).objects.filter(pk=who.consumer.pk).update(**columns)
        for scope in SCOPES:
            headers = {"Authorization": f"Bearer {token_with(who, scope)}"}
            for (method, route), done in WRITES.items():
                address = endpoints[route].example.format(subscription=number)
                answer = client.generic(method, address, b"{}", "application/json", headers=headers)
                found[standing, scope, method] = answer.status_code
                status = expected(standing, scope, endpoints[route], is_visible=True)
                wanted[standing, scope, method] = done if status == 200 else status
        is_ended = CONSUMERS[standing][1] == 200
        assert WebhookSubscription.objects.present().filter(pk=number).exists() is not is_ended
    assert found == wanted
    assert {204, 400, 401, 403} == set(found.values())


def test_each_method_that_changes_something_is_in_the_matrix() -> None:
    served_methods = {
        (method, route)
        for route, part in api().items()
        for method in ("POST", "PUT", "PATCH", "DELETE")
        if hasattr(part.callback.view_class, method.lower())  # type: ignore[attr-defined]
    }
    assert served_methods == set(WRITES)


def test_the_students_that_the_matrix_expects_are_those_that_the_rule_shows(partner: MakePartner) -> None:
    who = partner()
    for named in GRANTED:
        grant(who.consumer, students_named(named), purpose="The matrix")
    shown = set(Student.objects.visible_to(who.consumer.pk).values_list("number", flat=True))
    assert shown == {number for number, is_visible in STUDENTS.items() if is_visible}


# --- no endpoint is left out ------------------------------------------------------------------------------


def served(resolver: URLResolver, prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    """Every address that is registered, with its view."""
    for part in resolver.url_patterns:
        route = prefix + str(part.pattern)
        if isinstance(part, URLResolver):
            yield from served(part, route)
        else:
            yield route, part


def api() -> dict[str, URLPattern]:
    return {route: part for route, part in served(get_resolver()) if route.startswith("api/")}


def test_each_address_of_the_api_has_its_row_in_the_matrix() -> None:
    assert set(api()) == {endpoint.route for endpoint in ENDPOINTS} | WITHOUT_SCOPE


def test_each_scope_s_example_is_an_address_that_it_opens() -> None:
    opened = {(endpoint.scope, endpoint.example) for endpoint in ENDPOINTS}
    assert {(name, scope.example) for name, scope in SCOPES.items() if scope.example} <= opened
    assert {name for name, scope in SCOPES.items() if not scope.example} == {
        "billing:read",
        "integrations:read",
        "integrations:manage",
    }


def test_each_method_of_each_endpoint_names_a_scope_of_the_table() -> None:
    for endpoint in ENDPOINTS:
        view: Any = api()[endpoint.route].callback.view_class  # type: ignore[attr-defined]
        methods = [
            name.upper() for name in view.http_method_names if hasattr(view, name) and name != "options"
        ]
        assert methods
        assert {required_scope(view, method) for method in methods} <= set(SCOPES)
        assert required_scope(view, "GET") == endpoint.scope


def test_a_view_that_names_no_scope_opens_to_nobody(
    client: Client, partner: MakePartner, monkeypatch: pytest.MonkeyPatch
) -> None:
    view: Any = api()["api/v1/terms/"].callback.view_class  # type: ignore[attr-defined]
    monkeypatch.setattr(view, "required_scopes", {})
    headers = {"Authorization": f"Bearer {token_with(partner(), 'calendar:read')}"}
    assert client.get("/api/v1/terms/", headers=headers).status_code == 403
