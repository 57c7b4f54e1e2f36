"""The generic REST way: a library system that no connector knows is told about by an administrator."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from integrations.documents import DocumentRefused, parse_document
from integrations.operations import save_connection
from integrations.outbox.settle import Settled
from registration import operations
from registration.models import Student, Term
from tests.integrations.library import drain, end_grace, status_of
from tests.university import make_section

OPERATIONS: dict[str, Any] = {
    "provision_account": {
        "path": "/members",
        "body": {
            "card": "{card_number}",
            "name": {"last": "{family_name}", "first": "{given_name}"},
            "mail": "{email}",
        },
        "fields": {"remote_id": "uid", "family_name": "name.last", "given_name": "name.first"},
    },
    "look_up_account": {
        "method": "GET",
        "path": "/members/{card_number}",
        "fields": {
            "remote_id": "uid",
            "family_name": "name.last",
            "given_name": "name.first",
            "is_open": "active",
        },
    },
    "deprovision_account": {"method": "DELETE", "path": "/members/{card_number}"},
}


class Members:
    """A small library system, as somebody might have made it."""

    def __init__(self, server: HTTPServer) -> None:
        self.kept: dict[str, dict[str, Any]] = {}
        server.expect_request("/members", method="POST").respond_with_handler(self._add)
        for method in ("GET", "DELETE"):
            server.expect_request("/members/S%2F1", method=method).respond_with_handler(self._one)
            server.expect_request("/members/S0000001", method=method).respond_with_handler(self._one)

    def _add(self, request: Request) -> Response:
        asked = request.get_json()
        if asked["card"] in self.kept:
            return Response(json.dumps({"message": "duplicate"}), 409)
        self.kept[asked["card"]] = {**asked, "uid": 7, "active": True}
        return Response(json.dumps(self.kept[asked["card"]]), 201)

    def _one(self, request: Request) -> Response:
        card = request.path.rpartition("/")[2]
        if card not in self.kept:
            return Response(json.dumps({"message": "nobody"}), 404)
        if request.method == "DELETE":
            self.kept[card]["active"] = False
            return Response("", 204)
        return Response(json.dumps(self.kept[card]), 200)


def document(url: str, **changes: Any) -> dict[str, Any]:
    return {
        "slug": "library",
        "base_url": url,
        "auth": {"type": "api_key", "key": "the-key"},
        "settings": {"operations": OPERATIONS},
        **changes,
    }


@pytest.fixture
def members(httpserver: HTTPServer) -> Members:
    return Members(httpserver)


@pytest.mark.django_db
def test_accounts_follow_enrollment_by_templates(
    students: list[Student], terms: tuple[Term, Term], members: Members, httpserver: HTTPServer
) -> None:
    save_connection(document(httpserver.url_for("")))
    section = make_section(terms[0])
    enrollment = operations.enroll(students[0], section)
    assert drain().counts == {Settled.DELIVERED: 1}
    # Nobody's e-mail address is "": a member that would be empty is left out.
    assert members.kept["S0000001"] == {
        "card": "S0000001",
        "name": {"last": "Okafor", "first": "Ada"},
        "uid": 7,
        "active": True,
    }
    operations.drop(enrollment)
    end_grace()
    drain()
    assert (status_of(students[0]), members.kept["S0000001"]["active"]) == ("deprovisioned", False)


@pytest.mark.django_db
def test_one_that_exists_already_is_adopted_if_it_is_theirs(
    students: list[Student], terms: tuple[Term, Term], members: Members, httpserver: HTTPServer
) -> None:
    save_connection(document(httpserver.url_for("")))
    members.kept["S0000001"] = {"uid": 9, "name": {"last": "Okafor", "first": "Ada"}, "active": True}
    operations.enroll(students[0], make_section(terms[0]))
    assert drain().counts == {Settled.DELIVERED: 1}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fly": {"path": "/"}}, "there is no fly"),
        ({"look_up_account": {"path": "/{email}"}}, "there is no email; there are card_number"),
        ({"look_up_account": {"path": "/", "fields": {"colour": "c"}}}, "an account has no colour"),
        ({"look_up_account": {"path": "/", "account": "a["}}, "settings"),
        ({"look_up_account": {"method": "BREW", "path": "/"}}, "settings"),
    ],
)
def test_a_template_that_cannot_work_is_refused_when_it_is_written(
    changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(DocumentRefused, match=said):
        parse_document(document("https://members.example.edu", settings={"operations": changes}))
