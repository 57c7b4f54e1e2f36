"""The Koha connector against a Koha that refuses what Koha refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from integrations.connectors.base import Connector, Unsupported
from integrations.connectors.koha import READ_ONLY
from integrations.connectors.operations import (
    DEPROVISION_ACCOUNT,
    LOOK_UP_ACCOUNT,
    PROVISION_ACCOUNT,
    REOPEN_ACCOUNT,
    CardHolder,
    CardNumber,
    Operation,
)
from integrations.connectors.registry import connector_for
from integrations.documents import DocumentRefused, document_of, parse_document
from integrations.operations import save_connection
from integrations.simulators.koha import WRITABLE
from integrations.simulators.tokens import CLIENT_ID, CLIENT_SECRET
from integrations.transports.errors import ErrorClass, NotUnderstood, Refused, TransportError
from tests.integrations.library import Library, library

pytestmark = pytest.mark.django_db
ADA = CardHolder(card_number="S0000001", given_name="Ada", family_name="Okafor", email="ada@example.edu")


@pytest.fixture
def books() -> Iterator[Library]:
    with library() as books:
        yield books


@pytest.fixture
def koha(books: Library) -> Connector:
    return connector_for(books.connection)


def look_up(koha: Connector, number: str = ADA.card_number) -> Any:
    return koha.do(LOOK_UP_ACCOUNT, CardNumber(card_number=number)).account


# The document of the issue, to the letter.
DOCUMENT: dict[str, Any] = {
    "slug": "library",
    "connector": "koha",
    "base_url": "https://koha.example.edu",
    "auth": {"type": "oauth2", "client_id": "...", "client_secret": "..."},
    "settings": {"library_id": "MAIN", "category_id": "STUDENT"},
}


def test_the_document_says_no_more_than_it_has_to() -> None:
    connection, _ = save_connection(DOCUMENT)
    assert (connection.name, connection.auth_type) == ("Library", "oauth2")
    assert connection.secrets["auth"]["token_url"] == "https://koha.example.edu/api/v1/oauth/token"
    assert connection.secrets["auth"]["client_auth"] == "body"
    assert save_connection(document_of(connection)) == (connection, False)


@pytest.mark.parametrize("missing", ["library_id", "category_id"])
def test_the_document_says_where_students_belong(missing: str) -> None:
    settings = {name: value for name, value in DOCUMENT["settings"].items() if name != missing}
    with pytest.raises(DocumentRefused, match=f"settings.{missing}"):
        parse_document({**DOCUMENT, "settings": settings})


def test_an_account_is_opened_with_what_we_know(koha: Connector, books: Library) -> None:
    account = koha.do(PROVISION_ACCOUNT, ADA)
    assert (account.remote_id, account.card_number, account.is_open) == ("51", "S0000001", True)
    patron = books.patron("S0000001")
    assert (patron["surname"], patron["userid"], patron["library_id"]) == ("Okafor", "S0000001", "MAIN")


@pytest.mark.parametrize(
    "holder",
    [
        CardHolder(card_number="S2", given_name="", family_name="ተስፋዬ", email=""),
        CardHolder(card_number="S3", given_name="ليلى", family_name="حداد", email="l@example.edu"),
        CardHolder(card_number="S4", given_name="伟", family_name="O'Brien <b>&", email=""),
    ],
)
def test_a_student_without_email_or_in_another_script_is_one_like_all(
    holder: CardHolder, koha: Connector, books: Library
) -> None:
    koha.do(PROVISION_ACCOUNT, holder)
    patron = books.patron(holder.card_number)
    assert patron["surname"] == holder.family_name
    assert ("email" in patron) is bool(holder.email)
    found = look_up(koha, holder.card_number)
    assert (found.given_name, found.family_name) == (holder.given_name, holder.family_name)


def test_a_look_up_finds_the_card_and_no_other_that_has_it_within(koha: Connector, books: Library) -> None:
    books.koha.add(cardnumber="S00000012", surname="Other")
    assert look_up(koha) is None
    koha.do(PROVISION_ACCOUNT, ADA)
    assert look_up(koha).remote_id == "52"


def test_ending_lets_the_account_expire_and_keeps_all_else_of_it(koha: Connector, books: Library) -> None:
    books.koha.add(
        cardnumber=ADA.card_number, surname="Okafor", staff_notes="VIP", category_id="STAFF", phone="1"
    )
    account = koha.do(DEPROVISION_ACCOUNT, CardNumber(card_number=ADA.card_number)).account
    assert account is not None
    assert not account.is_open
    patron = books.patron(ADA.card_number)
    assert (patron["staff_notes"], patron["category_id"], patron["phone"]) == ("VIP", "STAFF", "1")
    assert books.koha.changes == [("PUT", ADA.card_number)]
    # What has expired, and what is not there, needs nothing.
    koha.do(DEPROVISION_ACCOUNT, CardNumber(card_number=ADA.card_number))
    assert koha.do(DEPROVISION_ACCOUNT, CardNumber(card_number="S9")).account is None
    assert len(books.koha.changes) == 1


def test_reopening_is_taken_by_the_account_that_is_there(koha: Connector, books: Library) -> None:
    books.koha.add(cardnumber=ADA.card_number, surname="Okafor", expiry_date="2020-01-01", opac_notes="x")
    assert koha.do(REOPEN_ACCOUNT, ADA).is_open
    assert books.patron(ADA.card_number)["opac_notes"] == "x"
    assert books.cards == [ADA.card_number]


@pytest.mark.parametrize(
    ("debt", "items", "said"),
    [
        (12.5, 0, "fines are owed"),
        (0, 2, "items are checked out"),
        (1, 1, "items are checked out and fines are owed"),
    ],
)
def test_debts_and_checkouts_block_the_end(
    debt: float, items: int, said: str, koha: Connector, books: Library
) -> None:
    koha.do(PROVISION_ACCOUNT, ADA)
    books.koha.debts[ADA.card_number], books.koha.checkouts[ADA.card_number] = debt, items
    with pytest.raises(Refused, match=said) as caught:
        koha.do(DEPROVISION_ACCOUNT, CardNumber(card_number=ADA.card_number))
    assert caught.value.error_class is ErrorClass.BLOCKED
    assert not books.has_expired(ADA.card_number)


def test_a_card_or_login_that_is_taken_exists(koha: Connector, books: Library) -> None:
    books.koha.add(cardnumber="X", userid=ADA.card_number, surname="Other")
    with pytest.raises(Refused) as caught:
        koha.do(PROVISION_ACCOUNT, ADA)
    assert caught.value.error_class is ErrorClass.EXISTS


@pytest.mark.parametrize(
    ("codes", "means", "said"),
    [
        ({"library_id": "NONE", "category_id": "STUDENT"}, ErrorClass.CONFIG, "does not know the library"),
        (
            {"library_id": "MAIN", "category_id": "NONE"},
            ErrorClass.CONFIG,
            "does not know the patron category",
        ),
    ],
)
def test_both_shapes_of_errors_are_understood(codes: dict[str, str], means: ErrorClass, said: str) -> None:
    with library(settings=codes) as books, pytest.raises(TransportError, match=said) as caught:
        connector_for(books.connection).do(PROVISION_ACCOUNT, ADA)
    assert caught.value.error_class is means


def test_the_shape_of_the_openapi_layer_is_a_permanent_refusal(koha: Connector) -> None:
    nameless = CardHolder(card_number="S1", given_name="", family_name="", email="")
    with pytest.raises(Refused, match="does not accept a value of the patron") as caught:
        koha.do(PROVISION_ACCOUNT, nameless)
    assert caught.value.error_class is ErrorClass.PERMANENT


def test_a_token_that_ends_in_the_middle_is_renewed_and_nothing_is_done_twice(
    koha: Connector, books: Library
) -> None:
    koha.do(PROVISION_ACCOUNT, ADA)
    books.office.suffer("expired_token:0.5")
    for place in range(2, 12):
        koha.do(PROVISION_ACCOUNT, ADA.model_copy(update={"card_number": f"S{place}"}))
    assert len(books.cards) == 11
    assert books.koha.tokens.given > 2


def test_wrong_credentials_are_the_connections_fault() -> None:
    wrong = {"type": "oauth2", "client_id": CLIENT_ID, "client_secret": "another"}
    with library(auth=wrong) as books, pytest.raises(TransportError) as caught:
        connector_for(books.connection).do(PROVISION_ACCOUNT, ADA)
    assert caught.value.error_class is ErrorClass.CONFIG
    assert CLIENT_SECRET not in str(caught.value)


@pytest.mark.parametrize("fault", ["malformed", "html"])
def test_an_answer_that_nobody_can_read_is_told_as_such(fault: str, books: Library) -> None:
    books.office.suffer(fault)
    with pytest.raises(NotUnderstood):
        look_up(connector_for(books.connection))


def test_what_it_cannot_do_it_says(koha: Connector) -> None:
    refund = Operation("refund_payment", CardNumber, CardNumber)
    with pytest.raises(Unsupported, match="The Koha connector cannot do refund_payment"):
        koha.do(refund, CardNumber(card_number="S1"))


def test_nothing_that_is_read_only_is_ever_written_back() -> None:
    assert not READ_ONLY & WRITABLE
