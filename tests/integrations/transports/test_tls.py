"""TLS proves the other side, and ours where we have a certificate; nothing older than 1.2 is spoken."""

from __future__ import annotations

import datetime
import ssl
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from integrations.transports.errors import NotSent, NotTrusted, TimedOut, Unreachable
from integrations.transports.http import HttpTransport, Purpose, Request, Timeouts
from integrations.transports.tls import TlsMaterial, context_for
from tests.integrations.certificates import Authority, Identity, server_context, tls_wire

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def says_version(caller: ssl.SSLSocket, is_over: threading.Event) -> None:
    caller.sendall(ANSWER + (caller.version() or "")[-2:].encode())


def get(url: str, material: TlsMaterial | None, timeouts: Timeouts = Timeouts(2, 2, 4)) -> bytes:  # noqa: B008
    with HttpTransport(timeouts, purpose=Purpose.DO, tls=material) as transport:
        return transport.exchange(Request(url)).body


def test_a_private_authority_is_trusted_by_the_connection_that_has_it(
    authority: Authority, tmp_path: Path
) -> None:
    with tls_wire(server_context(authority.issue("localhost"), tmp_path), says_version) as url:
        assert get(url, TlsMaterial(ca=authority.certificate)) == b".3"


def test_tls_1_2_is_spoken_with_a_system_that_has_no_better(authority: Authority, tmp_path: Path) -> None:
    context = server_context(authority.issue("localhost"), tmp_path)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with tls_wire(context, says_version) as url:
        assert get(url, TlsMaterial(ca=authority.certificate)) == b".2"


def test_nothing_older_than_tls_1_2_is_spoken(authority: Authority) -> None:
    for material in (None, TlsMaterial(ca=authority.certificate)):
        assert context_for(material).minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_system_that_speaks_tls_1_1_only_is_told_apart(authority: Authority, tmp_path: Path) -> None:
    context = server_context(authority.issue("localhost"), tmp_path)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = ssl.TLSVersion.TLSv1_1
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with tls_wire(context, says_version) as url, pytest.raises(NotTrusted) as caught:
        get(url, TlsMaterial(ca=authority.certificate))
    assert "TLS 1.2 or later" in caught.value.advice


@pytest.mark.parametrize("material", [None, TlsMaterial(ca=Authority("Another").certificate)])
def test_an_authority_that_nobody_named_is_not_trusted(
    authority: Authority, tmp_path: Path, material: TlsMaterial | None
) -> None:
    with (
        tls_wire(server_context(authority.issue("localhost"), tmp_path), says_version) as url,
        pytest.raises(NotTrusted, match="certificate was not accepted"),
    ):
        get(url, material)


@pytest.mark.parametrize(
    ("host", "valid"),
    [
        ("sis.example.edu", datetime.timedelta(days=1)),
        ("localhost", -datetime.timedelta(days=1)),
    ],
    ids=["another name", "expired"],
)
def test_a_certificate_that_is_not_right_is_not_accepted(
    authority: Authority, tmp_path: Path, host: str, valid: datetime.timedelta
) -> None:
    identity = authority.issue(host, valid=valid)
    with (
        tls_wire(server_context(identity, tmp_path), says_version) as url,
        pytest.raises(NotTrusted) as caught,
    ):
        get(url, TlsMaterial(ca=authority.certificate))
    assert not caught.value.is_repeatable
    assert "its owner has to renew it" in caught.value.advice


def test_with_a_private_authority_the_public_ones_are_not_trusted(authority: Authority) -> None:
    assert len(context_for(TlsMaterial(ca=authority.certificate)).get_ca_certs()) == 1
    assert len(context_for(None).get_ca_certs()) > 50


def test_the_first_exchange_does_not_widen_whom_a_connection_trusts(
    authority: Authority, tmp_path: Path
) -> None:
    with (
        tls_wire(server_context(authority.issue("localhost"), tmp_path), says_version) as url,
        HttpTransport(Timeouts(2, 2, 4), tls=TlsMaterial(ca=authority.certificate)) as transport,
    ):
        transport.exchange(Request(url))
        adapter = transport._session.get_adapter(url)
        assert len(adapter.context.get_ca_certs()) == 1  # type: ignore[attr-defined]


# --- our own certificate -------------------------------------------------------------------------------------


def test_our_certificate_is_shown_to_a_system_that_asks_for_it(authority: Authority, tmp_path: Path) -> None:
    ours = authority.issue("matricula.example.edu")
    context = server_context(authority.issue("localhost"), tmp_path, client_authority=authority.certificate)
    with tls_wire(context, says_version) as url:
        assert get(url, TlsMaterial(ours.certificate, ours.key, authority.certificate)) == b".3"


def test_without_our_certificate_such_a_system_lets_nobody_in(authority: Authority, tmp_path: Path) -> None:
    context = server_context(authority.issue("localhost"), tmp_path, client_authority=authority.certificate)
    # It says so, or only hangs up: TLS 1.3 looks at our certificate when we have begun to speak (RFC 8446 section 4.4.2).
    with tls_wire(context, says_version) as url, pytest.raises(Unreachable):
        get(url, TlsMaterial(ca=authority.certificate))


def _encrypted(identity: Identity) -> str:
    key = serialization.load_pem_private_key(identity.key.encode(), password=None)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"a password"),
    ).decode()


def test_material_that_cannot_be_used_says_so_and_quotes_nothing(authority: Authority) -> None:
    one, other = authority.issue("a.example.edu"), authority.issue("b.example.edu")
    for material in (
        TlsMaterial(one.certificate, other.key),
        TlsMaterial(one.certificate, _encrypted(one)),
        TlsMaterial(one.certificate, ""),
        TlsMaterial("no certificate", one.key),
        TlsMaterial(one.certificate, "no key"),
        TlsMaterial(ca="no certificate"),
        TlsMaterial(ca="-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"),
    ):
        with pytest.raises(NotSent, match="cannot be used") as caught:
            HttpTransport(Timeouts(), tls=material)
        assert "PEM" in caught.value.advice
        assert "PRIVATE KEY" not in str(caught.value)


def test_the_key_is_in_no_text_of_the_material(authority: Authority) -> None:
    ours = authority.issue("matricula.example.edu")
    assert ours.key not in repr(TlsMaterial(ours.certificate, ours.key))
    assert "PRIVATE" not in repr(TlsMaterial(ours.certificate, ours.key))


def test_an_encrypted_answer_keeps_the_deadline_too(authority: Authority, tmp_path: Path) -> None:
    def drips(caller: ssl.SSLSocket, is_over: threading.Event) -> None:
        caller.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not is_over.wait(0.02):
            caller.sendall(b"x")

    with (
        tls_wire(server_context(authority.issue("localhost"), tmp_path), drips) as url,
        pytest.raises(TimedOut, match=r"longer than 0\.4 seconds"),
    ):
        get(url, TlsMaterial(ca=authority.certificate), Timeouts(1, 0.2, 0.4))
