"""One planted secret of each kind, and nobody ever sees it: in no log, page, alert, exception, exported document or
column of the database, after good runs, failed runs of every kind, and an edit."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from django.core.mail import EmailMessage
from django.db import connection as database
from django.test import Client
from django.urls import reverse
from werkzeug import Request, Response

from audit.models import AuditEvent
from integrations.connectors.registry import connector_for
from integrations.documents import DocumentRefused, document_of
from integrations.models import Alert, Breaker, Connection, LoggedRequest, SyncRun
from integrations.notices import send_alerts
from integrations.operations import save_connection, try_connection
from integrations.transports.errors import TransportError
from tests.integrations.certificates import Authority
from tests.integrations.conftest import sync_stream
from tests.integrations.feed import Feed, award, closed_port, may_reach
from tests.integrations.test_transport import make_user

pytestmark = pytest.mark.any_database  # what is written down is the same on each

# With characters that URLs, JSON and forms write in other ways.
CANARY = 'canary-5ecret/with+signs&"more'
TOKEN = "canary-access-token"
IDENTITY = Authority().issue("matricula.example.edu")
KEY_LINE = IDENTITY.key.splitlines()[1]

AUTHS: dict[str, dict[str, str]] = {
    "bearer": {"type": "bearer", "token": CANARY},
    "api_key": {"type": "api_key", "key": CANARY},
    "api_key in the query": {"type": "api_key", "key": CANARY, "in": "query", "name": "key"},
    "basic": {"type": "basic", "username": f"{CANARY}-user", "password": CANARY},
    "oauth2": {"type": "oauth2", "client_id": "hub", "client_secret": CANARY, "token_url": "{url}/token"},
    "oauth2 in the body": {
        "type": "oauth2", "client_id": "hub", "client_secret": CANARY, "token_url": "{url}/token", "client_auth": "body",
    },
    "mtls": {"type": "mtls", "certificate": IDENTITY.certificate, "key": IDENTITY.key},
}  # fmt: skip


def pairs() -> Iterator[str]:
    for user, secret in ((f"{CANARY}-user", CANARY), ("hub", CANARY), ("hub", quote_plus(CANARY))):
        yield base64.b64encode(f"{user}:{secret}".encode()).decode()


SPELLINGS = sorted(
    {
        *(
            CANARY,
            TOKEN,
            KEY_LINE,
            json.dumps(CANARY)[1:-1],
            quote(CANARY),
            quote(CANARY, safe=""),
            quote_plus(CANARY),
        ),
        *("canary-5ecret", *pairs()),
    }
)


def assert_unseen(place: str, text: str) -> None:
    seen = [spelling for spelling in SPELLINGS if spelling in text]
    around = [text[max(0, text.index(each) - 30) : text.index(each) + 60] for each in seen]
    assert not seen, f"{place} shows {around}"


HEADER, PARAMETER = f"{CANARY}-header", f"{CANARY}-param"


def echoes(request: Request) -> str:
    """Everything that a careless system may say back of what it was sent."""
    sent = [value for _, value in request.headers if "canary" in value]
    sent += [value for value in [*request.args.values(), *request.form.values()] if "canary" in value]
    said = [
        request.url,
        str(request.headers),
        request.get_data(as_text=True),
        request.headers.get("Authorization", ""),
    ]
    return "\n".join(
        [*said, *(spell(value) for value in sent for spell in (str, quote, quote_plus, json.dumps))]
    )


Failure = Callable[[Request], Response]
FAILURES: dict[str, Failure] = {
    "400": lambda request: Response(echoes(request), 400),
    "401": lambda request: Response(echoes(request), 401, headers={"WWW-Authenticate": "Bearer"}),
    "403": lambda request: Response(json.dumps({"error": echoes(request)}), 403),
    "404": lambda request: Response(echoes(request), 404),
    "429": lambda request: Response(echoes(request), 429),
    "500": lambda request: Response(json.dumps({"secret": echoes(request)}), 500),
    "302": lambda request: Response(
        "", 302, headers={"Location": f"https://x.example/?{request.query_string.decode()}"}
    ),
    "a page": lambda request: Response(f"<html>{echoes(request)}"),
    "no JSON": lambda request: Response(f'{{"data": "{echoes(request)}'),
    "an error in the body": lambda request: Response(
        json.dumps({"success": False, "message": echoes(request)})
    ),
    "no records": lambda request: Response(json.dumps({"message": echoes(request)})),
    "a next page elsewhere": lambda request: Response(
        json.dumps({"data": [award(1)], "next": f"https://x.example/?{request.query_string.decode()}"})
    ),
}


@pytest.fixture
def mail_reader(db: None) -> None:
    make_user("ops")


class Town:
    """A connection with a canary in every place that keeps a secret, and the system that it leads to."""

    def __init__(self, feed: Feed, auth: dict[str, str]) -> None:
        self.feed, self.given = feed, 0
        self.auth = {name: value.format(url=feed.base_url) for name, value in auth.items()}
        feed.server.expect_request("/token").respond_with_handler(self._give_token)
        self.answer_token: Failure | None = None
        feed.header = None

    def document(self, **changes: Any) -> dict[str, Any]:
        pagination = {"type": "next_url", "next": "next"}
        return self.feed.document(
            auth=self.auth,
            headers={"X-Office": HEADER},
            datasets={"aid_awards": self.feed.dataset(params={"office": PARAMETER}, pagination=pagination)},
            timeouts={"connect": 1, "read": 1, "total": 1},
            **changes,
        )

    def save(self, **changes: Any) -> Connection:
        return save_connection(self.document(**changes))[0]

    def sync(self) -> SyncRun:
        Breaker.objects.all().delete()  # each failure is met afresh
        return sync_stream(Connection.objects.get().streams.get())

    def _give_token(self, request: Request) -> Response:
        if self.answer_token is not None:
            return self.answer_token(request)
        self.given += 1
        return Response(json.dumps({"access_token": f"{TOKEN}-{self.given}", "expires_in": 3600}))


def suffer_everything(town: Town) -> None:
    """Good runs, failed runs of every kind, a trial, an edit, and documents that are refused."""
    town.save()
    town.feed.awards = [award(1), award(2)]
    town.feed.page_size = 1
    assert town.sync().status == "applied"
    for failure in FAILURES.values():
        town.feed.answer = failure
        assert town.sync().status == "failed"
        try_connection(Connection.objects.get())
    for failure in (FAILURES["400"], FAILURES["a page"], FAILURES["500"]):
        town.answer_token = failure
        town.sync()
    town.answer_token, town.feed.answer = None, None
    port = closed_port()
    with may_reach(f"127.0.0.1:{port}"):
        town.save(base_url=f"http://127.0.0.1:{port}")
        assert town.sync().status == "failed"
    town.save(name="Another name")
    assert town.sync().status == "applied"
    for wrong in (
        {"auth": {**town.auth, "oops": CANARY}},
        {"headers": {"X": f"{CANARY}\n"}},
        {"slug": "A B"},
    ):
        with pytest.raises(DocumentRefused) as caught:
            save_connection(town.document() | wrong)
        assert_unseen("a refused document", str(caught.value))


def everything_in_the_database() -> Iterator[tuple[str, str]]:
    for table in database.introspection.table_names():
        with database.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {table}")
            for row in cursor.fetchall():
                parts = (
                    bytes(part) if isinstance(part, bytes | memoryview) else str(part).encode()
                    for part in row
                )
                yield table, b"|".join(parts).decode("utf-8", "replace")


def every_page() -> Iterator[str]:
    connection = Connection.objects.get()
    yield reverse("admin:index")
    yield reverse("admin:integrations_connection_changelist")
    yield reverse("admin:integrations_connection_change", args=[connection.pk])
    yield reverse("admin:integrations_connection_export", args=[connection.pk])
    yield reverse("admin:integrations_syncrun_changelist")
    for run in SyncRun.objects.all():
        yield run.get_absolute_url()
    yield reverse("admin:integrations_loggedrequest_changelist")
    for request in LoggedRequest.objects.exclude(body=""):
        yield reverse("admin:integrations_loggedrequest_change", args=[request.pk])
    yield reverse("admin:audit_auditevent_changelist")
    for event in AuditEvent.objects.all()[:5]:
        yield reverse("admin:audit_auditevent_change", args=[event.pk])


@pytest.mark.parametrize("auth", AUTHS.values(), ids=AUTHS.keys())
@pytest.mark.usefixtures("students", "mail_reader")
def test_a_planted_secret_is_seen_nowhere(
    feed: Feed,
    administrator: Client,
    auth: dict[str, str],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    mailoutbox: list[EmailMessage],
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("django.db.backends").setLevel(
        logging.WARNING
    )  # statements are the database's own business
    town = Town(feed, auth)
    suffer_everything(town)
    send_alerts()

    for table, row in everything_in_the_database():
        assert_unseen(f"the table {table}", row)
    assert Alert.objects.exists()
    assert LoggedRequest.objects.exclude(body="").exists()
    for message in mailoutbox:
        assert_unseen("an e-mail", f"{message.subject}{message.body}")
    for address in every_page():
        page = administrator.get(address)
        assert page.status_code == 200, address
        assert_unseen(address, page.content.decode())
    test = administrator.post(
        reverse("admin:integrations_connection_test", args=[Connection.objects.get().pk])
    )
    assert_unseen("the Test page", test.content.decode())
    assert_unseen("the exported document", json.dumps(document_of(Connection.objects.get())))
    out, err = capfd.readouterr()
    assert_unseen("stdout and stderr", out + err)
    ours = [record for record in caplog.records if record.name != "werkzeug"]  # the other system's own log
    assert len(ours) > len(FAILURES)
    assert_unseen("the log", repr([record.__dict__ for record in ours]))


@pytest.mark.parametrize("auth", AUTHS.values(), ids=AUTHS.keys())
def test_no_exception_and_no_text_form_of_an_object_shows_a_planted_secret(
    feed: Feed, students: Any, auth: dict[str, str]
) -> None:
    town = Town(feed, auth)
    connection = town.save()
    connector = connector_for(connection)
    for failure in FAILURES.values():
        Breaker.objects.all().delete()
        feed.answer = failure
        with pytest.raises(TransportError) as caught:
            list(connector.pull(connection.streams.get()))
        error = caught.value
        assert_unseen("an exception", f"{error} {error!r} {error.advice} {error.__cause__!r}")
    assert_unseen(
        "the connection", repr(connection) + str(connection) + repr(connector.tls) + repr(connector.auth)
    )
