"""Client certificates: checked when they are saved, used on the wire, and told of before they end."""

from __future__ import annotations

import datetime
import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
import time_machine
from cryptography.hazmat.primitives import serialization
from django.core.mail import EmailMessage
from django.test import Client
from django.utils import timezone

from config.celery import app
from integrations import tasks
from integrations.documents import DocumentRefused
from integrations.models import Alert, Connection
from integrations.notices import send_alerts
from integrations.operations import archive_connection, save_connection
from tests.integrations.certificates import DAY, Authority, Identity, server_context, tls_wire
from tests.integrations.conftest import sync_stream
from tests.integrations.feed import Feed, award
from tests.integrations.test_documents import changed
from tests.integrations.test_transport import make_user

pytestmark = pytest.mark.django_db
AUTHORITY = Authority()


def mtls(identity: Identity, **changes: Any) -> dict[str, Any]:
    return changed(
        "auth", {"type": "mtls", "certificate": identity.certificate, "key": identity.key, **changes}
    )


def issued(days: float = 90) -> Identity:
    """A certificate that is good for so many days."""
    return AUTHORITY.issue("matricula.example.edu", valid=datetime.timedelta(days=days))


# --- when it is saved -------------------------------------------------------------------------------------


def test_a_certificate_and_its_key_are_kept_as_secrets() -> None:
    identity = issued(90)
    connection, _ = save_connection(mtls(identity, ca=AUTHORITY.certificate))
    assert connection.secrets["auth"] == {
        "certificate": identity.certificate,
        "key": identity.key,
        "ca": AUTHORITY.certificate,
    }
    assert connection.certificate_expires_at is not None
    assert abs(connection.certificate_expires_at - timezone.now() - 90 * DAY) < datetime.timedelta(minutes=5)


def _encrypted(identity: Identity) -> str:
    key = serialization.load_pem_private_key(identity.key.encode(), None)
    how = serialization.BestAvailableEncryption(b"a password")
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how).decode()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"certificate": "no certificate"}, "certificate is no certificate in PEM form"),
        ({"certificate": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"}, "in PEM form"),
        ({"key": "no key S3CRET"}, "key is no private key in PEM form"),
        ({"key": issued(90).certificate}, "key is no private key in PEM form"),
        ({"key": issued(90).key}, "key does not belong to the certificate"),
        ({"certificate": issued(-1).certificate}, "the certificate expired on 20"),
        ({"ca": "no authority"}, "ca is no certificate in PEM form"),
        ({"certificate": ""}, "certificate"),
    ],
)
def test_what_could_not_be_used_is_refused_in_words_that_quote_none_of_it(
    changes: dict[str, str], words: str
) -> None:
    with pytest.raises(DocumentRefused, match=words) as caught:
        save_connection(mtls(issued(90), **changes))
    assert "S3CRET" not in str(caught.value)
    assert "BEGIN EC" not in str(caught.value)
    assert not Connection.objects.exists()


def test_a_key_under_a_password_is_refused() -> None:
    identity = issued(90)
    with pytest.raises(DocumentRefused, match="key is protected by a password"):
        save_connection(mtls(identity, key=_encrypted(identity)))


def test_a_certificate_is_checked_against_the_key_that_is_kept() -> None:
    identity = issued(90)
    save_connection(mtls(identity, ca=AUTHORITY.certificate))
    with pytest.raises(DocumentRefused, match="key does not belong to the certificate"):
        save_connection(mtls(issued(90), key=None))
    with pytest.raises(DocumentRefused, match="key does not belong to the certificate"):
        save_connection(mtls(issued(90), certificate=None))
    assert save_connection(mtls(identity, key=None, ca=None))[1] is False
    assert save_connection(mtls(identity, key=None, ca=""))[0].secrets["auth"].get("ca") == ""


def test_another_origin_takes_certificate_and_key_away() -> None:
    connection, _ = save_connection(mtls(issued(90)))
    document = mtls(issued(90), certificate=None, key=None) | {"base_url": "https://elsewhere.example"}
    connection, _ = save_connection(document)
    assert connection.secrets["auth"] == {}
    assert connection.certificate_expires_at is None


