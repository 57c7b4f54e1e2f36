"""Vendors' failures as tables: each of these differs in facts alone, and every answer gets its one class."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_httpserver import HTTPServer

from integrations.transports.error_table import REPEATABLE_STATUSES, USUAL_ERRORS, ErrorTable, Rule, by_status
from integrations.transports.errors import ErrorClass, ErrorInBody, Refused, UnexpectedStatus
from integrations.transports.http import HttpTransport, Purpose, Request, Timeouts

KOHA = ErrorTable(
    codes=("error_code",),
    rules=(
        Rule(ErrorClass.EXISTS, 409, where="conflict"),
        Rule(
            ErrorClass.BLOCKED,
            409,
            code="has_checkouts",
            words="the patron still has loans",
            advice="Ask the library to take the loans back.",
        ),
        Rule(ErrorClass.BLOCKED, 409, code="has_debt"),
        Rule(ErrorClass.BLOCKED, 409, code="is_protected"),
        Rule(ErrorClass.CONFIG, 400, text="does not exist"),
        Rule(ErrorClass.CONFIG, 400, text="Unimplemented grant type"),
        Rule(ErrorClass.PERMANENT, 404),
    ),
)
FOLIO = ErrorTable(
    codes=("errors[].code",),
    rules=(
        Rule(ErrorClass.CONFIG, 422, code="password.incorrect"),
        Rule(ErrorClass.EXISTS, 422, text="already exists"),
        Rule(ErrorClass.RETRY, 409, where="contains(message, '_version')"),
        Rule(ErrorClass.RETRY, 409, text="optimistic locking"),
    ),
)
ALMA = ErrorTable(
    codes=("errorList.error[].errorCode", "errorList.error.errorCode"),
    in_success="errorsExist",
    rules=(
        Rule(ErrorClass.PERMANENT, code="401861", words="the library knows no such user"),
        Rule(ErrorClass.EXISTS, code="401851"),
        Rule(ErrorClass.THROTTLE, code="PER_SECOND_THRESHOLD"),
        Rule(ErrorClass.THROTTLE, code="DAILY_THRESHOLD"),
        Rule(ErrorClass.CONFIG, code="401852"),
    ),
)
STARREZ = ErrorTable(
    rules=(
        Rule(ErrorClass.PERMANENT, 404, text="no records"),
        Rule(ErrorClass.BLOCKED, 400, text="already in a room"),
    )
)
PAYPAL = ErrorTable(
    codes=("details[].issue", "name", "error"),
    rules=(
        Rule(ErrorClass.EXISTS, code="DUPLICATE_INVOICE_ID"),
        Rule(ErrorClass.BLOCKED, code="INSTRUMENT_DECLINED"),
        Rule(ErrorClass.REFRESH_TOKEN, code="invalid_token"),
        Rule(ErrorClass.THROTTLE, code="RATE_LIMIT_REACHED"),
    ),
)
ZOOM = ErrorTable(
    codes=("code",),
    rules=(
        Rule(ErrorClass.REFRESH_TOKEN, code="124"),
        Rule(ErrorClass.CONFIG, code="4711", words="our token lacks a scope"),
        Rule(ErrorClass.PERMANENT, code="3001"),
        Rule(ErrorClass.PERMANENT, code="300"),
    ),
)
TWILIO = ErrorTable(
    codes=("code",),
    rules=(
        Rule(ErrorClass.BLOCKED, code="21610", words="the recipient has opted out"),
        Rule(ErrorClass.PERMANENT, code="21211"),
        Rule(ErrorClass.CONFIG, code="20003"),
        Rule(ErrorClass.THROTTLE, code="20429"),
    ),
)
ANTHOLOGY = ErrorTable(
    in_success="hasError || hasFault || hasSecurityError",
    rules=(Rule(ErrorClass.CONFIG, where="hasSecurityError"), Rule(ErrorClass.RETRY, where="hasFault")),
)
ROOMPACT = ErrorTable(in_success="status == 'ERROR'")


def alma(code: str, *, as_list: bool = True) -> dict[str, Any]:
    error = {"errorCode": code, "errorMessage": "User with identifier S1 was not found."}
    return {"errorsExist": True, "errorList": {"error": [error] if as_list else error}}


ANSWERS: list[tuple[ErrorTable, int, Any, ErrorClass]] = [
    (KOHA, 409, {"error": "Duplicate", "conflict": "cardnumber"}, ErrorClass.EXISTS),
    (KOHA, 409, {"error": "...", "error_code": "has_checkouts"}, ErrorClass.BLOCKED),
    (KOHA, 409, {"error": "...", "error_code": "has_debt"}, ErrorClass.BLOCKED),
    (KOHA, 409, {"error": "...", "error_code": "something_new"}, ErrorClass.PERMANENT),
    (KOHA, 400, {"error": "Given library_id does not exist"}, ErrorClass.CONFIG),
    (KOHA, 400, {"errors": [{"message": "Properties not allowed", "path": "/body"}], "status": 400}, ErrorClass.PERMANENT),
    (KOHA, 404, {"error": "Patron not found"}, ErrorClass.PERMANENT),
    (KOHA, 503, {"error": "System is under maintenance."}, ErrorClass.RETRY),
    (FOLIO, 422, {"errors": [{"message": "Password does not match", "code": "password.incorrect"}]}, ErrorClass.CONFIG),
    (FOLIO, 422, {"errors": [{"message": "User with this username already exists"}]}, ErrorClass.EXISTS),
    (FOLIO, 409, {"message": "Cannot update: Stored _version is 2"}, ErrorClass.RETRY),
    (FOLIO, 409, b"Optimistic Locking: 23F09", ErrorClass.RETRY),
    (FOLIO, 400, b"bad request", ErrorClass.PERMANENT),
    (FOLIO, 401, b"Invalid token", ErrorClass.REFRESH_TOKEN),
    (ALMA, 400, alma("401861"), ErrorClass.PERMANENT),
    (ALMA, 400, alma("401861", as_list=False), ErrorClass.PERMANENT),
    (ALMA, 400, alma("401851"), ErrorClass.EXISTS),
    (ALMA, 200, alma("401852"), ErrorClass.CONFIG),
    (ALMA, 429, alma("PER_SECOND_THRESHOLD"), ErrorClass.THROTTLE),
    (STARREZ, 404, [{"description": "No records were found."}], ErrorClass.PERMANENT),
    (STARREZ, 404, [{"description": "No such table."}], ErrorClass.CONFIG),
    (STARREZ, 403, [{"description": "Access denied."}], ErrorClass.CONFIG),
    (PAYPAL, 422, {"name": "UNPROCESSABLE_ENTITY", "details": [{"issue": "DUPLICATE_INVOICE_ID"}]}, ErrorClass.EXISTS),
    (PAYPAL, 422, {"name": "UNPROCESSABLE_ENTITY", "details": [{"issue": "INSTRUMENT_DECLINED"}]}, ErrorClass.BLOCKED),
    (PAYPAL, 401, {"error": "invalid_token", "error_description": "..."}, ErrorClass.REFRESH_TOKEN),
    (PAYPAL, 429, {"name": "RATE_LIMIT_REACHED"}, ErrorClass.THROTTLE),
    (ZOOM, 401, {"code": 124, "message": "Invalid access token."}, ErrorClass.REFRESH_TOKEN),
    (ZOOM, 400, {"code": 4711, "message": "..."}, ErrorClass.CONFIG),
    (ZOOM, 404, {"code": 3001, "message": "Meeting does not exist."}, ErrorClass.PERMANENT),
    (TWILIO, 400, {"code": 21610, "status": 400}, ErrorClass.BLOCKED),
    (TWILIO, 400, {"code": 21211, "status": 400}, ErrorClass.PERMANENT),
    (TWILIO, 401, {"code": 20003, "status": 401}, ErrorClass.CONFIG),
    (TWILIO, 429, {"code": 20429, "status": 429}, ErrorClass.THROTTLE),
    (ANTHOLOGY, 200, {"hasError": True}, ErrorClass.PERMANENT),
    (ANTHOLOGY, 200, {"hasError": True, "hasSecurityError": True}, ErrorClass.CONFIG),
    (ANTHOLOGY, 200, {"hasFault": True}, ErrorClass.RETRY),
    (ROOMPACT, 200, {"status": "ERROR", "message": "..."}, ErrorClass.PERMANENT),
    (USUAL_ERRORS, 200, {"success": False, "data": []}, ErrorClass.PERMANENT),
    (USUAL_ERRORS, 200, {"ok": False}, ErrorClass.PERMANENT),
]  # fmt: skip


def encoded(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


@pytest.mark.parametrize(("table", "status", "body", "means"), ANSWERS)
def test_each_vendor_is_a_table_without_branches(
    table: ErrorTable, status: int, body: Any, means: ErrorClass
) -> None:
    error = table.error_in(status, encoded(body))
    assert error is not None
    assert error.error_class is means
    assert error.status == status
    assert error.advice


@pytest.mark.parametrize(
    ("table", "body"),
    [
        (ALMA, {"errorsExist": False, "user": []}),
        (ANTHOLOGY, {"hasError": False, "payload": {}}),
        (ROOMPACT, {"status": "SUCCESS"}),
        (USUAL_ERRORS, {"success": True, "data": []}),
        (USUAL_ERRORS, {"data": [{"success": False}]}),
        (USUAL_ERRORS, [{"success": False}]),
        (USUAL_ERRORS, b"no JSON at all"),
        (KOHA, {"error": "an answer of a vendor that tells errors by status"}),
    ],
)
def test_a_success_without_an_error_is_none(table: ErrorTable, body: Any) -> None:
    assert table.error_in(200, encoded(body)) is None


def test_a_rule_says_what_happened_and_what_to_do_in_our_words() -> None:
    error = KOHA.error_in(409, b'{"error": "Ana Ruiz has a book", "error_code": "has_checkouts"}')
    assert error is not None
    assert str(error) == "the other system answered 409 (has_checkouts): the patron still has loans"
    assert error.advice == "Ask the library to take the loans back."
    assert error.code == "has_checkouts"


@pytest.mark.parametrize("code", ["Ana Ruiz", "ana@example.edu", "x" * 61, "two\nlines"])
def test_the_vendors_own_words_are_never_quoted(code: str) -> None:
    error = ErrorTable(codes=("error",)).error_in(400, json.dumps({"error": code}).encode())
    assert error is not None
    assert code not in str(error) + error.advice


def test_the_first_rule_that_fits_decides() -> None:
    table = ErrorTable(rules=(Rule(ErrorClass.EXISTS, 409, text="twice"), Rule(ErrorClass.BLOCKED, 409)))
    means = [
        error.error_class for body in (b"Twice!", b"once") if (error := table.error_in(409, body)) is not None
    ]
    assert means == [ErrorClass.EXISTS, ErrorClass.BLOCKED]


@given(status=st.integers(100, 299))
def test_no_status_of_success_is_an_error_by_itself(status: int) -> None:
    assert ErrorTable().error_in(status, b"{}") is None


@given(status=st.integers(300, 999), body=st.binary(max_size=200))
def test_every_other_status_is_an_error_of_some_class_with_advice_whatever_the_body(
    status: int, body: bytes
) -> None:
    for table in (USUAL_ERRORS, KOHA, FOLIO, ALMA, PAYPAL, TWILIO):
        error = table.error_in(status, body)
        assert isinstance(error, UnexpectedStatus)
        assert error.error_class in ErrorClass
        assert error.advice


@given(status=st.integers(300, 999))
def test_by_status_alone_only_the_eight_that_may_be_are_asked_for_again(status: int) -> None:
    error = ErrorTable().error_in(status, b"")
    assert error is not None
    assert error.is_repeatable == (status in {408, 425, 429, 500, 502, 503, 504})


def test_every_status_that_is_asked_for_again_is_temporary() -> None:
    assert {by_status(status).means for status in REPEATABLE_STATUSES} == {
        ErrorClass.RETRY,
        ErrorClass.THROTTLE,
    }


def test_a_vendors_row_may_call_a_status_temporary_that_is_none_by_itself() -> None:
    table = ErrorTable(
        codes=("error.reason",), rules=(Rule(ErrorClass.THROTTLE, 403, code="rateLimitExceeded"),)
    )
    limited = table.error_in(403, b'{"error": {"reason": "rateLimitExceeded"}}')
    forbidden = table.error_in(403, b'{"error": {"reason": "forbidden"}}')
    assert limited is not None
    assert forbidden is not None
    assert (limited.is_repeatable, forbidden.is_repeatable) == (True, False)


def test_an_error_in_a_success_is_an_error_of_the_exchange(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/").respond_with_json({"hasError": True, "payload": {"data": []}})
    with HttpTransport(Timeouts(), errors=ANTHOLOGY) as transport, pytest.raises(ErrorInBody) as caught:
        transport.exchange(Request(httpserver.url_for("/")))
    assert str(caught.value) == "the other system answered 200: its answer carries an error"


def test_an_operation_sees_the_class_that_its_vendors_table_gives(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/patrons", method="POST").respond_with_json(
        {"error": "Duplicate", "conflict": "userid"}, status=409
    )
    with (
        HttpTransport(Timeouts(), purpose=Purpose.DO, errors=KOHA) as transport,
        pytest.raises(Refused) as caught,
    ):
        transport.exchange(Request(httpserver.url_for("/patrons"), "POST", body=b"{}"))
    assert caught.value.error_class is ErrorClass.EXISTS
    assert httpserver.log[0][0].data == b"{}"