def test_a_connection_whose_certificate_has_expired_since_can_still_be_edited() -> None:
    identity = issued(1)
    save_connection(mtls(identity))
    document = mtls(identity, certificate=None, key=None) | {"name": "Another name"}
    with time_machine.travel(timezone.now() + 2 * DAY):
        assert save_connection(document)[1]


# --- on the wire ------------------------------------------------------------------------------------------


def test_a_feed_that_asks_for_our_certificate_is_read_with_it(students: Any, tmp_path: Path) -> None:
    body = json.dumps({"data": [award(1), award(2)]}).encode()

    def answer(caller: socket.socket, is_over: threading.Event) -> None:
        caller.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    context = server_context(AUTHORITY.issue("localhost"), tmp_path, client_authority=AUTHORITY.certificate)
    with tls_wire(context, answer) as url:
        document = mtls(issued(90), ca=AUTHORITY.certificate) | {"base_url": url.rstrip("/")}
        document["datasets"] = {"aid_awards": Feed.dataset(pagination={"type": "none"})}
        connection, _ = save_connection(document | {"guards": {"first_load": "apply"}})
        run = sync_stream(connection.streams.get())
        assert (run.status, run.created) == ("applied", 2), run.reason
        # A certificate of another authority does not open the door.
        stranger = Authority("Another").issue("matricula.example.edu")
        document["auth"] |= {"certificate": stranger.certificate, "key": stranger.key}
        save_connection(document | {"guards": {"first_load": "apply"}})
        run = sync_stream(connection.streams.get())
        assert run.status == "failed"
        assert "unexpectedly" not in run.reason


# --- before it ends ---------------------------------------------------------------------------------------


def open_alerts() -> list[str]:
    return list(Alert.objects.open().values_list("title", flat=True))


def test_an_alert_is_sent_30_7_and_1_days_before_and_when_it_has_ended(
    mailoutbox: list[EmailMessage],
) -> None:
    make_user("ops")
    save_connection(mtls(issued(40)))
    start = timezone.now()
    told = []
    for day in range(43):
        with time_machine.travel(start + day * DAY):
            tasks.notice_certificates()
            tasks.notice_certificates()
            assert len(open_alerts()) <= 1
            sent = len(mailoutbox)
            send_alerts()
            told += [(day, mail.subject.rpartition(": ")[2]) for mail in mailoutbox[sent:]]
    assert told == [
        (11, "[Matricula] 1 alert of the last day"),
        (33, "certificate ends in 7 days"),
        (39, "certificate ends in 1 day"),
        (40, "certificate has ended"),
    ]
    assert "certificate ends in 30 days" in mailoutbox[0].body


def test_the_alert_closes_when_the_certificate_is_replaced() -> None:
    save_connection(mtls(issued(20)))
    assert len(open_alerts()) == 1
    save_connection(mtls(issued(90)))
    assert open_alerts() == []


def test_the_alert_closes_when_the_connection_is_archived_or_proves_itself_otherwise() -> None:
    connection, _ = save_connection(mtls(issued(20)))
    archive_connection(connection)
    tasks.notice_certificates()
    assert open_alerts() == []
    save_connection(mtls(issued(20)))
    assert len(open_alerts()) == 1
    save_connection(changed("auth", {"type": "none"}))
    assert open_alerts() == []


def test_the_alert_says_what_it_means_and_leads_to_the_connection(administrator: Client) -> None:
    connection, _ = save_connection(mtls(issued(20)))
    alert = Alert.objects.get()
    assert "nothing can be read from there. Ask its owner for a new one" in alert.text
    page = administrator.get(alert.get_absolute_url()).content.decode()
    assert connection.certificate_expires_at is not None
    assert "client certificate good until" in page
    assert f"{connection.certificate_expires_at:%Y-%m-%d}" in page


def test_certificates_are_looked_at_every_hour() -> None:
    entry = app.conf.beat_schedule["notice-certificates"]
    assert (entry["task"], entry["schedule"]) == ("integrations.tasks.notice_certificates", 3600.0)
